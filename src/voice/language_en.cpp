// English.
#include <array>

#include "voice/language.h"

namespace prosa::voice {
namespace {

constexpr std::array<Currency, 7> kCurrencies = {{
    {u"€ EUR", u"euro", u"euros", u"cent", u"cents"},
    {u"$ US$ USD", u"dollar", u"dollars", u"cent", u"cents"},
    {u"£ GBP", u"pound", u"pounds", u"penny", u"pence"},
    {u"¥ JPY", u"yen", u"yen", u"", u""},
    {u"CHF", u"Swiss franc", u"Swiss francs", u"centime", u"centimes"},
    {u"CNY RMB", u"yuan", u"yuan", u"", u""},
    {u"R$ BRL", u"real", u"reais", u"centavo", u"centavos"},
}};

constexpr auto kAbbreviations = std::to_array<Abbreviation>({
    {u"dr."},    {u"mr."},   {u"mrs."},   {u"ms."},    {u"mx."},     {u"prof."}, {u"st."},   {u"mt."},   {u"rev."},
    {u"gen."},   {u"col."},  {u"capt."},  {u"lt."},    {u"sgt."},    {u"sen."},  {u"rep."},  {u"gov."},  {u"hon."},
    {u"messrs."}, {u"ft."},  {u"dept."},  {u"est."},   {u"cf."},
    {u"e.g.", Stop::inside, u"for example"}, {u"i.e.", Stop::inside, u"that is"},
    {u"vs.", Stop::inside, u"versus"},       {u"approx.", Stop::inside, u"approximately"},
    {u"etc.", Stop::maybe, u"et cetera"},    {u"a.k.a.", Stop::inside, u"also known as"},
    {u"jr."  , Stop::maybe}, {u"sr.", Stop::maybe}, {u"inc.", Stop::maybe}, {u"ltd.", Stop::maybe},
    {u"co.", Stop::maybe},   {u"corp.", Stop::maybe}, {u"ave.", Stop::maybe}, {u"blvd.", Stop::maybe},
    {u"a.m.", Stop::maybe, u"a m"}, {u"p.m.", Stop::maybe, u"p m"}, {u"al.", Stop::maybe},
    {u"no.", Stop::before_number}, {u"nos.", Stop::before_number}, {u"vol.", Stop::before_number},
    {u"p.", Stop::before_number},  {u"pp.", Stop::before_number},  {u"fig.", Stop::before_number},
    {u"figs.", Stop::before_number}, {u"ch.", Stop::before_number}, {u"sec.", Stop::before_number},
    {u"eq.", Stop::before_number}, {u"art.", Stop::before_number}, {u"ca.", Stop::before_number, u"circa"},
    {u"c.", Stop::before_number},  {u"jan.", Stop::before_number}, {u"feb.", Stop::before_number},
    {u"apr.", Stop::before_number}, {u"aug.", Stop::before_number}, {u"sept.", Stop::before_number},
    {u"oct.", Stop::before_number}, {u"nov.", Stop::before_number}, {u"dec.", Stop::before_number},
});

}  // namespace

const Language kEnglish = {
    .code = "en",
    .decimal = u'.',
    .groups = u",",
    .signs = {.and_ = u"and", .dot = u"dot", .at = u"at", .slash = u"slash", .dash = u"dash",
              .underscore = u"underscore", .colon = u"colon", .tilde = u"tilde", .plus = u"plus", .minus = u"minus",
              .plus_minus = u"plus or minus", .times = u"times", .divided = u"divided by", .equals = u"equals",
              .less = u"less than", .greater = u"greater than", .at_most = u"at most", .at_least = u"at least",
              .about = u"about", .percent = u"percent", .degrees = u"degrees", .section = u"section",
              .number = u"number", .squared = u"squared", .cubed = u"cubed", .point = u"point", .to = u"to",
              .version = u"version", .code_block = u"Code example", .inline_code = u"code", .thousand = u"thousand",
              .million = u"million", .billion = u"billion"},
    .fractions = {.half = u"one half", .third = u"one third", .two_thirds = u"two thirds", .quarter = u"one quarter",
                  .three_quarters = u"three quarters", .over = u"over"},
    .times = {.whole = u"%h o'clock", .minutes = u"%h %m", .after = u"o'clock", .half_days = true},
    .cents_joint = u"and",
    .currencies = kCurrencies,
    .abbreviations = kAbbreviations,
    .conjunctions = u" and but or so because although though while which when if since unless whereas ",
    .starters = u" the a an it he she they we i you in on at this that these those but however and so there then its "
                u"his her their our my your what when where who why how as for if ",
    .before_letter = u" vitamin plan type group class grade option point step part section hepatitis answer letter ",
    .before_roman = u" chapter part volume act scene book war phase title article section appendix type super bowl ",
    .rulers = u" louis henry george charles elizabeth edward richard james philip john paul benedict pius napoleon "
              u"ramesses frederick catherine nicholas alexander ",
};

}  // namespace prosa::voice
