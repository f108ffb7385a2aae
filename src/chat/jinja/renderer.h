// A template at work: statements write text, expressions become values.
//
// One Renderer serves one rendering; the tree and the variables outlive it. Scopes are Jinja's: loops, macros, `with`
// and blocks that become values have their own; `if` has none.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "chat/jinja/ast.h"
#include "chat/jinja/jinja.h"
#include "chat/jinja/runtime.h"

namespace prosa::chat::jinja {

class Renderer {
 public:
  Renderer(Runtime& runtime, const Variables& variables);
  ~Renderer();
  Renderer(const Renderer&) = delete;
  Renderer& operator=(const Renderer&) = delete;

  MarkedText run(const Block& block);

 private:
  /// The names of a loop, macro or block, inside those around it.
  struct Scope {
    std::vector<std::pair<std::string_view, Value>> entries;  // the names are the tree's
    std::shared_ptr<Scope> outer;
    bool captured = false;  // a macro remembers it
  };
  enum class Flow { on, leave, next };

  /// Inside another scope for as long as it lives.
  class Entered {
   public:
    Entered(Renderer& renderer, std::shared_ptr<Scope> scope)
        : renderer_(renderer), outer_(std::exchange(renderer.scope_, std::move(scope))) {}
    ~Entered() { renderer_.scope_ = std::move(outer_); }
    Entered(const Entered&) = delete;
    Entered& operator=(const Entered&) = delete;

   private:
    Renderer& renderer_;
    std::shared_ptr<Scope> outer_;
  };

  // Statements
  Flow execute(const Block& block);
  Flow execute(const Statement& statement);
  Flow branch(const Statement& statement);
  Flow loop(const Statement& statement);
  Flow with(const Statement& statement);
  [[nodiscard]] std::shared_ptr<const List> items_of_loop(const Statement& statement);
  void set(const Statement& statement);
  void set_block(const Statement& statement);
  void call_block(const Statement& statement);
  void write(const MarkedText& text);
  /// What a block writes, in a scope of its own.
  MarkedText captured(const Block& block);

  // Macros
  Value macro(const Statement& statement);
  Value call_macro(const Statement& statement, const std::shared_ptr<Scope>& definition, const Arguments& arguments);
  void bind_parameters(const Statement& statement, const Arguments& arguments);
  [[noreturn]] void fail_macro(const Statement& statement, const std::string& what) const;

  // Expressions
  Value evaluate(const Expression& expression);
  Value conditional(const Expression& expression);
  Value compare_chain(const Expression& expression);
  Value concatenated(const Expression& expression);
  Value filter(const Expression& expression, const Value* block);
  bool test(const Expression& expression);
  Value call_of(const Expression& expression, const Value* caller);
  Value dict_of(const Expression& expression);
  std::vector<Value> values_of(const std::vector<ExpressionPtr>& parts);
  Arguments arguments_of(const Expression& expression);

  // Names
  Value look_up(std::string_view name);
  void assign(std::string_view name, Value value);
  void assign_to(const Expression& target, const Value& value);
  [[nodiscard]] std::shared_ptr<Scope> inner_scope() const;

  Runtime& runtime_;
  const Variables& variables_;
  std::shared_ptr<Scope> scope_;
  std::vector<std::shared_ptr<Scope>> captured_;  // by macros: they may hold each other
  MarkedText* out_ = nullptr;
  int loops_ = 0;  // around the statement, for loop.depth
};

}  // namespace prosa::chat::jinja
