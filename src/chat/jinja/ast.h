// A template as a tree: expressions, and the statements that they stand in.
//
// One struct for each of the two, with the layout of its parts beside the kind. Invariant: no tree is deeper than
// kMaxTreeDepth, so that everything that walks through one may recurse, its destructor included.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "chat/jinja/value.h"

namespace prosa::chat::jinja {

inline constexpr int kMaxTreeDepth = 150;

struct Expression {
  enum class Kind : uint8_t {
    constant,     // constant
    name,         // name
    tuple,        // parts
    list,         // parts
    dict,         // parts: key, value, key, value …
    call,         // parts: what is called, then the arguments; the last ones are named by `names`
    attribute,    // parts: [value]; name
    subscript,    // parts: [value, key]
    slice,        // parts: [value, begin, end, step], each of the last three may be null
    filter,       // parts: [value, or null for the text of a block], then arguments as of a call; name
    test,         // the same; name
    negative,     // parts: [value]
    positive,     // parts: [value]
    logical_not,  // parts: [value]
    logical_and,  // parts: [a, b]
    logical_or,   // parts: [a, b]
    binary,       // parts: [a, b]; name: + - * / // % **
    concat,       // parts
    compare,      // parts: n + 1 values; names: n operators, "in" and "not in" among them
    conditional,  // parts: [condition, value, other or null]
  };
  Kind kind = Kind::constant;
  int line = 1;
  int depth = 1;
  std::string name;
  Value constant;
  std::vector<std::unique_ptr<Expression>> parts;
  std::vector<std::string> names;
};
using ExpressionPtr = std::unique_ptr<Expression>;
using ExpressionKind = Expression::Kind;

struct Statement;
using Block = std::vector<std::unique_ptr<Statement>>;

struct Statement {
  enum class Kind : uint8_t {
    text,          // text
    output,        // expressions: [value]
    branch,        // expressions: conditions; blocks: one for each, and one more for else
    loop,          // expressions: [target, items, condition or null]; blocks: [body, else (maybe empty)]
    set,           // expressions: [target, value]
    set_block,     // expressions: [target, filters or null]; blocks: [body]
    macro,         // name; names: parameters; expressions: defaults of the last ones; blocks: [body]
    call_block,    // the same without a name, then `subject`: the call
    filter_block,  // subject: filters; blocks: [body]
    with,          // expressions: target, value, target, value …; blocks: [body]
    scope,         // blocks: [body]: {% generation %}
    leave,         // {% break %}
    next,          // {% continue %}
  };
  Kind kind = Kind::text;
  int line = 1;
  int depth = 1;
  std::string name;
  Value text;
  std::vector<ExpressionPtr> expressions;
  std::vector<Block> blocks;
  std::vector<std::string> names;
  ExpressionPtr subject;
  bool takes_more_values = false;  // a macro whose body asks for `varargs`
  bool takes_more_names = false;   // … for `kwargs`
  bool takes_caller = false;       // … for `caller`
};
using StatementKind = Statement::Kind;

}  // namespace prosa::chat::jinja
