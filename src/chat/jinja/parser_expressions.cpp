// The expressions of Jinja, from the loosest to the tightest (parser.h).
#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "chat/jinja/parser.h"

namespace prosa::chat::jinja {
namespace {

constexpr std::array<std::string_view, 6> kComparisons = {"==", "!=", "<", "<=", ">", ">="};

std::vector<ExpressionPtr> parts_of(ExpressionPtr first, ExpressionPtr second = nullptr) {
  std::vector<ExpressionPtr> parts;
  parts.push_back(std::move(first));
  if (second) parts.push_back(std::move(second));
  return parts;
}

}  // namespace

/// Counts how deep the parser stands in itself.
class ExpressionParser::Nesting {
 public:
  explicit Nesting(ExpressionParser& parser) : parser_(parser) {
    if (++parser_.nesting_ > kMaxTreeDepth) parser_.stream_.fail("an expression is nested too deep");
  }
  ~Nesting() { --parser_.nesting_; }
  Nesting(const Nesting&) = delete;
  Nesting& operator=(const Nesting&) = delete;

 private:
  ExpressionParser& parser_;
};

ExpressionPtr ExpressionParser::make(ExpressionKind kind, int line, std::vector<ExpressionPtr> parts,
                                     std::string name) {
  auto made = std::make_unique<Expression>();
  made->kind = kind;
  made->line = line;
  made->name = std::move(name);
  for (const ExpressionPtr& part : parts) {
    if (part) made->depth = std::max(made->depth, part->depth + 1);
  }
  made->parts = std::move(parts);
  if (made->depth > kMaxTreeDepth) stream_.fail("an expression is nested too deep");
  return made;
}

ExpressionPtr ExpressionParser::expression(bool with_condition) {
  const Nesting nesting(*this);
  ExpressionPtr value = disjunction();
  while (with_condition && stream_.is_name("if")) {
    const int line = stream_.next().line;
    std::vector<ExpressionPtr> parts = parts_of(disjunction(), std::move(value));
    parts.push_back(stream_.skip_name("else") ? expression() : nullptr);
    value = make(ExpressionKind::conditional, line, std::move(parts));
  }
  return value;
}

bool ExpressionParser::at_tuple_end() const {
  const TokenKind kind = stream_.current().kind;
  return kind == TokenKind::variable_end || kind == TokenKind::block_end || stream_.is_op(")") || stream_.is_op("]");
}

ExpressionPtr ExpressionParser::tuple(bool with_condition) {
  const int line = stream_.current().line;
  if (at_tuple_end()) {
    if (stream_.is_op(")")) return make(ExpressionKind::tuple, line, {});
    stream_.fail_unexpected();
  }
  ExpressionPtr first = expression(with_condition);
  if (!stream_.is_op(",")) return first;
  std::vector<ExpressionPtr> parts = parts_of(std::move(first));
  while (stream_.skip_op(",")) {
    if (at_tuple_end()) break;
    parts.push_back(expression(with_condition));
  }
  return make(ExpressionKind::tuple, line, std::move(parts));
}

ExpressionPtr ExpressionParser::name_target() {
  const Token& token = stream_.expect(TokenKind::name);
  constexpr std::array<std::string_view, 6> kReserved = {"true", "false", "none", "True", "False", "None"};
  if (std::ranges::find(kReserved, token.text) != kReserved.end()) stream_.fail("a constant cannot be assigned to");
  return make(ExpressionKind::name, token.line, {}, token.text);
}

ExpressionPtr ExpressionParser::target(bool with_namespace) {
  const int line = stream_.current().line;
  const auto one = [&]() -> ExpressionPtr {
    const bool bracket = stream_.skip_op("(");
    const Nesting nesting(*this);
    ExpressionPtr value = bracket ? target(false) : name_target();
    if (bracket) stream_.expect_op(")");
    return value;
  };
  ExpressionPtr first = one();
  if (with_namespace && stream_.skip_op(".")) {
    const std::string name = stream_.expect(TokenKind::name).text;
    return make(ExpressionKind::attribute, line, parts_of(std::move(first)), name);
  }
  if (!stream_.is_op(",")) return first;
  std::vector<ExpressionPtr> parts = parts_of(std::move(first));
  while (stream_.skip_op(",")) {
    if (stream_.is_name("in") || stream_.is_op("=") || stream_.is_op(")")) break;
    parts.push_back(one());
  }
  return make(ExpressionKind::tuple, line, std::move(parts));
}

ExpressionPtr ExpressionParser::disjunction() {
  ExpressionPtr value = conjunction();
  while (stream_.is_name("or")) {
    const int line = stream_.next().line;
    value = make(ExpressionKind::logical_or, line, parts_of(std::move(value), conjunction()));
  }
  return value;
}

ExpressionPtr ExpressionParser::conjunction() {
  ExpressionPtr value = negation();
  while (stream_.is_name("and")) {
    const int line = stream_.next().line;
    value = make(ExpressionKind::logical_and, line, parts_of(std::move(value), negation()));
  }
  return value;
}

ExpressionPtr ExpressionParser::negation() {
  if (!stream_.is_name("not")) return comparison();
  const Nesting nesting(*this);
  const int line = stream_.next().line;
  return make(ExpressionKind::logical_not, line, parts_of(negation()));
}

ExpressionPtr ExpressionParser::comparison() {
  const int line = stream_.current().line;
  std::vector<ExpressionPtr> parts = parts_of(sum());
  std::vector<std::string> names;
  for (;;) {
    const Token& token = stream_.current();
    if (token.kind == TokenKind::op && std::ranges::find(kComparisons, token.text) != kComparisons.end()) {
      names.push_back(stream_.next().text);
    } else if (stream_.skip_name("in")) {
      names.emplace_back("in");
    } else if (stream_.is_name("not") && stream_.ahead().kind == TokenKind::name && stream_.ahead().text == "in") {
      stream_.next();
      stream_.next();
      names.emplace_back("not in");
    } else {
      break;
    }
    parts.push_back(sum());
  }
  if (names.empty()) return std::move(parts.front());
  ExpressionPtr made = make(ExpressionKind::compare, line, std::move(parts));
  made->names = std::move(names);
  return made;
}

ExpressionPtr ExpressionParser::sum() {
  ExpressionPtr value = concatenation();
  while (stream_.is_op("+") || stream_.is_op("-")) {
    const Token& token = stream_.next();
    const std::string op = token.text;
    const int line = token.line;
    value = make(ExpressionKind::binary, line, parts_of(std::move(value), concatenation()), op);
  }
  return value;
}

ExpressionPtr ExpressionParser::concatenation() {
  const int line = stream_.current().line;
  ExpressionPtr value = product();
  if (!stream_.is_op("~")) return value;
  std::vector<ExpressionPtr> parts = parts_of(std::move(value));
  while (stream_.skip_op("~")) parts.push_back(product());
  return make(ExpressionKind::concat, line, std::move(parts));
}

ExpressionPtr ExpressionParser::product() {
  ExpressionPtr value = power();
  while (stream_.is_op("*") || stream_.is_op("/") || stream_.is_op("//") || stream_.is_op("%")) {
    const Token& token = stream_.next();
    const std::string op = token.text;
    const int line = token.line;
    value = make(ExpressionKind::binary, line, parts_of(std::move(value), power()), op);
  }
  return value;
}

ExpressionPtr ExpressionParser::power() {
  ExpressionPtr value = unary(true);
  while (stream_.is_op("**")) {
    const int line = stream_.next().line;
    value = make(ExpressionKind::binary, line, parts_of(std::move(value), unary(true)), "**");
  }
  return value;
}

ExpressionPtr ExpressionParser::unary(bool with_filters) {
  const Nesting nesting(*this);
  const int line = stream_.current().line;
  ExpressionPtr value;
  if (stream_.skip_op("-")) {
    value = make(ExpressionKind::negative, line, parts_of(unary(false)));
  } else if (stream_.skip_op("+")) {
    value = make(ExpressionKind::positive, line, parts_of(unary(false)));
  } else {
    value = primary();
  }
  value = postfix(std::move(value));
  return with_filters ? filters_and_tests(std::move(value)) : std::move(value);
}

ExpressionPtr ExpressionParser::primary() {
  const Token& token = stream_.current();
  const int line = token.line;
  const auto constant = [&](Value value) {
    ExpressionPtr made = make(ExpressionKind::constant, line, {});
    made->constant = std::move(value);
    return made;
  };
  switch (token.kind) {
    case TokenKind::name: {
      const std::string name = stream_.next().text;
      if (name == "true" || name == "True") return constant(Value::boolean(true));
      if (name == "false" || name == "False") return constant(Value::boolean(false));
      if (name == "none" || name == "None") return constant(Value::none());
      stream_.saw_varargs = stream_.saw_varargs || name == "varargs";
      stream_.saw_kwargs = stream_.saw_kwargs || name == "kwargs";
      stream_.saw_caller = stream_.saw_caller || name == "caller";
      return make(ExpressionKind::name, line, {}, name);
    }
    case TokenKind::string: {
      std::string text;
      while (stream_.current().kind == TokenKind::string) text += stream_.next().text;
      return constant(Value::written(text));
    }
    case TokenKind::integer:
    case TokenKind::real: return constant(stream_.next().value);
    default: break;
  }
  if (stream_.skip_op("(")) {
    ExpressionPtr value = tuple();
    stream_.expect_op(")");
    return value;
  }
  if (stream_.is_op("[")) return list();
  if (stream_.is_op("{")) return dict();
  stream_.fail_unexpected();
}

ExpressionPtr ExpressionParser::list() {
  const int line = stream_.next().line;
  std::vector<ExpressionPtr> parts;
  while (!stream_.is_op("]")) {
    if (!parts.empty()) stream_.expect_op(",");
    if (stream_.is_op("]")) break;
    parts.push_back(expression());
  }
  stream_.expect_op("]");
  return make(ExpressionKind::list, line, std::move(parts));
}

ExpressionPtr ExpressionParser::dict() {
  const int line = stream_.next().line;
  std::vector<ExpressionPtr> parts;
  while (!stream_.is_op("}")) {
    if (!parts.empty()) stream_.expect_op(",");
    if (stream_.is_op("}")) break;
    parts.push_back(expression());
    stream_.expect_op(":");
    parts.push_back(expression());
  }
  stream_.expect_op("}");
  return make(ExpressionKind::dict, line, std::move(parts));
}

ExpressionPtr ExpressionParser::postfix(ExpressionPtr value) {
  for (;;) {
    if (stream_.is_op(".") || stream_.is_op("[")) {
      value = subscripts(std::move(value));
    } else if (stream_.is_op("(")) {
      value = call(std::move(value));
    } else {
      return value;
    }
  }
}

ExpressionPtr ExpressionParser::subscripts(ExpressionPtr value) {
  const int line = stream_.current().line;
  if (stream_.skip_op(".")) {
    const Token& token = stream_.next();
    if (token.kind == TokenKind::name)
      return make(ExpressionKind::attribute, line, parts_of(std::move(value)), token.text);
    if (token.kind != TokenKind::integer) stream_.fail("expected name or number");
    ExpressionPtr key = make(ExpressionKind::constant, line, {});
    key->constant = token.value;
    return make(ExpressionKind::subscript, line, parts_of(std::move(value), std::move(key)));
  }
  stream_.expect_op("[");
  ExpressionPtr made = subscript(std::move(value));
  stream_.expect_op("]");
  return made;
}

/// Between the brackets: a key, a slice, or several keys with commas: a tuple.
ExpressionPtr ExpressionParser::subscript(ExpressionPtr value) {
  const int line = stream_.current().line;
  const auto ends = [&] { return stream_.is_op(":") || stream_.is_op("]") || stream_.is_op(","); };
  if (stream_.is_op("]")) stream_.fail("a subscript is empty");
  ExpressionPtr first = ends() ? nullptr : expression();
  if (!stream_.is_op(":")) {
    if (!first) stream_.fail_unexpected();
    if (!stream_.is_op(",")) return make(ExpressionKind::subscript, line, parts_of(std::move(value), std::move(first)));
    std::vector<ExpressionPtr> keys = parts_of(std::move(first));
    while (stream_.skip_op(",")) keys.push_back(expression());
    return make(ExpressionKind::subscript, line,
                parts_of(std::move(value), make(ExpressionKind::tuple, line, std::move(keys))));
  }
  std::vector<ExpressionPtr> parts = parts_of(std::move(value));
  parts.push_back(std::move(first));
  for (int i = 0; i < 2; ++i) parts.push_back(stream_.skip_op(":") && !ends() ? expression() : nullptr);
  return make(ExpressionKind::slice, line, std::move(parts));
}

void ExpressionParser::arguments(std::vector<ExpressionPtr>& parts, std::vector<std::string>& names) {
  stream_.expect_op("(");
  bool first = true;
  while (!stream_.is_op(")")) {
    if (!first) {
      stream_.expect_op(",");
      if (stream_.is_op(")")) break;
    }
    first = false;
    if (stream_.is_op("*") || stream_.is_op("**")) stream_.fail("* and ** in a call are not supported");
    const bool named = stream_.current().kind == TokenKind::name && stream_.ahead().kind == TokenKind::op &&
                       stream_.ahead().text == "=";
    if (named) {
      names.push_back(stream_.next().text);
      stream_.next();
    } else if (!names.empty()) {
      stream_.fail("an argument without a name follows one with a name");
    }
    parts.push_back(expression());
  }
  stream_.expect_op(")");
}

ExpressionPtr ExpressionParser::call(ExpressionPtr value) {
  const int line = stream_.current().line;
  std::vector<ExpressionPtr> parts = parts_of(std::move(value));
  std::vector<std::string> names;
  arguments(parts, names);
  ExpressionPtr made = make(ExpressionKind::call, line, std::move(parts));
  made->names = std::move(names);
  return made;
}

ExpressionPtr ExpressionParser::filters_and_tests(ExpressionPtr value) {
  for (;;) {
    if (stream_.is_op("|")) {
      value = filters(std::move(value), false);
    } else if (stream_.is_name("is")) {
      value = test(std::move(value));
    } else if (stream_.is_op("(")) {  // what a filter or test gave is called
      value = call(std::move(value));
    } else {
      return value;
    }
  }
}

ExpressionPtr ExpressionParser::filters(ExpressionPtr value, bool first) {
  while (stream_.is_op("|") || first) {
    if (!first) stream_.next();
    first = false;
    const int line = stream_.current().line;
    std::string name = stream_.expect(TokenKind::name).text;
    while (stream_.skip_op(".")) name += "." + stream_.expect(TokenKind::name).text;
    std::vector<ExpressionPtr> parts;
    parts.push_back(std::move(value));
    std::vector<std::string> names;
    if (stream_.is_op("(")) arguments(parts, names);
    value = make(ExpressionKind::filter, line, std::move(parts), std::move(name));
    value->names = std::move(names);
  }
  return value;
}

ExpressionPtr ExpressionParser::test(ExpressionPtr value) {
  const int line = stream_.next().line;
  const bool negated = stream_.skip_name("not");
  std::string name = stream_.expect(TokenKind::name).text;
  while (stream_.skip_op(".")) name += "." + stream_.expect(TokenKind::name).text;
  std::vector<ExpressionPtr> parts = parts_of(std::move(value));
  std::vector<std::string> names;
  const Token& token = stream_.current();
  const bool operand =
      token.kind == TokenKind::string || token.kind == TokenKind::integer || token.kind == TokenKind::real ||
      stream_.is_op("[") || stream_.is_op("{") ||
      (token.kind == TokenKind::name && !stream_.is_name("else") && !stream_.is_name("or") && !stream_.is_name("and"));
  if (stream_.is_op("(")) {
    arguments(parts, names);
  } else if (operand) {
    if (stream_.is_name("is")) stream_.fail("tests cannot be chained with is");
    const Nesting nesting(*this);
    parts.push_back(postfix(primary()));
  }
  ExpressionPtr made = make(ExpressionKind::test, line, std::move(parts), std::move(name));
  made->names = std::move(names);
  return negated ? make(ExpressionKind::logical_not, line, parts_of(std::move(made))) : std::move(made);
}

}  // namespace prosa::chat::jinja
