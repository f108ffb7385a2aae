// French.
#include <array>

#include "voice/language.h"

namespace prosa::voice {
namespace {

constexpr std::array<Currency, 7> kCurrencies = {{
    {u"€ EUR", u"euro", u"euros", u"centime", u"centimes"},
    {u"$ US$ USD", u"dollar", u"dollars", u"cent", u"cents"},
    {u"£ GBP", u"livre", u"livres", u"penny", u"pence"},
    {u"¥ JPY", u"yen", u"yens", u"", u""},
    {u"CHF", u"franc suisse", u"francs suisses", u"centime", u"centimes"},
    {u"CNY RMB", u"yuan", u"yuans", u"", u""},
    {u"R$ BRL", u"réal", u"réaux", u"centavo", u"centavos"},
}};

constexpr auto kAbbreviations = std::to_array<Abbreviation>({
    {u"m.", Stop::inside, u"monsieur"},
    {u"mm.", Stop::inside, u"messieurs"},
    {u"mme.", Stop::inside, u"madame"},
    {u"dr."},
    {u"pr."},
    {u"st."},
    {u"ste."},
    {u"mgr."},
    {u"cf."},
    {u"av."},
    {u"ap."},
    {u"env.", Stop::inside, u"environ"},
    {u"boul."},
    {u"éd."},
    {u"p.ex.", Stop::inside, u"par exemple"},
    {u"ex.", Stop::inside, u"exemple"},
    {u"c.-à-d.", Stop::inside, u"c'est-à-dire"},
    {u"etc.", Stop::maybe, u"et cetera"},
    {u"j.-c.", Stop::inside},
    {u"av.j.-c.", Stop::inside, u"avant Jésus-Christ"},
    {u"ap.j.-c.", Stop::inside, u"après Jésus-Christ"},
    {u"vs.", Stop::inside, u"versus"},
    {u"min.", Stop::maybe},
    {u"max.", Stop::maybe},
    {u"tél."},
    {u"p.", Stop::before_number, u"page"},
    {u"pp.", Stop::before_number},
    {u"art.", Stop::before_number, u"article"},
    {u"fig.", Stop::before_number, u"figure"},
    {u"chap.", Stop::before_number, u"chapitre"},
    {u"vol.", Stop::before_number, u"volume"},
    {u"no.", Stop::before_number, u"numéro"},
});

}  // namespace

const Language kFrench = {
    .code = "fr",
    .decimal = u',',
    .groups = u" .\u00a0",
    .signs = {.and_ = u"et",
              .dot = u"point",
              .at = u"arobase",
              .slash = u"barre oblique",
              .dash = u"tiret",
              .underscore = u"tiret bas",
              .colon = u"deux-points",
              .tilde = u"tilde",
              .plus = u"plus",
              .minus = u"moins",
              .plus_minus = u"plus ou moins",
              .times = u"fois",
              .divided = u"divisé par",
              .equals = u"égale",
              .less = u"inférieur à",
              .greater = u"supérieur à",
              .at_most = u"au plus",
              .at_least = u"au moins",
              .about = u"environ",
              .percent = u"pour cent",
              .degrees = u"degrés",
              .section = u"paragraphe",
              .number = u"numéro",
              .squared = u"au carré",
              .cubed = u"au cube",
              .point = u"virgule",
              .to = u"à",
              .version = u"version",
              .code_block = u"Exemple de code",
              .inline_code = u"code",
              .thousand = u"mille",
              .million = u"millions",
              .billion = u"milliards"},
    .fractions = {.half = u"un demi",
                  .third = u"un tiers",
                  .two_thirds = u"deux tiers",
                  .quarter = u"un quart",
                  .three_quarters = u"trois quarts",
                  .over = u"sur"},
    .times = {.whole = u"%h heures", .one = u"une heure", .minutes = u"%h heures %m", .after = u"heures"},
    .cents_joint = u"",
    .currencies = kCurrencies,
    .abbreviations = kAbbreviations,
    .conjunctions = u" et mais ou car donc parce que quand lorsque si puisque tandis ",
    .before_letter = u" vitamine plan type groupe classe option point partie section hépatite lettre ",
    .before_roman = u" chapitre partie tome volume acte scène livre phase titre article section annexe ",
    .rulers =
        u" louis henri charles françois philippe napoléon georges élisabeth édouard guillaume jacques jean paul "
        u"pie benoît léon nicolas catherine alexandre ",
    .roman_after = u" siècle siècles ",
};

}  // namespace prosa::voice
