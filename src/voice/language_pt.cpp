// Portuguese.
#include <array>

#include "voice/language.h"

namespace prosa::voice {
namespace {

constexpr std::array<Currency, 7> kCurrencies = {{
    {u"€ EUR", u"euro", u"euros", u"cêntimo", u"cêntimos"},
    {u"$ US$ USD", u"dólar", u"dólares", u"centavo", u"centavos"},
    {u"£ GBP", u"libra", u"libras", u"péni", u"pence"},
    {u"¥ JPY", u"iene", u"ienes", u"", u""},
    {u"CHF", u"franco suíço", u"francos suíços", u"cêntimo", u"cêntimos"},
    {u"CNY RMB", u"yuan", u"yuans", u"", u""},
    {u"R$ BRL", u"real", u"reais", u"centavo", u"centavos"},
}};

constexpr auto kAbbreviations = std::to_array<Abbreviation>({
    {u"sr.", Stop::inside, u"senhor"},
    {u"sra.", Stop::inside, u"senhora"},
    {u"srs.", Stop::inside, u"senhores"},
    {u"dr.", Stop::inside, u"doutor"},
    {u"dra.", Stop::inside, u"doutora"},
    {u"prof.", Stop::inside, u"professor"},
    {u"profa.", Stop::inside, u"professora"},
    {u"eng."},
    {u"d.", Stop::inside, u"dom"},
    {u"sto."},
    {u"sta."},
    {u"av.", Stop::inside, u"avenida"},
    {u"r.", Stop::inside, u"rua"},
    {u"p.ex.", Stop::inside, u"por exemplo"},
    {u"ex.", Stop::inside, u"exemplo"},
    {u"aprox.", Stop::inside, u"aproximadamente"},
    {u"cf."},
    {u"tel.", Stop::inside, u"telefone"},
    {u"etc.", Stop::maybe, u"et cetera"},
    {u"a.c.", Stop::maybe, u"antes de Cristo"},
    {u"d.c.", Stop::maybe, u"depois de Cristo"},
    {u"ltda.", Stop::maybe},
    {u"s.a.", Stop::maybe},
    {u"pág.", Stop::before_number, u"página"},
    {u"págs.", Stop::before_number},
    {u"p.", Stop::before_number, u"página"},
    {u"art.", Stop::before_number, u"artigo"},
    {u"cap.", Stop::before_number, u"capítulo"},
    {u"fig.", Stop::before_number, u"figura"},
    {u"vol.", Stop::before_number, u"volume"},
    {u"núm.", Stop::before_number, u"número"},
});

}  // namespace

const Language kPortuguese = {
    .code = "pt",
    .decimal = u',',
    .groups = u".\u00a0",
    .signs = {.and_ = u"e",
              .dot = u"ponto",
              .at = u"arroba",
              .slash = u"barra",
              .dash = u"hífen",
              .underscore = u"sublinhado",
              .colon = u"dois pontos",
              .tilde = u"til",
              .plus = u"mais",
              .minus = u"menos",
              .plus_minus = u"mais ou menos",
              .times = u"vezes",
              .divided = u"dividido por",
              .equals = u"igual a",
              .less = u"menor que",
              .greater = u"maior que",
              .at_most = u"no máximo",
              .at_least = u"no mínimo",
              .about = u"cerca de",
              .percent = u"por cento",
              .degrees = u"graus",
              .section = u"seção",
              .number = u"número",
              .squared = u"ao quadrado",
              .cubed = u"ao cubo",
              .point = u"vírgula",
              .to = u"a",
              .version = u"versão",
              .code_block = u"Exemplo de código",
              .inline_code = u"código",
              .thousand = u"mil",
              .million = u"milhões de",
              .billion = u"bilhões de"},
    .fractions = {.half = u"meio",
                  .third = u"um terço",
                  .two_thirds = u"dois terços",
                  .quarter = u"um quarto",
                  .three_quarters = u"três quartos",
                  .over = u"sobre"},
    .times = {.whole = u"%h horas", .one = u"uma hora", .minutes = u"%h horas e %m", .after = u"horas"},
    .cents_joint = u"e",
    .currencies = kCurrencies,
    .abbreviations = kAbbreviations,
    .conjunctions = u" e mas ou porque embora quando se enquanto pois ",
    .before_letter = u" vitamina plano tipo grupo classe opção ponto parte seção hepatite letra ",
    .before_roman = u" capítulo parte tomo volume ato cena livro fase título artigo seção anexo século ",
    .rulers =
        u" luís henrique carlos filipe afonso fernando isabel jorge eduardo joão paulo bento pio leão pedro "
        u"napoleão nicolau catarina alexandre manuel ",
};

}  // namespace prosa::voice
