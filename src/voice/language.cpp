// Finding a language by its tag.
#include "voice/language.h"

#include <array>

#include "prosa/error.h"

namespace prosa::voice {
namespace {

std::string part_of(const std::string& tag, size_t index) {
  size_t begin = 0;
  for (; index > 0 && begin != std::string::npos; --index) {
    begin = tag.find_first_of("-_", begin);
    if (begin != std::string::npos) ++begin;
  }
  if (begin == std::string::npos) return {};
  std::string part = tag.substr(begin, tag.find_first_of("-_.", begin) - begin);
  for (char& c : part) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
  }
  return part;
}

}  // namespace

const Language& find_language(const std::string& tag) {
  const std::string code = part_of(tag, 0);
  for (const Language* language : {&kEnglish, &kGerman, &kFrench, &kSpanish, &kPortuguese, &kJapanese, &kChinese}) {
    if (language->code == code) return *language;
  }
  throw Error(ErrorCode::unsupported, "speakable text does not know this language", "language \"" + tag + "\"",
              "use en, de, fr, es, pt, ja or zh, with or without a region");
}

bool month_first(const std::string& tag) {
  if (part_of(tag, 0) != "en") return false;
  const std::string region = part_of(tag, 1);
  return region.empty() || region == "us" || region == "ph";
}

bool is_listed(std::u16string_view list, std::u16string_view word) {
  if (word.empty() || word.find(u' ') != word.npos) return false;
  for (size_t at = list.find(word); at != list.npos; at = list.find(word, at + 1)) {
    // Every word of a list has a space on both sides.
    if (at > 0 && list[at - 1] == u' ' && at + word.size() < list.size() && list[at + word.size()] == u' ') return true;
  }
  return false;
}

}  // namespace prosa::voice
