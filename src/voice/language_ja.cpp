// Japanese.
#include <array>

#include "voice/language.h"

namespace prosa::voice {
namespace {

constexpr std::array<Currency, 6> kCurrencies = {{
    {u"€ EUR", u"ユーロ", u"ユーロ", u"セント", u"セント"},
    {u"$ US$ USD", u"ドル", u"ドル", u"セント", u"セント"},
    {u"£ GBP", u"ポンド", u"ポンド", u"ペンス", u"ペンス"},
    {u"¥ JPY", u"円", u"円", u"", u""},
    {u"CHF", u"スイスフラン", u"スイスフラン", u"", u""},
    {u"CNY RMB", u"元", u"元", u"", u""},
}};

}  // namespace

const Language kJapanese = {
    .code = "ja",
    .spaces = false,
    .decimal = u'.',
    .groups = u",",
    .signs = {.and_ = u"アンド",
              .dot = u"ドット",
              .at = u"アットマーク",
              .slash = u"スラッシュ",
              .dash = u"ハイフン",
              .underscore = u"アンダーバー",
              .colon = u"コロン",
              .tilde = u"チルダ",
              .plus = u"プラス",
              .minus = u"マイナス",
              .plus_minus = u"プラスマイナス",
              .times = u"かける",
              .divided = u"割る",
              .equals = u"イコール",
              .less = u"小なり",
              .greater = u"大なり",
              .at_most = u"以下",
              .at_least = u"以上",
              .about = u"約",
              .percent = u"パーセント",
              .degrees = u"度",
              .section = u"セクション",
              .number = u"ナンバー",
              .squared = u"の2乗",
              .cubed = u"の3乗",
              .point = u"点",
              .to = u"から",
              .version = u"バージョン",
              .code_block = u"コードの例です",
              .inline_code = u"コード",
              .thousand = u"千",
              .million = u"百万",
              .billion = u"十億"},
    .fractions = {.over = u"分の", .below_first = true},
    .times = {.whole = u"%h時", .minutes = u"%h時%m分"},
    .cents_joint = u"",
    .currencies = kCurrencies,
};

}  // namespace prosa::voice
