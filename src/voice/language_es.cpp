// Spanish.
#include <array>

#include "voice/language.h"

namespace prosa::voice {
namespace {

constexpr std::array<Currency, 7> kCurrencies = {{
    {u"€ EUR", u"euro", u"euros", u"céntimo", u"céntimos"},
    {u"$ US$ USD", u"dólar", u"dólares", u"centavo", u"centavos"},
    {u"£ GBP", u"libra", u"libras", u"penique", u"peniques"},
    {u"¥ JPY", u"yen", u"yenes", u"", u""},
    {u"CHF", u"franco suizo", u"francos suizos", u"céntimo", u"céntimos"},
    {u"CNY RMB", u"yuan", u"yuanes", u"", u""},
    {u"R$ BRL", u"real", u"reales", u"centavo", u"centavos"},
}};

constexpr auto kAbbreviations = std::to_array<Abbreviation>({
    {u"sr.", Stop::inside, u"señor"},     {u"sra.", Stop::inside, u"señora"},  {u"srta.", Stop::inside, u"señorita"},
    {u"sres.", Stop::inside, u"señores"}, {u"dr.", Stop::inside, u"doctor"},   {u"dra.", Stop::inside, u"doctora"},
    {u"d.", Stop::inside, u"don"},        {u"dña.", Stop::inside, u"doña"},    {u"prof."}, {u"lic."}, {u"ing."},
    {u"sto."}, {u"sta."}, {u"avda.", Stop::inside, u"avenida"}, {u"av.", Stop::inside, u"avenida"},
    {u"p.ej.", Stop::inside, u"por ejemplo"}, {u"aprox.", Stop::inside, u"aproximadamente"}, {u"cf."},
    {u"tel.", Stop::inside, u"teléfono"}, {u"etc.", Stop::maybe, u"etcétera"}, {u"a.c.", Stop::maybe, u"antes de Cristo"},
    {u"d.c.", Stop::maybe, u"después de Cristo"}, {u"ee.uu.", Stop::maybe, u"Estados Unidos"}, {u"ee.", Stop::inside},
    {u"uu.", Stop::maybe}, {u"ud.", Stop::inside, u"usted"}, {u"uds.", Stop::inside, u"ustedes"},
    {u"a.m.", Stop::maybe, u"a m"}, {u"p.m.", Stop::maybe, u"p m"}, {u"s.a.", Stop::maybe},
    {u"núm.", Stop::before_number, u"número"}, {u"n.º", Stop::before_number}, {u"pág.", Stop::before_number, u"página"},
    {u"págs.", Stop::before_number}, {u"art.", Stop::before_number, u"artículo"}, {u"cap.", Stop::before_number, u"capítulo"},
    {u"fig.", Stop::before_number, u"figura"}, {u"vol.", Stop::before_number, u"volumen"},
});

}  // namespace

const Language kSpanish = {
    .code = "es",
    .decimal = u',',
    .groups = u".\u00a0",
    .signs = {.and_ = u"y", .dot = u"punto", .at = u"arroba", .slash = u"barra", .dash = u"guion",
              .underscore = u"guion bajo", .colon = u"dos puntos", .tilde = u"virgulilla", .plus = u"más",
              .minus = u"menos", .plus_minus = u"más o menos", .times = u"por", .divided = u"entre",
              .equals = u"igual a", .less = u"menor que", .greater = u"mayor que", .at_most = u"como máximo",
              .at_least = u"como mínimo", .about = u"unos", .percent = u"por ciento", .degrees = u"grados",
              .section = u"sección", .number = u"número", .squared = u"al cuadrado", .cubed = u"al cubo",
              .point = u"coma", .to = u"a", .version = u"versión", .code_block = u"Ejemplo de código",
              .inline_code = u"código", .thousand = u"mil", .million = u"millones de",
              .billion = u"mil millones de"},
    .fractions = {.half = u"un medio", .third = u"un tercio", .two_thirds = u"dos tercios", .quarter = u"un cuarto",
                  .three_quarters = u"tres cuartos", .over = u"sobre"},
    .times = {.whole = u"%h en punto", .minutes = u"%h y %m", .after = u"horas", .half_days = true},
    .cents_joint = u"con",
    .currencies = kCurrencies,
    .abbreviations = kAbbreviations,
    .conjunctions = u" y pero o porque aunque cuando si sino mientras pues ",
    .before_letter = u" vitamina plan tipo grupo clase opción punto parte sección hepatitis letra ",
    .before_roman = u" capítulo parte tomo volumen acto escena libro fase título artículo sección anexo siglo ",
    .rulers = u" luis enrique carlos felipe alfonso fernando isabel jorge eduardo juan pablo benedicto pío león "
              u"napoleón nicolás catalina alejandro francisco ",
};

}  // namespace prosa::voice
