// Filters on lists and objects (runtime.h). Where Jinja makes a generator, so do these: a template that asks for its
// length fails here as it fails there.
#include <algorithm>
#include <array>
#include <optional>

#include <fmt/format.h>

#include "chat/jinja/characters.h"
#include "chat/jinja/runtime.h"

namespace prosa::chat::jinja {
namespace {

std::shared_ptr<const List> items_of(Runtime& runtime, const Value& value) {
  auto list = iterate(runtime, value);
  runtime.charge(list->elements.size());
  return list;
}

/// A path like "function.name" or "0": attributes and places.
Value by_path(Runtime& runtime, Value value, const Value& path, const Value* unset) {
  if (path.is_integral()) return subscript(runtime, value, path);
  std::string_view rest = path.text() != nullptr ? std::string_view(path.text()->bytes()) : std::string_view();
  if (path.text() == nullptr) runtime.fail("the name of an attribute is no text");
  for (bool more = true; more;) {
    const size_t dot = rest.find('.');
    more = dot != std::string_view::npos;
    const std::string_view name = rest.substr(0, dot);
    if (more) rest.remove_prefix(dot + 1);
    const bool place =
        !name.empty() && name.find_first_not_of("0123456789") == std::string_view::npos && name.size() < 9;
    value = subscript(runtime, value, place ? Value::integer(std::stoi(std::string(name))) : Value::written(name));
    if (unset != nullptr && value.is_undefined()) value = *unset;
  }
  return value;
}

/// What a filter compares by: the element or one of its attributes, letters small unless case counts.
struct Key {
  const Value* path = nullptr;  // null: the element itself
  const Value* unset = nullptr;
  bool case_sensitive = false;
  Value operator()(Runtime& runtime, const Value& value) const {
    Value key = path == nullptr || path->is_none() ? value : by_path(runtime, value, *path, unset);
    if (case_sensitive || key.text() == nullptr) return key;
    return runtime.text(lower(key.text()->marked));
  }
};

std::vector<std::pair<Value, Value>> keyed(Runtime& runtime, const List& list, const Key& key) {
  std::vector<std::pair<Value, Value>> pairs;
  for (const Value& element : list.elements) pairs.emplace_back(key(runtime, element), element);
  return pairs;
}

bool flag(const Value* value) { return value != nullptr && value->truthy(); }

Value filter_list(Runtime& runtime, const Value& self, const Arguments& arguments) {
  bind(runtime, "list", arguments, {});
  return runtime.list(items_of(runtime, self)->elements, ListKind::list, self.given());
}

Value filter_first(Runtime& runtime, const Value& self, const Arguments& arguments) {
  bind(runtime, "first", arguments, {});
  const auto list = items_of(runtime, self);
  return list->elements.empty() ? Value::undefined("No first item, sequence was empty.") : list->elements.front();
}

Value filter_last(Runtime& runtime, const Value& self, const Arguments& arguments) {
  bind(runtime, "last", arguments, {});
  if (self.list() != nullptr && self.list()->kind == ListKind::generator)
    runtime.fail("'generator' object is not reversible");
  const auto list = items_of(runtime, self);
  return list->elements.empty() ? Value::undefined("No last item, sequence was empty.") : list->elements.back();
}

Value filter_join(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const auto bound = bind(runtime, "join", arguments, {"d", "attribute"});
  const MarkedText between = bound[0] == nullptr ? MarkedText() : to_text(runtime, *bound[0]);
  MarkedText out;
  bool first = true;
  const bool by = bound[1] != nullptr && !bound[1]->is_none();
  const auto list = items_of(runtime, self);
  for (const Value& item : list->elements) {
    if (!first) out.append(between);
    first = false;
    const MarkedText text = to_text(runtime, by ? by_path(runtime, item, *bound[1], nullptr) : item);
    runtime.charge_bytes(text.text().size() + between.text().size());
    out.append(text);
  }
  return runtime.text(std::move(out));
}

Value filter_reverse(Runtime& runtime, const Value& self, const Arguments& arguments) {
  bind(runtime, "reverse", arguments, {});
  if (self.text() != nullptr) return slice(runtime, self, Value::none(), Value::none(), Value::integer(-1));
  std::vector<Value> elements = items_of(runtime, self)->elements;
  std::ranges::reverse(elements);
  return runtime.list(std::move(elements), ListKind::generator, self.given());
}

Value filter_sort(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const auto bound = bind(runtime, "sort", arguments, {"reverse", "case_sensitive", "attribute"});
  const auto list = items_of(runtime, self);
  std::vector<std::pair<Value, Value>> pairs;
  const bool many =
      bound[2] != nullptr && bound[2]->text() != nullptr && bound[2]->text()->bytes().find(',') != std::string::npos;
  if (many) {
    for (const Value& element : list->elements) {
      std::vector<Value> keys;
      for (const std::string_view path : split_at(bound[2]->text()->bytes(), ",", -1)) {
        const Value name = Value::written(path);
        keys.push_back(Key{&name, nullptr, flag(bound[1])}(runtime, element));
      }
      pairs.emplace_back(runtime.list(std::move(keys)), element);
    }
  } else {
    pairs = keyed(runtime, *list, {bound[2], nullptr, flag(bound[1])});
  }
  const bool reverse = flag(bound[0]);
  std::ranges::stable_sort(pairs, [&](const auto& a, const auto& b) {
    return compare(runtime, reverse ? b.first : a.first, reverse ? a.first : b.first) < 0;
  });
  std::vector<Value> sorted;
  for (auto& pair : pairs) sorted.push_back(std::move(pair.second));
  return runtime.list(std::move(sorted), ListKind::list, self.given());
}

Value filter_dictsort(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const auto bound = bind(runtime, "dictsort", arguments, {"case_sensitive", "by", "reverse"});
  if (self.is_undefined()) runtime.fail_undefined(self);
  if (self.dict() == nullptr) runtime.fail(fmt::format("'{}' object has no attribute 'items'", self.type_name()));
  const bool by_value = bound[1] != nullptr && bound[1]->is_string("value");
  if (!by_value && bound[1] != nullptr && !bound[1]->is_string("key"))
    runtime.fail(R"(You can only sort by either "key" or "value")");
  std::vector<Value> pairs;
  for (const auto& [key, value] : self.dict()->entries)
    pairs.push_back(runtime.list({key, value}, ListKind::tuple, self.given()));
  Arguments passed;
  passed.named = {{"attribute", Value::integer(by_value ? 1 : 0)},
                  {"case_sensitive", Value::boolean(flag(bound[0]))},
                  {"reverse", Value::boolean(flag(bound[2]))}};
  return filter_sort(runtime, runtime.list(std::move(pairs)), passed);
}

Value filter_unique(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const auto bound = bind(runtime, "unique", arguments, {"case_sensitive", "attribute"});
  std::vector<Value> seen, kept;
  for (auto& [key, element] : keyed(runtime, *items_of(runtime, self), {bound[1], nullptr, flag(bound[0])})) {
    const auto same = [&, &wanted = key](const Value& other) { return equal(runtime, other, wanted); };
    if (std::ranges::any_of(seen, same)) continue;
    seen.push_back(key);
    kept.push_back(element);
  }
  return runtime.list(std::move(kept), ListKind::generator, self.given());
}

template <bool largest>
Value filter_extreme(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const auto bound = bind(runtime, largest ? "max" : "min", arguments, {"case_sensitive", "attribute"});
  const auto pairs = keyed(runtime, *items_of(runtime, self), {bound[1], nullptr, flag(bound[0])});
  if (pairs.empty()) return Value::undefined("No aggregated item, sequence was empty.");
  const auto* best = &pairs.front();
  for (const auto& pair : pairs) {
    const int order = compare(runtime, pair.first, best->first);
    if (largest ? order > 0 : order < 0) best = &pair;
  }
  return best->second;
}

Value filter_sum(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const auto bound = bind(runtime, "sum", arguments, {"attribute", "start"});
  Value total = bound[1] == nullptr ? Value::integer(0) : *bound[1];
  const bool by = bound[0] != nullptr && !bound[0]->is_none();
  const auto list = items_of(runtime, self);
  for (const Value& item : list->elements)
    total = binary(runtime, "+", total, by ? by_path(runtime, item, *bound[0], nullptr) : item);
  return total;
}

/// A filter or test whose name and arguments are the arguments of another filter.
Arguments rest_of(const Arguments& arguments, size_t skipped) {
  Arguments rest;
  rest.positional.assign(arguments.positional.begin() + static_cast<std::ptrdiff_t>(skipped),
                         arguments.positional.end());
  rest.named = arguments.named;
  return rest;
}

const std::string& name_argument(Runtime& runtime, const Arguments& arguments, size_t index) {
  if (index >= arguments.positional.size() || arguments.positional[index].text() == nullptr)
    runtime.fail("the name of a filter, test or attribute is missing");
  return arguments.positional[index].text()->bytes();
}

Value filter_map(Runtime& runtime, const Value& self, const Arguments& arguments) {
  std::vector<Value> mapped;
  if (arguments.positional.empty()) {
    const auto bound = bind(runtime, "map", arguments, {"attribute", "default"});
    if (bound[0] == nullptr) runtime.fail("map requires a filter argument");
    const auto list = items_of(runtime, self);
    for (const Value& item : list->elements) mapped.push_back(by_path(runtime, item, *bound[0], bound[1]));
  } else {
    const std::string& name = name_argument(runtime, arguments, 0);
    const Filter filter = find_filter(name);
    if (filter == nullptr) runtime.fail(fmt::format("No filter named '{}'.", name));
    const Arguments rest = rest_of(arguments, 1);
    const auto list = items_of(runtime, self);
    for (const Value& item : list->elements) mapped.push_back(filter(runtime, item, rest));
  }
  return runtime.list(std::move(mapped), ListKind::generator, self.given());
}

/// select, reject, selectattr and rejectattr.
template <bool by_attribute, bool wanted>
Value filter_select(Runtime& runtime, const Value& self, const Arguments& arguments) {
  constexpr size_t kNameAt = by_attribute ? 1 : 0;
  const Value* path = nullptr;
  if (by_attribute) {
    if (arguments.positional.empty()) runtime.fail("Missing parameter for attribute name");
    path = &arguments.positional[0];
  }
  Test test = nullptr;
  Arguments rest;
  if (arguments.positional.size() > kNameAt) {
    const std::string& name = name_argument(runtime, arguments, kNameAt);
    test = find_test(name);
    if (test == nullptr) runtime.fail(fmt::format("No test named '{}'.", name));
    rest = rest_of(arguments, kNameAt + 1);
  }
  std::vector<Value> kept;
  const auto list = items_of(runtime, self);
  for (const Value& item : list->elements) {
    const Value asked = by_attribute ? by_path(runtime, item, *path, nullptr) : item;
    if ((test == nullptr ? asked.truthy() : test(runtime, asked, rest)) == wanted) kept.push_back(item);
  }
  return runtime.list(std::move(kept), ListKind::generator, self.given());
}

Value filter_batch(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const auto bound = bind(runtime, "batch", arguments, {"linecount", "fill_with"});
  const int64_t count = bound[0] == nullptr ? 0 : to_int(runtime, *bound[0], "the line count");
  if (count < 1) runtime.fail("batch needs a line count of at least 1");
  std::vector<Value> lines, line;
  const auto list = items_of(runtime, self);
  for (const Value& item : list->elements) {
    if (static_cast<int64_t>(line.size()) == count) lines.push_back(runtime.list(std::exchange(line, {})));
    line.push_back(item);
  }
  if (!line.empty()) {
    const bool fills = bound[1] != nullptr && !bound[1]->is_none();
    while (fills && static_cast<int64_t>(line.size()) < count) {
      runtime.charge(1);
      line.push_back(*bound[1]);
    }
    lines.push_back(runtime.list(std::move(line)));
  }
  return runtime.list(std::move(lines), ListKind::generator);
}

Value filter_slice(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const auto bound = bind(runtime, "slice", arguments, {"slices", "fill_with"});
  const int64_t slices = bound[0] == nullptr ? 0 : to_int(runtime, *bound[0], "the number of slices");
  if (slices < 1) runtime.fail("slice needs at least 1 slice");
  const auto list = items_of(runtime, self);
  const auto size = static_cast<int64_t>(list->elements.size());
  const int64_t each = size / slices, longer = size % slices;
  std::vector<Value> parts;
  int64_t at = 0;
  for (int64_t i = 0; i < slices; ++i) {
    runtime.charge(1);
    const int64_t count = each + (i < longer ? 1 : 0);
    std::vector<Value> part(list->elements.begin() + at, list->elements.begin() + at + count);
    at += count;
    if (bound[1] != nullptr && !bound[1]->is_none() && i >= longer) part.push_back(*bound[1]);
    parts.push_back(runtime.list(std::move(part)));
  }
  return runtime.list(std::move(parts), ListKind::generator);
}

Value filter_groupby(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const auto bound = bind(runtime, "groupby", arguments, {"attribute", "default", "case_sensitive"});
  if (bound[0] == nullptr) runtime.fail("groupby needs an attribute");
  const Key shown{bound[0], bound[1], true};
  auto pairs = keyed(runtime, *items_of(runtime, self), {bound[0], bound[1], flag(bound[2])});
  std::ranges::stable_sort(pairs, [&](const auto& a, const auto& b) { return compare(runtime, a.first, b.first) < 0; });
  std::vector<Value> groups, members;
  for (size_t i = 0; i < pairs.size(); ++i) {
    members.push_back(pairs[i].second);
    if (i + 1 < pairs.size() && equal(runtime, pairs[i].first, pairs[i + 1].first)) continue;
    const Value name = shown(runtime, members.front());
    groups.push_back(runtime.list({name, runtime.list(std::exchange(members, {}))}, ListKind::tuple));
  }
  return runtime.list(std::move(groups));
}

struct ListFilterEntry {
  std::string_view name;
  Filter filter;
};
constexpr std::array<ListFilterEntry, 19> kListFilters = {{{"batch", filter_batch},
                                                           {"dictsort", filter_dictsort},
                                                           {"first", filter_first},
                                                           {"groupby", filter_groupby},
                                                           {"join", filter_join},
                                                           {"last", filter_last},
                                                           {"list", filter_list},
                                                           {"map", filter_map},
                                                           {"max", filter_extreme<true>},
                                                           {"min", filter_extreme<false>},
                                                           {"reject", filter_select<false, false>},
                                                           {"rejectattr", filter_select<true, false>},
                                                           {"reverse", filter_reverse},
                                                           {"select", filter_select<false, true>},
                                                           {"selectattr", filter_select<true, true>},
                                                           {"slice", filter_slice},
                                                           {"sort", filter_sort},
                                                           {"sum", filter_sum},
                                                           {"unique", filter_unique}}};

}  // namespace

Filter find_list_filter(std::string_view name) {
  const auto* entry = std::ranges::find(kListFilters, name, &ListFilterEntry::name);
  return entry == kListFilters.end() ? nullptr : entry->filter;
}

}  // namespace prosa::chat::jinja
