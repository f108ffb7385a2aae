// Where the Unicode data of the official tokenizers library differ from those of utf8proc.
//
// Ids have to equal the official ones, so its two ages of Unicode count, not the newest: its regular expressions
// (Oniguruma 6.9.10) know Unicode 16, its NFC knows Unicode 9. Both lists were found by comparing every code point with
// tokenizers 0.23; with utf8proc 2.8 (Unicode 15.0) nothing else differs.
#pragma once

#include <algorithm>
#include <iterator>

#include "tokenizer/unicode.h"

namespace prosa::unicode {

/// Code points without a class in Unicode 15.0 that the official expressions know (15.1 and 16).
struct ClassRange {
  char32_t first;
  char32_t last;
  CharClass kind;
};
inline constexpr ClassRange kAssignedSince15[] = {
    {0x897, 0x897, CharClass::mark},       {0x1c89, 0x1c8a, CharClass::letter},   {0xa7cb, 0xa7cd, CharClass::letter},
    {0xa7da, 0xa7dc, CharClass::letter},   {0x105c0, 0x105f3, CharClass::letter}, {0x10d40, 0x10d49, CharClass::number},
    {0x10d4a, 0x10d65, CharClass::letter}, {0x10d69, 0x10d6d, CharClass::mark},   {0x10d6f, 0x10d85, CharClass::letter},
    {0x10ec2, 0x10ec4, CharClass::letter}, {0x10efc, 0x10efc, CharClass::mark},   {0x11380, 0x11389, CharClass::letter},
    {0x1138b, 0x1138b, CharClass::letter}, {0x1138e, 0x1138e, CharClass::letter}, {0x11390, 0x113b5, CharClass::letter},
    {0x113b7, 0x113b7, CharClass::letter}, {0x113b8, 0x113c0, CharClass::mark},   {0x113c2, 0x113c2, CharClass::mark},
    {0x113c5, 0x113c5, CharClass::mark},   {0x113c7, 0x113ca, CharClass::mark},   {0x113cc, 0x113d0, CharClass::mark},
    {0x113d1, 0x113d1, CharClass::letter}, {0x113d2, 0x113d2, CharClass::mark},   {0x113d3, 0x113d3, CharClass::letter},
    {0x113e1, 0x113e2, CharClass::mark},   {0x116d0, 0x116e3, CharClass::number}, {0x11bc0, 0x11be0, CharClass::letter},
    {0x11bf0, 0x11bf9, CharClass::number}, {0x11f5a, 0x11f5a, CharClass::mark},   {0x13460, 0x143fa, CharClass::letter},
    {0x16100, 0x1611d, CharClass::letter}, {0x1611e, 0x1612f, CharClass::mark},   {0x16130, 0x16139, CharClass::number},
    {0x16d40, 0x16d6c, CharClass::letter}, {0x16d70, 0x16d79, CharClass::number}, {0x18cff, 0x18cff, CharClass::letter},
    {0x1ccf0, 0x1ccf9, CharClass::number}, {0x1e5d0, 0x1e5ed, CharClass::letter}, {0x1e5ee, 0x1e5ef, CharClass::mark},
    {0x1e5f0, 0x1e5f0, CharClass::letter}, {0x1e5f1, 0x1e5fa, CharClass::number}, {0x2ebf0, 0x2ee5d, CharClass::letter},
};

/// The letters among them that have a case.
struct CaseRange {
  char32_t first;
  char32_t last;
  LetterCase letter_case;
};
inline constexpr CaseRange kCasedSince15[] = {
    {0x1c89, 0x1c89, LetterCase::upper}, {0x1c8a, 0x1c8a, LetterCase::lower},   {0xa7cb, 0xa7cc, LetterCase::upper},
    {0xa7cd, 0xa7cd, LetterCase::lower}, {0xa7da, 0xa7da, LetterCase::upper},   {0xa7db, 0xa7db, LetterCase::lower},
    {0xa7dc, 0xa7dc, LetterCase::upper}, {0x10d50, 0x10d65, LetterCase::upper}, {0x10d70, 0x10d85, LetterCase::lower},
};

/// Combining marks younger than Unicode 9, and U+11930: the official NFC takes them for characters that nothing happens
/// to, so that they keep their place and what follows can't join what stands before them.
struct Range {
  char32_t first;
  char32_t last;
};
inline constexpr Range kMarksSince9[] = {
    {0x7fd, 0x7fd},     {0x898, 0x89f},     {0x8ca, 0x8d3},     {0x9fe, 0x9fe},     {0xc3c, 0xc3c},
    {0xd3b, 0xd3c},     {0xeba, 0xeba},     {0x1715, 0x1715},   {0x1abf, 0x1ace},   {0x1df6, 0x1dfa},
    {0xa82c, 0xa82c},   {0x10d24, 0x10d27}, {0x10eab, 0x10eac}, {0x10efd, 0x10eff}, {0x10f46, 0x10f50},
    {0x10f82, 0x10f85}, {0x11070, 0x11070}, {0x1133b, 0x1133b}, {0x1145e, 0x1145e}, {0x11839, 0x1183a},
    {0x11930, 0x11930}, {0x1193d, 0x1193e}, {0x11943, 0x11943}, {0x119e0, 0x119e0}, {0x11a34, 0x11a34},
    {0x11a47, 0x11a47}, {0x11a99, 0x11a99}, {0x11d42, 0x11d42}, {0x11d44, 0x11d45}, {0x11d97, 0x11d97},
    {0x11f41, 0x11f42}, {0x16ff0, 0x16ff1}, {0x1e08f, 0x1e08f}, {0x1e130, 0x1e136}, {0x1e2ae, 0x1e2ae},
    {0x1e2ec, 0x1e2ef}, {0x1e4ec, 0x1e4ef},
};

/// The class of a code point that utf8proc has as unassigned.
inline CharClass class_if_unassigned(char32_t code) noexcept {
  const auto* found = std::ranges::lower_bound(kAssignedSince15, code, {}, &ClassRange::last);
  return found != std::end(kAssignedSince15) && found->first <= code ? found->kind : CharClass::other;
}

inline LetterCase case_if_unassigned(char32_t code) noexcept {
  const auto* found = std::ranges::lower_bound(kCasedSince15, code, {}, &CaseRange::last);
  return found != std::end(kCasedSince15) && found->first <= code ? found->letter_case : LetterCase::none;
}

inline bool nfc_leaves_alone(char32_t code) noexcept {
  const auto* found = std::ranges::lower_bound(kMarksSince9, code, {}, &Range::last);
  return found != std::end(kMarksSince9) && found->first <= code;
}

}  // namespace prosa::unicode
