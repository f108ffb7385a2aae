// Chinese.
#include <array>

#include "voice/language.h"

namespace prosa::voice {
namespace {

constexpr std::array<Currency, 6> kCurrencies = {{
    {u"€ EUR", u"欧元", u"欧元", u"", u""},
    {u"$ US$ USD", u"美元", u"美元", u"", u""},
    {u"£ GBP", u"英镑", u"英镑", u"", u""},
    {u"¥ CNY RMB", u"元", u"元", u"", u""},
    {u"JPY", u"日元", u"日元", u"", u""},
    {u"CHF", u"瑞士法郎", u"瑞士法郎", u"", u""},
}};

}  // namespace

const Language kChinese = {
    .code = "zh",
    .spaces = false,
    .decimal = u'.',
    .groups = u",",
    .signs = {.and_ = u"和",
              .dot = u"点",
              .at = u"艾特",
              .slash = u"斜杠",
              .dash = u"横杠",
              .underscore = u"下划线",
              .colon = u"冒号",
              .tilde = u"波浪号",
              .plus = u"加",
              .minus = u"负",
              .plus_minus = u"正负",
              .times = u"乘以",
              .divided = u"除以",
              .equals = u"等于",
              .less = u"小于",
              .greater = u"大于",
              .at_most = u"小于等于",
              .at_least = u"大于等于",
              .about = u"约",
              .percent = u"百分之",
              .degrees = u"度",
              .section = u"节",
              .number = u"第",
              .squared = u"的平方",
              .cubed = u"的立方",
              .point = u"点",
              .to = u"到",
              .version = u"版本",
              .code_block = u"代码示例",
              .inline_code = u"代码",
              .thousand = u"千",
              .million = u"百万",
              .billion = u"十亿"},
    .fractions = {.over = u"分之", .below_first = true},
    .times = {.whole = u"%h点", .minutes = u"%h点%m分"},
    .cents_joint = u"",
    .currencies = kCurrencies,
};

}  // namespace prosa::voice
