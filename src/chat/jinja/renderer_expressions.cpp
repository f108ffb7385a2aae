// The expressions of a template, and its names (renderer.h).
#include <algorithm>

#include <fmt/format.h>

#include "chat/jinja/renderer.h"

namespace prosa::chat::jinja {

Value Renderer::evaluate(const Expression& expression) {
  const Runtime::Level level(runtime_);
  runtime_.charge(1);
  runtime_.line = expression.line;
  const auto part = [&](size_t i) { return evaluate(*expression.parts[i]); };
  switch (expression.kind) {
    case ExpressionKind::constant: return expression.constant;
    case ExpressionKind::name: return look_up(expression.name);
    case ExpressionKind::tuple: return runtime_.list(values_of(expression.parts), ListKind::tuple);
    case ExpressionKind::list: return runtime_.list(values_of(expression.parts));
    case ExpressionKind::dict: return dict_of(expression);
    case ExpressionKind::call: return call_of(expression, nullptr);
    case ExpressionKind::attribute: return attribute(runtime_, part(0), expression.name);
    case ExpressionKind::subscript: {
      const Value value = part(0);
      return subscript(runtime_, value, part(1));
    }
    case ExpressionKind::slice: {
      const Value value = part(0);
      const auto bound = [&](size_t i) { return expression.parts[i] ? part(i) : Value::none(); };
      const Value begin = bound(1), end = bound(2);
      return slice(runtime_, value, begin, end, bound(3));
    }
    case ExpressionKind::filter: return filter(expression, nullptr);
    case ExpressionKind::test: return Value::boolean(test(expression));
    case ExpressionKind::negative: return negated(runtime_, part(0));
    case ExpressionKind::positive: {
      Value value = part(0);
      if (!value.is_number()) runtime_.fail(fmt::format("bad operand type for unary +: '{}'", value.type_name()));
      return value;
    }
    case ExpressionKind::logical_not: return Value::boolean(!part(0).truthy());
    case ExpressionKind::logical_and: {
      Value left = part(0);
      return left.truthy() ? part(1) : left;
    }
    case ExpressionKind::logical_or: {
      Value left = part(0);
      return left.truthy() ? left : part(1);
    }
    case ExpressionKind::binary: {
      const Value left = part(0), right = part(1);
      runtime_.line = expression.line;
      return binary(runtime_, expression.name, left, right);
    }
    case ExpressionKind::concat: return concatenated(expression);
    case ExpressionKind::compare: return compare_chain(expression);
    case ExpressionKind::conditional: return conditional(expression);
  }
  return {};
}

Value Renderer::conditional(const Expression& expression) {
  if (evaluate(*expression.parts[0]).truthy()) return evaluate(*expression.parts[1]);
  if (expression.parts[2]) return evaluate(*expression.parts[2]);
  return Value::undefined("the inline if-expression evaluated to false and no else section was defined.");
}

Value Renderer::compare_chain(const Expression& expression) {
  Value left = evaluate(*expression.parts[0]);
  for (size_t i = 0; i < expression.names.size(); ++i) {
    Value right = evaluate(*expression.parts[i + 1]);
    runtime_.line = expression.line;
    const std::string& op = expression.names[i];
    bool holds = false;
    if (op == "==") {
      holds = equal(runtime_, left, right);
    } else if (op == "!=") {
      holds = !equal(runtime_, left, right);
    } else if (op == "in") {
      holds = contains(runtime_, right, left);
    } else if (op == "not in") {
      holds = !contains(runtime_, right, left);
    } else {
      const bool is_number = left.is_number() && right.is_number();
      const bool unordered = is_number && (left.to_real() != left.to_real() || right.to_real() != right.to_real());
      const int order = compare(runtime_, left, right);
      holds = !unordered && (op == "<" ? order < 0 : op == "<=" ? order <= 0 : op == ">" ? order > 0 : order >= 0);
    }
    if (!holds) return Value::boolean(false);
    left = std::move(right);
  }
  return Value::boolean(true);
}

Value Renderer::concatenated(const Expression& expression) {
  MarkedText out;
  for (const auto& part : expression.parts) {
    const Value value = evaluate(*part);
    runtime_.charge_bytes(out.text().size());
    out.append(to_text(runtime_, value));
  }
  return runtime_.text(std::move(out));
}

std::vector<Value> Renderer::values_of(const std::vector<ExpressionPtr>& parts) {
  std::vector<Value> values;
  values.reserve(parts.size());
  for (const auto& part : parts) values.push_back(evaluate(*part));
  return values;
}

Value Renderer::dict_of(const Expression& expression) {
  std::vector<std::pair<Value, Value>> entries;
  for (size_t i = 0; i < expression.parts.size(); i += 2) {
    Value key = evaluate(*expression.parts[i]);
    entries.emplace_back(std::move(key), evaluate(*expression.parts[i + 1]));
  }
  return runtime_.dict(std::move(entries));
}

/// All parts but the first; the last ones are named.
Arguments Renderer::arguments_of(const Expression& expression) {
  Arguments arguments;
  const size_t named_from = expression.parts.size() - expression.names.size();
  for (size_t i = 1; i < expression.parts.size(); ++i) {
    Value value = evaluate(*expression.parts[i]);
    if (i < named_from) {
      arguments.positional.push_back(std::move(value));
    } else {
      arguments.named.emplace_back(expression.names[i - named_from], std::move(value));
    }
  }
  return arguments;
}

Value Renderer::call_of(const Expression& expression, const Value* caller) {
  const Value function = evaluate(*expression.parts[0]);
  Arguments arguments = arguments_of(expression);
  if (caller != nullptr) arguments.named.emplace_back("caller", *caller);
  runtime_.line = expression.line;
  return call(runtime_, function, arguments);
}

Value Renderer::filter(const Expression& expression, const Value* block) {
  Value value;
  if (const Expression* inner = expression.parts[0].get()) {
    // Filters of a block: the innermost one has no value of its own.
    value = block != nullptr ? filter(*inner, block) : evaluate(*inner);
  } else {
    value = *block;
  }
  const Filter apply = find_filter(expression.name);
  runtime_.line = expression.line;
  if (apply == nullptr) runtime_.fail(fmt::format("No filter named '{}'.", expression.name));
  const Arguments arguments = arguments_of(expression);
  runtime_.line = expression.line;
  return apply(runtime_, value, arguments);
}

bool Renderer::test(const Expression& expression) {
  const Value value = evaluate(*expression.parts[0]);
  const Test apply = find_test(expression.name);
  runtime_.line = expression.line;
  if (apply == nullptr) runtime_.fail(fmt::format("No test named '{}'.", expression.name));
  return apply(runtime_, value, arguments_of(expression));
}

// ---- names

Value Renderer::look_up(std::string_view name) {
  for (const Scope* scope = scope_.get(); scope != nullptr; scope = scope->outer.get()) {
    for (const auto& [known, value] : scope->entries) {
      if (known == name) return value;
    }
  }
  for (const auto& [known, value] : variables_) {
    if (known == name) return value;
  }
  Value found = global(runtime_, name);
  if (!found.is_undefined()) return found;
  return Value::undefined(fmt::format("'{}' is undefined", name));
}

void Renderer::assign(std::string_view name, Value value) {
  const auto known = std::ranges::find(scope_->entries, name, &std::pair<std::string_view, Value>::first);
  if (known != scope_->entries.end()) {
    known->second = std::move(value);
  } else {
    scope_->entries.emplace_back(name, std::move(value));
  }
}

void Renderer::assign_to(const Expression& target, const Value& value) {
  if (target.kind == ExpressionKind::name) return assign(target.name, value);
  if (target.kind == ExpressionKind::attribute) {
    const Value holder = evaluate(*target.parts[0]);
    Namespace* space = holder.space();
    if (space == nullptr) runtime_.fail("cannot assign attribute on non-namespace object");
    const auto known = std::ranges::find(space->entries, target.name, &std::pair<std::string, Value>::first);
    if (known != space->entries.end()) {
      // What was there may hold the namespace: it goes when the new value is in place.
      const Value old = std::exchange(known->second, value);
    } else {
      space->entries.emplace_back(target.name, value);
    }
    return;
  }
  const auto items = iterate(runtime_, value);
  if (items->elements.size() != target.parts.size()) {
    runtime_.fail(items->elements.size() > target.parts.size()
                      ? fmt::format("too many values to unpack (expected {})", target.parts.size())
                      : fmt::format("not enough values to unpack (expected {}, got {})", target.parts.size(),
                                    items->elements.size()));
  }
  for (size_t i = 0; i < target.parts.size(); ++i) assign_to(*target.parts[i], items->elements[i]);
}

}  // namespace prosa::chat::jinja
