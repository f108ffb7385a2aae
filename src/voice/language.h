// What speakable text has to know of a language: words for signs, abbreviations, money, how numbers are written.
//
// Tables only; one file a language. Number words, units and names of months are ICU's and stand nowhere here. The
// abbreviations are our own list and not that of Unicode's locale data: theirs holds words that end sentences every day
// ("Test." and "Link." are abbreviations there).
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace prosa::voice {

/// What a full stop behind an abbreviation can be.
enum class Stop {
  inside,         // "Dr.": the sentence goes on
  maybe,          // "etc.": it ends if a capital follows
  before_number,  // "No.": it goes on if a number follows
};

struct Abbreviation {
  std::u16string_view written;  // in small letters, without spaces, with its full stops: "z.b."
  Stop stop = Stop::inside;
  std::u16string_view spoken = {};  // empty: as it is written
};

struct Currency {
  std::u16string_view signs = {};  // separated by spaces: "€ EUR"
  std::u16string_view one = {}, many = {};
  std::u16string_view cent = {}, cents = {};  // empty: it has none
};

struct SignWords {
  std::u16string_view and_ = {}, dot = {}, at = {}, slash = {}, dash = {}, underscore = {}, colon = {}, tilde = {};
  std::u16string_view plus = {}, minus = {}, plus_minus = {}, times = {}, divided = {}, equals = {}, less = {},
                      greater = {}, at_most = {}, at_least = {}, about = {};
  std::u16string_view percent = {}, degrees = {}, section = {}, number = {}, squared = {}, cubed = {};
  std::u16string_view point = {};    // of a decimal number
  std::u16string_view to = {};       // of a range
  std::u16string_view version = {};  // "v2"
  std::u16string_view code_block = {}, inline_code = {};
  std::u16string_view thousand = {}, million = {}, billion = {};  // after a number, in amounts such as $5M
};

struct FractionWords {
  std::u16string_view half = {}, third = {}, two_thirds = {}, quarter = {}, three_quarters = {};
  std::u16string_view over = {};  // of any other
  bool below_first = false;       // "4分の3": the lower number is said first
};

/// How an amount of hours is said; %h and %m stand for the numbers.
struct TimeWords {
  std::u16string_view whole = {};    // "14:00"
  std::u16string_view one = {};      // "1:00", where it differs
  std::u16string_view minutes = {};  // "14:30"
  std::u16string_view after = {};    // a word that already says so when it follows: "Uhr"
  bool half_days = false;            // am and pm may follow
};

struct Language {
  std::string_view code;  // ISO 639-1
  bool spaces = true;     // between words
  char16_t decimal = u'.';
  std::u16string_view groups = {};  // what may part groups of three digits: the inside of a character class
  SignWords signs;
  FractionWords fractions;
  TimeWords times;
  std::u16string_view cents_joint = {};  // between "3 euros" and "50"
  std::span<const Currency> currencies = {};
  std::span<const Abbreviation> abbreviations = {};
  // Lists of words in small letters, with a space before and after each.
  std::u16string_view conjunctions = {};   // a clause may begin with them
  std::u16string_view starters = {};       // what begins a sentence after "U.S."
  std::u16string_view before_letter = {};  // "vitamin C.": the single letter behind them is no initial
  std::u16string_view before_ordinal =
      {};                                  // "am 3. Mai": the number behind them is an ordinal where it has a full stop
  std::u16string_view after_ordinal = {};  // "Jahrhundert": so is the number before them
  std::u16string_view before_roman = {};   // "chapter IV"
  std::u16string_view rulers = {};         // "Louis XIV"
  std::u16string_view roman_after = {};    // "XIXe siècle"
};

/// Of a tag such as "de", "pt-BR" or "en_GB". Error(unsupported) for any language that is not listed in speakable.h.
const Language& find_language(const std::string& tag);
/// Whether the tag's region writes 11/30/2026: the United States, also where no region is given.
bool month_first(const std::string& tag);

/// Whether `word`, in small letters, stands in one of the lists above.
bool is_listed(std::u16string_view list, std::u16string_view word);

extern const Language kEnglish, kGerman, kFrench, kSpanish, kPortuguese, kJapanese, kChinese;

}  // namespace prosa::voice
