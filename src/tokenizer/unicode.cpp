// The character table and NFC, from utf8proc's properties.
//
// utf8proc_map would do NFC as well, but it sorts combining marks by repeated swapping, quadratic in their number; and
// it would copy text that needs no change. So: only the stretches that may change are decomposed, sorted and composed.
#include "tokenizer/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <map>
#include <span>

#include "base/check.h"
#include "base/utf8.h"
#include "tokenizer/unicode_versions.h"

namespace prosa::unicode {
namespace {

constexpr char32_t kCodePoints = 0x110000;
constexpr size_t kPage = 256;

/// Nothing is assigned between plane 3 and plane 14 and private use follows: `other`, unaffected by NFC.
constexpr bool may_be_assigned(char32_t code) { return code < 0x40000 || (code >= 0xe0000 && code < 0xe1000); }

CharClass classify(char32_t code) {
  if (code == '\r' || code == '\n') return CharClass::newline;
  if (is_space(code)) return CharClass::space;
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(code))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO: return CharClass::letter;
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME: return CharClass::mark;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO: return CharClass::number;
    case UTF8PROC_CATEGORY_CN: return class_if_unassigned(code);
    default: return CharClass::other;
  }
}

LetterCase case_of(char32_t code) {
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(code))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LT: return LetterCase::upper;
    case UTF8PROC_CATEGORY_LL: return LetterCase::lower;
    case UTF8PROC_CATEGORY_CN: return case_if_unassigned(code);
    default: return LetterCase::none;
  }
}

int combining_class(utf8proc_int32_t code) {
  if (nfc_leaves_alone(static_cast<char32_t>(code))) return 0;
  return utf8proc_get_property(code)->combining_class;
}

/// Appends the full canonical decomposition.
void decompose(char32_t code, std::vector<utf8proc_int32_t>& out) {
  std::array<utf8proc_int32_t, 32> parts{};  // the longest one known has 4
  int boundclass = 0;
  const auto count =
      utf8proc_decompose_char(static_cast<utf8proc_int32_t>(code), parts.data(), parts.size(),
                              static_cast<utf8proc_option_t>(UTF8PROC_DECOMPOSE | UTF8PROC_STABLE), &boundclass);
  PROSA_CHECK(count > 0 && count <= static_cast<utf8proc_ssize_t>(parts.size()));
  out.insert(out.end(), parts.begin(), parts.begin() + count);
}

/// NFC of `codes`, in place, for a stretch that starts at a boundary.
void normalize(std::span<const char32_t> codes, std::vector<utf8proc_int32_t>& out) {
  out.clear();
  for (const char32_t code : codes) decompose(code, out);
  for (auto run = out.begin(); run != out.end();) {  // canonical order: marks between two starters, stably by class
    const auto starter = [](utf8proc_int32_t code) { return combining_class(code) == 0; };
    run = std::find_if_not(run, out.end(), starter);
    const auto end = std::find_if(run, out.end(), starter);
    std::stable_sort(run, end, [](auto a, auto b) { return combining_class(a) < combining_class(b); });
    run = end;
  }
  const auto size = utf8proc_normalize_utf32(out.data(), static_cast<utf8proc_ssize_t>(out.size()),
                                             static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE));
  PROSA_CHECK(size >= 0);
  out.resize(static_cast<size_t>(size));
}

/// [kCodePoints] of whether NFC may change the code point or move or join it to the left.
std::vector<bool> find_nfc_moves() {
  std::vector<bool> moves(kCodePoints);
  std::vector<utf8proc_int32_t> parts;
  std::vector<utf8proc_int32_t> composed;
  const auto hangul_syllable = [](char32_t code) { return code >= 0xac00 && code <= 0xd7a3; };
  const auto decomposes = [&](char32_t code) {
    if (utf8proc_get_property(static_cast<utf8proc_int32_t>(code))->decomp_seqindex == UINT16_MAX) return false;
    parts.clear();
    decompose(code, parts);
    return parts.size() > 1 || parts[0] != static_cast<utf8proc_int32_t>(code);
  };
  for (char32_t code = 0; code < kCodePoints; ++code) {
    if (!may_be_assigned(code)) continue;
    if (combining_class(static_cast<utf8proc_int32_t>(code)) != 0) moves[code] = true;
    if ((code >= 0x1161 && code <= 0x1175) || (code >= 0x11a8 && code <= 0x11c2)) moves[code] = true;  // Hangul V, T
    if (hangul_syllable(code) || !decomposes(code)) continue;
    for (size_t i = 1; i < parts.size(); ++i) {  // these join to the left
      if (!nfc_leaves_alone(static_cast<char32_t>(parts[i]))) moves[static_cast<size_t>(parts[i])] = true;
    }
    normalize(std::span(&code, 1), composed);
    if (composed.size() != 1 || composed[0] != static_cast<utf8proc_int32_t>(code)) moves[code] = true;
  }
  for (char32_t code = 0; code < kCodePoints; ++code) {  // made of something that joins to the left
    if (!may_be_assigned(code) || hangul_syllable(code) || !decomposes(code)) continue;
    if (moves[static_cast<size_t>(parts[0])]) moves[code] = true;
  }
  return moves;
}

}  // namespace

