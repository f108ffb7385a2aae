// Kinds of characters, from ICU's data and a few short lists.
#include "voice/character_kind.h"

#include <unicode/uchar.h>

#include <string_view>

#include "voice/glyph.h"

namespace prosa::voice {
namespace {

bool one_of(char32_t c, std::u32string_view list) { return list.find(c) != std::u32string_view::npos; }
uint32_t category(char32_t c) { return is_mark(c) ? 0 : U_GET_GC_MASK(static_cast<UChar32>(c)); }

}  // namespace

bool is_letter(char32_t c) {
  if (c < 0x80) return is_ascii_letter(c);
  if (c == U'〇') return true;  // the ideograph for zero
  return (category(c) & (U_GC_L_MASK | U_GC_M_MASK)) != 0 && !is_silent(c);
}

bool is_digit(char32_t c) { return c < 0x80 ? is_ascii_digit(c) : (category(c) & U_GC_ND_MASK) != 0; }
bool is_upper(char32_t c) { return (category(c) & (U_GC_LU_MASK | U_GC_LT_MASK)) != 0; }
bool is_lower(char32_t c) { return (category(c) & U_GC_LL_MASK) != 0; }

bool is_space(char32_t c) {
  if (c == ' ' || c == '\t' || c == '\n') return true;
  return c > 0x7f && c != 0xa0 && (category(c) & U_GC_Z_MASK) != 0;
}

bool is_silent(char32_t c) {
  if (c >= 0x20 && c < 0x7f) return false;
  if (c == '\t' || c == '\n') return false;
  if (c == 0xfffd || (c >= 0xfe00 && c <= 0xfe0f) || (c >= 0xe0100 && c <= 0xe01ef)) return true;
  return (category(c) & (U_GC_C_MASK | U_GC_ME_MASK)) != 0;
}

bool is_picture(char32_t c) {
  if (c < 0xa9 || is_mark(c)) return false;
  if (one_of(c, U"°℃℉№")) return false;
  if (c >= 0x3300 && c <= 0x33ff) return false;  // units in one character
  return (category(c) & (U_GC_SO_MASK | U_GC_SK_MASK | U_GC_CO_MASK)) != 0 ||
         u_hasBinaryProperty(static_cast<UChar32>(c), UCHAR_EXTENDED_PICTOGRAPHIC);
}

bool is_sign(char32_t c) {
  if (is_mark(c) || is_space(c) || c == 0xa0) return false;
  return (category(c) & (U_GC_P_MASK | U_GC_S_MASK)) != 0;
}

bool is_wide_terminator(char32_t c) { return one_of(c, U"。！？｡"); }
bool is_terminator(char32_t c) { return one_of(c, U".!?…‼⁇⁈⁉") || is_wide_terminator(c); }
bool is_wide_clause_mark(char32_t c) { return one_of(c, U"、，；："); }
bool is_clause_mark(char32_t c) { return one_of(c, U",;:–—") || is_wide_clause_mark(c); }
bool is_opener(char32_t c) { return one_of(c, U"\"'“‘„«»‹([{「『（【《〈¿¡"); }
bool is_closer(char32_t c) { return one_of(c, U"\"'”’“»«›)]}」』）】》〉"); }

}  // namespace prosa::voice
