// The methods of strings: one function each, in a table (runtime.h).
//
// Self is a string and what comes out keeps its marks. Of Markup most methods make Markup again, as MarkupSafe does.
#include <algorithm>
#include <array>
#include <limits>
#include <optional>

#include <fmt/format.h>

#include "base/utf8.h"
#include "chat/jinja/characters.h"
#include "chat/jinja/runtime.h"

namespace prosa::chat::jinja {
namespace {

struct Call {
  Runtime& runtime;
  const Text& self;
  std::string_view name;
  const Arguments& arguments;

  [[nodiscard]] std::string_view bytes() const { return self.bytes(); }
  [[nodiscard]] Value same(MarkedText text) const { return runtime.text(std::move(text), self.safe); }
  [[nodiscard]] Value part(std::string_view part) const { return same(self.marked.slice(part)); }
  [[nodiscard]] Value parts(const std::vector<std::string_view>& list, ListKind kind = ListKind::list) const {
    std::vector<Value> values;
    for (const std::string_view piece : list) values.push_back(part(piece));
    return runtime.list(std::move(values), kind);
  }
  std::vector<const Value*> bound(std::initializer_list<std::string_view> names) const {
    return bind(runtime, name, arguments, names);
  }
  /// A parameter that is a string; null where it is not given or None.
  [[nodiscard]] const Text* text(const Value* value) const {
    if (value == nullptr || value->is_none()) return nullptr;
    if (value->is_undefined()) runtime.fail_undefined(*value);
    if (value->text() == nullptr)
      runtime.fail(fmt::format("{}() argument must be str, not {}", name, value->type_name()));
    return value->text();
  }
  [[nodiscard]] const Text& needed(const Value* value) const {
    const Text* held = text(value);
    if (held == nullptr) runtime.fail(fmt::format("{}() needs a string as its argument", name));
    return *held;
  }
  [[nodiscard]] int64_t number(const Value* value, int64_t unset) const {
    return value == nullptr || value->is_none() ? unset : to_int(runtime, *value, "an argument");
  }
};

Value strip(const Call& call) {
  const Side side = call.name == "lstrip" ? Side::left : (call.name == "rstrip" ? Side::right : Side::both);
  const Text* set = call.text(call.bound({"chars"})[0]);
  return call.part(set == nullptr ? strip_space(call.bytes(), side) : strip_set(call.bytes(), set->bytes(), side));
}

Value split(const Call& call) {
  const bool back = call.name == "rsplit";
  const auto bound = call.bound({"sep", "maxsplit"});
  const Text* separator = call.text(bound[0]);
  const int64_t most = call.number(bound[1], -1);
  if (separator == nullptr)
    return call.parts(back ? split_words_back(call.bytes(), most) : split_words(call.bytes(), most));
  if (separator->bytes().empty()) call.runtime.fail("empty separator");
  return call.parts(back ? split_at_back(call.bytes(), separator->bytes(), most)
                         : split_at(call.bytes(), separator->bytes(), most));
}

Value split_by_lines(const Call& call) {
  const Value* keep = call.bound({"keepends"})[0];
  return call.parts(split_lines(call.bytes(), keep != nullptr && keep->truthy()));
}

Value partition(const Call& call) {
  const Text& separator = call.needed(call.bound({"sep"})[0]);
  if (separator.bytes().empty()) call.runtime.fail("empty separator");
  const bool back = call.name == "rpartition";
  const std::string_view bytes = call.bytes();
  const size_t at = back ? bytes.rfind(separator.bytes()) : bytes.find(separator.bytes());
  if (at == std::string_view::npos) {
    const std::string_view none = bytes.substr(0, 0);
    if (back) return call.parts({none, none, bytes}, ListKind::tuple);
    return call.parts({bytes, none, none}, ListKind::tuple);
  }
  const size_t size = separator.bytes().size();
  return call.parts({bytes.substr(0, at), bytes.substr(at, size), bytes.substr(at + size)}, ListKind::tuple);
}

/// The part of the text from and to these code points.
std::string_view window(const Call& call, const Value* begin, const Value* end, size_t& skipped) {
  const auto size = static_cast<int64_t>(length_of(call.bytes()));
  const auto place = [&](int64_t at) { return std::clamp<int64_t>(at < 0 ? std::max(at, -size) + size : at, 0, size); };
  const int64_t from = place(call.number(begin, 0)), to = place(call.number(end, size));
  skipped = static_cast<size_t>(from);
  if (call.number(begin, 0) > size) {
    skipped = std::numeric_limits<size_t>::max();
    return {};
  }
  const size_t first = offset_of(call.bytes(), static_cast<size_t>(from));
  const std::string_view rest = call.bytes().substr(first);
  return rest.substr(0, offset_of(rest, static_cast<size_t>(std::max<int64_t>(0, to - from))));
}

Value starts_or_ends(const Call& call) {
  const bool front = call.name == "startswith";
  const auto bound = call.bound({"prefix", "start", "end"});
  if (bound[0] == nullptr) call.runtime.fail(fmt::format("{}() needs a string", call.name));
  size_t skipped = 0;
  const std::string_view text = window(call, bound[1], bound[2], skipped);
  if (skipped == std::numeric_limits<size_t>::max()) return Value::boolean(false);
  const auto matches = [&](const Value& value) {
    const Text& affix = call.needed(&value);
    return front ? text.starts_with(affix.bytes()) : text.ends_with(affix.bytes());
  };
  const List* choices = bound[0]->list();
  if (choices == nullptr || choices->kind != ListKind::tuple) return Value::boolean(matches(*bound[0]));
  return Value::boolean(std::ranges::any_of(choices->elements, matches));
}

Value find(const Call& call) {
  const auto bound = call.bound({"sub", "start", "end"});
  const Text& wanted = call.needed(bound[0]);
  size_t skipped = 0;
  const std::string_view text = window(call, bound[1], bound[2], skipped);
  const bool back = call.name.starts_with('r');
  size_t at = std::string_view::npos;
  if (skipped != std::numeric_limits<size_t>::max()) at = back ? text.rfind(wanted.bytes()) : text.find(wanted.bytes());
  if (at != std::string_view::npos)
    return Value::integer(static_cast<Integer>(skipped + length_of(text.substr(0, at))));
  if (call.name.ends_with("index")) call.runtime.fail("substring not found");
  return Value::integer(-1);
}

Value count(const Call& call) {
  const auto bound = call.bound({"sub", "start", "end"});
  const Text& wanted = call.needed(bound[0]);
  size_t skipped = 0;
  const std::string_view text = window(call, bound[1], bound[2], skipped);
  if (skipped == std::numeric_limits<size_t>::max()) return Value::integer(0);
  const size_t found = wanted.bytes().empty() ? length_of(text) + 1 : split_at(text, wanted.bytes(), -1).size() - 1;
  return Value::integer(static_cast<Integer>(found));
}

Value replace(const Call& call) {
  const auto bound = call.bound({"old", "new", "count"});
  const Text &old = call.needed(bound[0]), &fresh = call.needed(bound[1]);
  // Bounded before it is made: each place may grow by the new text.
  if (fresh.bytes().size() > old.bytes().size()) {
    const int64_t most = call.number(bound[2], -1);
    const size_t found =
        old.bytes().empty() ? call.bytes().size() + 1 : split_at(call.bytes(), old.bytes(), most).size() - 1;
    call.runtime.charge_bytes(found * fresh.bytes().size());
  }
  const bool escapes = call.self.safe && !fresh.safe;
  return call.same(replace_all(call.self.marked, old.bytes(), escapes ? escaped(fresh.marked) : fresh.marked,
                               call.number(bound[2], -1)));
}

Value join(const Call& call) {
  const Value* items = call.bound({"iterable"})[0];
  if (items == nullptr) call.runtime.fail("join() takes exactly one argument (0 given)");
  const auto list = iterate(call.runtime, *items);
  MarkedText out;
  bool first = true;
  for (const Value& item : list->elements) {
    if (item.text() == nullptr)
      call.runtime.fail(fmt::format("sequence item: expected str instance, {} found", item.type_name()));
    if (!first) out.append(call.self.marked);
    first = false;
    out.append(call.self.safe && !item.text()->safe ? escaped(item.text()->marked) : item.text()->marked);
    call.runtime.charge_bytes(item.text()->bytes().size() + call.bytes().size());
  }
  return call.same(std::move(out));
}

Value change_case(const Call& call) {
  call.bound({});
  if (call.name == "upper") return call.same(upper(call.self.marked));
  if (call.name == "title") return call.same(title(call.self.marked));
  if (call.name == "capitalize") return call.same(capitalize(call.self.marked));
  if (call.name == "swapcase") return call.same(swapcase(call.self.marked));
  return call.same(lower(call.self.marked));  // casefold too, but for letters like ß
}

Value remove_affix(const Call& call) {
  const Text& affix = call.needed(call.bound({"affix"})[0]);
  std::string_view text = call.bytes();
  if (call.name == "removeprefix") {
    if (text.starts_with(affix.bytes())) text.remove_prefix(affix.bytes().size());
  } else if (text.ends_with(affix.bytes())) {
    text.remove_suffix(affix.bytes().size());
  }
  return call.part(text);
}

/// center, ljust, rjust and zfill.
Value pad(const Call& call) {
  const auto bound = call.bound({"width", "fillchar"});
  if (bound[0] == nullptr) call.runtime.fail(fmt::format("{} expected at least 1 argument, got 0", call.name));
  const auto size = static_cast<int64_t>(length_of(call.bytes()));
  const int64_t width = call.number(bound[0], 0), missing = std::max<int64_t>(0, width - size);
  const Text* fill = call.text(bound[1]);
  MarkedText filler = fill != nullptr ? fill->marked : MarkedText();
  if (fill == nullptr) filler.write(call.name == "zfill" ? "0" : " ");
  if (length_of(filler.text()) != 1) call.runtime.fail("The fill character must be exactly one character long");
  int64_t left = call.name == "ljust" ? 0 : missing;
  if (call.name == "center") left = missing / 2 + (missing & width & 1);
  call.runtime.charge_bytes(static_cast<size_t>(missing) * filler.text().size());
  MarkedText out;
  std::string_view rest = call.bytes();
  if (call.name == "zfill" && !rest.empty() && (rest.front() == '-' || rest.front() == '+')) {
    out.append(call.self.marked, rest.substr(0, 1));
    rest.remove_prefix(1);
  }
  for (int64_t i = 0; i < left; ++i) out.append(filler);
  out.append(call.self.marked, rest);
  for (int64_t i = left; i < missing; ++i) out.append(filler);
  return call.same(std::move(out));
}

template <typename Belongs>
bool all_of(std::string_view text, Belongs belongs) {
  for (size_t at = 0; at < text.size();) {
    if (!belongs(utf8::next(text, at))) return false;
  }
  return !text.empty();
}

/// isupper, islower: some letter has case, and none has the other one.
bool has_only(std::string_view text, bool (*wanted)(char32_t), bool (*other)(char32_t)) {
  bool some = false;
  for (size_t at = 0; at < text.size();) {
    const char32_t code = utf8::next(text, at);
    if (other(code)) return false;
    some = some || wanted(code);
  }
  return some;
}

Value is_all(const Call& call) {
  call.bound({});
  const std::string_view text = call.bytes(), what = call.name.substr(2);
  const auto answer = [&] {
    if (what == "digit") return all_of(text, is_digit);
    if (what == "decimal") return all_of(text, is_decimal);
    if (what == "numeric") return all_of(text, is_digit);
    if (what == "alpha") return all_of(text, is_letter);
    if (what == "alnum") return all_of(text, [](char32_t c) { return is_letter(c) || is_digit(c); });
    if (what == "space") return all_of(text, is_space);
    if (what == "ascii") return utf8::ascii_prefix(text) == text.size();
    if (what == "printable") return text.empty() || all_of(text, is_printable);
    if (what == "upper") return has_only(text, is_upper, is_lower);
    if (what == "lower") return has_only(text, is_lower, is_upper);
    return title(call.self.marked).text() == text &&
           has_only(
               text, [](char32_t c) { return is_upper(c) || is_lower(c); }, [](char32_t) { return false; });
  };
  return Value::boolean(answer());
}

Value format(const Call& call) { return call.same(format_braces(call.runtime, call.self.marked, call.arguments)); }

struct Entry {
  std::string_view name;
  Value (*call)(const Call&);
};

constexpr std::array<Entry, 41> kMethods = {{{"capitalize", change_case},
                                             {"casefold", change_case},
                                             {"center", pad},
                                             {"count", count},
                                             {"endswith", starts_or_ends},
                                             {"find", find},
                                             {"format", format},
                                             {"index", find},
                                             {"isalnum", is_all},
                                             {"isalpha", is_all},
                                             {"isascii", is_all},
                                             {"isdecimal", is_all},
                                             {"isdigit", is_all},
                                             {"islower", is_all},
                                             {"isnumeric", is_all},
                                             {"isprintable", is_all},
                                             {"isspace", is_all},
                                             {"istitle", is_all},
                                             {"isupper", is_all},
                                             {"join", join},
                                             {"ljust", pad},
                                             {"lower", change_case},
                                             {"lstrip", strip},
                                             {"partition", partition},
                                             {"removeprefix", remove_affix},
                                             {"removesuffix", remove_affix},
                                             {"replace", replace},
                                             {"rfind", find},
                                             {"rindex", find},
                                             {"rjust", pad},
                                             {"rpartition", partition},
                                             {"rsplit", split},
                                             {"rstrip", strip},
                                             {"split", split},
                                             {"splitlines", split_by_lines},
                                             {"startswith", starts_or_ends},
                                             {"strip", strip},
                                             {"swapcase", change_case},
                                             {"title", change_case},
                                             {"upper", change_case},
                                             {"zfill", pad}}};

}  // namespace

Value string_method(Runtime& runtime, const Value& value, std::string_view name) {
  const auto* entry = std::ranges::find(kMethods, name, &Entry::name);
  if (entry == kMethods.end()) return {};
  return runtime.function(
      std::string(name),
      [value, entry](Runtime& at, const Arguments& arguments) {
        at.charge_bytes(value.text()->bytes().size());
        return entry->call({at, *value.text(), entry->name, arguments});
      },
      1);
}

}  // namespace prosa::chat::jinja