const CharTable& CharTable::get() {
  static const CharTable table;
  return table;
}

CharTable::CharTable() {
  const std::vector<bool> moves = find_nfc_moves();
  std::map<std::array<uint8_t, kPage>, uint16_t> known;
  for (size_t page = 0; page < page_of_.size(); ++page) {
    std::array<uint8_t, kPage> entries{};
    for (size_t i = 0; i < kPage; ++i) {
      const auto code = static_cast<char32_t>(page * kPage + i);
      const CharClass kind = may_be_assigned(code) ? classify(code) : CharClass::other;
      const LetterCase letter_case = may_be_assigned(code) ? case_of(code) : LetterCase::none;
      entries[i] = static_cast<uint8_t>(static_cast<unsigned>(kind) | (moves[code] ? kNfcMoves : 0U) |
                                        static_cast<unsigned>(letter_case) << kCaseShift);
    }
    const auto [found, is_new] = known.try_emplace(entries, static_cast<uint16_t>(known.size()));
    if (is_new) pages_.insert(pages_.end(), entries.begin(), entries.end());
    page_of_[page] = found->second;
  }
}

bool is_surely_nfc(std::string_view text) noexcept {
  size_t at = utf8::ascii_prefix(text);
  if (at == text.size()) return true;
  const CharTable& table = CharTable::get();
  while (at < text.size()) {
    if (!table.nfc_boundary(utf8::next(text, at))) return false;
  }
  return true;
}

std::string to_nfc(std::string_view text) {
  const CharTable& table = CharTable::get();
  std::string out;
  out.reserve(text.size());
  std::vector<char32_t> stretch;  // a boundary and what may join to it
  std::vector<utf8proc_int32_t> composed;
  for (size_t at = 0; at < text.size();) {
    stretch.clear();
    const size_t begin = at;
    stretch.push_back(utf8::next(text, at));
    const bool starts_clean = table.nfc_boundary(stretch[0]);
    while (at < text.size()) {
      size_t behind = at;
      const char32_t code = utf8::next(text, behind);
      if (table.nfc_boundary(code)) break;
      stretch.push_back(code);
      at = behind;
    }
    if (starts_clean && stretch.size() == 1) {
      out.append(text, begin, at - begin);
      continue;
    }
    normalize(stretch, composed);
    for (const utf8proc_int32_t code : composed) utf8::append(out, static_cast<char32_t>(code));
  }
  return out;
}

bool is_word(char32_t code) noexcept {
  if (code == 0x200c || code == 0x200d) return true;
  if ((code >= 0x24b6 && code <= 0x24e9) || (code >= 0x1f130 && code <= 0x1f149) ||  // alphabetic symbols
      (code >= 0x1f150 && code <= 0x1f169) || (code >= 0x1f170 && code <= 0x1f189)) {
    return true;
  }
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(code))) {
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC: return true;
    case UTF8PROC_CATEGORY_NO: return false;
    default: break;
  }
  const CharClass kind = CharTable::get().char_class(code);
  return kind == CharClass::letter || kind == CharClass::mark;
}

bool is_space(char32_t code) noexcept {
  return (code >= 0x09 && code <= 0x0d) || code == 0x20 || code == 0x85 || code == 0xa0 || code == 0x1680 ||
         (code >= 0x2000 && code <= 0x200a) || code == 0x2028 || code == 0x2029 || code == 0x202f || code == 0x205f ||
         code == 0x3000;
}

}  // namespace prosa::unicode
