// Tokens to the tree of a template: Jinja's own grammar, with the statements that chat templates have.
//
// Refused are include, import, extends and block (there is one file) and recursive loops. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "chat/jinja/ast.h"
#include "chat/jinja/lexer.h"

namespace prosa::chat::jinja {

/// Error(bad_template) with the line. `text`: valid UTF-8.
Block parse(std::string_view text, const std::string& where);

/// The tokens with a place in them; what both halves of the parser share.
class TokenStream {
 public:
  TokenStream(std::string_view text, std::string where) : where_(std::move(where)), tokens_(tokenize(text, where_)) {}

  [[nodiscard]] const Token& current() const { return tokens_[at_]; }
  [[nodiscard]] const Token& ahead() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  const Token& next() { return at_ + 1 < tokens_.size() ? tokens_[at_++] : tokens_[at_]; }
  [[nodiscard]] bool is_op(std::string_view op) const {
    return current().kind == TokenKind::op && current().text == op;
  }
  [[nodiscard]] bool is_name(std::string_view name) const {
    return current().kind == TokenKind::name && current().text == name;
  }
  bool skip_op(std::string_view op) { return is_op(op) && (next(), true); }
  bool skip_name(std::string_view name) { return is_name(name) && (next(), true); }
  const Token& expect(TokenKind kind);
  void expect_op(std::string_view op);
  void expect_name(std::string_view name);
  [[noreturn]] void fail(const std::string& message) const { fail_syntax(message, where_, current().line); }
  [[noreturn]] void fail_unexpected() const;

  // Which special names a macro's body asks for, set while it is read.
  bool saw_varargs = false, saw_kwargs = false, saw_caller = false;

 private:
  std::string where_;
  std::vector<Token> tokens_;
  size_t at_ = 0;
};

/// Expressions, from the place of a stream on.
class ExpressionParser {
 public:
  explicit ExpressionParser(TokenStream& stream) : stream_(stream) {}

  ExpressionPtr expression(bool with_condition = true);
  /// One expression, or several with commas between them: a tuple.
  ExpressionPtr tuple(bool with_condition = true);
  /// What {% set %} and {% for %} assign to: a name, names with commas, or (with_namespace) ns.name.
  ExpressionPtr target(bool with_namespace);
  ExpressionPtr name_target();
  /// Filters behind a value, or (null) behind the text of a block; `first` without the bar.
  ExpressionPtr filters(ExpressionPtr value, bool first);
  /// A default of a parameter.
  ExpressionPtr condition_free() { return expression(false); }
  ExpressionPtr make(Expression::Kind kind, int line, std::vector<ExpressionPtr> parts, std::string name = {});

 private:
  class Nesting;
  ExpressionPtr disjunction();
  ExpressionPtr conjunction();
  ExpressionPtr negation();
  ExpressionPtr comparison();
  ExpressionPtr sum();
  ExpressionPtr concatenation();
  ExpressionPtr product();
  ExpressionPtr power();
  ExpressionPtr unary(bool with_filters);
  ExpressionPtr primary();
  ExpressionPtr postfix(ExpressionPtr value);
  ExpressionPtr filters_and_tests(ExpressionPtr value);
  ExpressionPtr list();
  ExpressionPtr dict();
  ExpressionPtr subscripts(ExpressionPtr value);
  ExpressionPtr subscript(ExpressionPtr value);
  ExpressionPtr call(ExpressionPtr value);
  ExpressionPtr test(ExpressionPtr value);
  void arguments(std::vector<ExpressionPtr>& parts, std::vector<std::string>& names);
  [[nodiscard]] bool at_tuple_end() const;

  TokenStream& stream_;
  int nesting_ = 0;
};

}  // namespace prosa::chat::jinja
