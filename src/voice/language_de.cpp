// German.
#include <array>

#include "voice/language.h"

namespace prosa::voice {
namespace {

constexpr std::array<Currency, 7> kCurrencies = {{
    {u"€ EUR", u"Euro", u"Euro", u"Cent", u"Cent"},
    {u"$ US$ USD", u"Dollar", u"Dollar", u"Cent", u"Cent"},
    {u"£ GBP", u"Pfund", u"Pfund", u"Penny", u"Pence"},
    {u"¥ JPY", u"Yen", u"Yen", u"", u""},
    {u"CHF Fr.", u"Franken", u"Franken", u"Rappen", u"Rappen"},
    {u"CNY RMB", u"Yuan", u"Yuan", u"", u""},
    {u"R$ BRL", u"Real", u"Real", u"Centavo", u"Centavos"},
}};

constexpr auto kAbbreviations = std::to_array<Abbreviation>({
    {u"dr."},
    {u"prof."},
    {u"hr."},
    {u"hrn."},
    {u"fr."},
    {u"frl."},
    {u"dipl."},
    {u"ing."},
    {u"st."},
    {u"geb."},
    {u"gest."},
    {u"sog."},
    {u"evtl."},
    {u"ggf."},
    {u"inkl."},
    {u"exkl."},
    {u"zzgl."},
    {u"mind."},
    {u"max."},
    {u"vgl."},
    {u"tel."},
    {u"ehem."},
    {u"z.b.", Stop::inside, u"zum Beispiel"},
    {u"d.h.", Stop::inside, u"das heißt"},
    {u"u.a.", Stop::inside, u"unter anderem"},
    {u"v.a.", Stop::inside, u"vor allem"},
    {u"i.d.r.", Stop::inside, u"in der Regel"},
    {u"u.u.", Stop::inside, u"unter Umständen"},
    {u"z.t.", Stop::inside, u"zum Teil"},
    {u"s.o.", Stop::maybe, u"siehe oben"},
    {u"s.u.", Stop::maybe, u"siehe unten"},
    {u"o.ä.", Stop::maybe, u"oder Ähnliches"},
    {u"bzw.", Stop::inside, u"beziehungsweise"},
    {u"ca.", Stop::inside, u"circa"},
    {u"usw.", Stop::maybe, u"und so weiter"},
    {u"etc.", Stop::maybe, u"et cetera"},
    {u"mio.", Stop::inside, u"Millionen"},
    {u"mrd.", Stop::inside, u"Milliarden"},
    {u"std.", Stop::maybe, u"Stunden"},
    {u"str.", Stop::before_number},
    {u"jh.", Stop::maybe, u"Jahrhundert"},
    {u"v.chr.", Stop::maybe, u"vor Christus"},
    {u"n.chr.", Stop::maybe, u"nach Christus"},
    {u"chr.", Stop::maybe},
    {u"nr.", Stop::before_number, u"Nummer"},
    {u"s.", Stop::before_number},
    {u"abs.", Stop::before_number, u"Absatz"},
    {u"art.", Stop::before_number},
    {u"abb.", Stop::before_number, u"Abbildung"},
    {u"kap.", Stop::before_number, u"Kapitel"},
    {u"bd.", Stop::before_number, u"Band"},
});

}  // namespace

const Language kGerman = {
    .code = "de",
    .decimal = u',',
    .groups = u".'\u00a0",
    .signs = {.and_ = u"und",
              .dot = u"Punkt",
              .at = u"ät",
              .slash = u"Schrägstrich",
              .dash = u"Minus",
              .underscore = u"Unterstrich",
              .colon = u"Doppelpunkt",
              .tilde = u"Tilde",
              .plus = u"plus",
              .minus = u"minus",
              .plus_minus = u"plus minus",
              .times = u"mal",
              .divided = u"geteilt durch",
              .equals = u"gleich",
              .less = u"kleiner als",
              .greater = u"größer als",
              .at_most = u"höchstens",
              .at_least = u"mindestens",
              .about = u"etwa",
              .percent = u"Prozent",
              .degrees = u"Grad",
              .section = u"Paragraf",
              .number = u"Nummer",
              .squared = u"hoch zwei",
              .cubed = u"hoch drei",
              .point = u"Komma",
              .to = u"bis",
              .version = u"Version",
              .code_block = u"Codebeispiel",
              .inline_code = u"Code",
              .thousand = u"Tausend",
              .million = u"Millionen",
              .billion = u"Milliarden"},
    .fractions = {.half = u"ein halb",
                  .third = u"ein Drittel",
                  .two_thirds = u"zwei Drittel",
                  .quarter = u"ein Viertel",
                  .three_quarters = u"drei Viertel",
                  .over = u"durch"},
    .times = {.whole = u"%h Uhr", .one = u"ein Uhr", .minutes = u"%h Uhr %m", .after = u"Uhr"},
    .cents_joint = u"",
    .currencies = kCurrencies,
    .abbreviations = kAbbreviations,
    .conjunctions = u" und aber oder denn weil dass obwohl während wenn sondern damit sodass ",
    .before_letter = u" vitamin plan typ gruppe klasse punkt teil hepatitis buchstabe ",
    .before_ordinal =
        u" am der die das dem den des vom zum zur im beim ab bis seit jeder jede jedes jeden ein eine "
        u"einen einem einer sein seine ihr ihre mein meine unser unsere ",
    .after_ordinal =
        u" januar februar märz april mai juni juli august september oktober november dezember "
        u"jahrhundert jahrhunderts jahrhunderten platz klasse weltkrieg mal etage stock geburtstag kapitel "
        u"auflage jahrestag ",
    .before_roman = u" kapitel teil band akt szene buch phase artikel abschnitt anhang typ weltkrieg ",
    .rulers =
        u" ludwig heinrich karl friedrich wilhelm otto elisabeth georg franz joseph maximilian benedikt pius "
        u"johannes paul leo napoleon katharina nikolaus alexander ",
};

}  // namespace prosa::voice
