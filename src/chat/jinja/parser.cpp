// The statements of a template (parser.h).
#include "chat/jinja/parser.h"

#include <algorithm>
#include <initializer_list>
#include <utility>

#include <fmt/format.h>

namespace prosa::chat::jinja {
namespace {

using StatementPtr = std::unique_ptr<Statement>;

class Parser {
 public:
  Parser(std::string_view text, const std::string& where) : stream_(text, where), expressions_(stream_) {}

  Block run() && {
    Block block = body({});
    if (stream_.current().kind != TokenKind::end) stream_.fail_unexpected();
    return block;
  }

 private:
  StatementPtr make(StatementKind kind, int line) const {
    auto made = std::make_unique<Statement>();
    made->kind = kind;
    made->line = line;
    return made;
  }

  /// Enters the depth of all that a statement holds.
  StatementPtr measured(StatementPtr made) const {
    int depth = 0;
    for (const auto& expression : made->expressions) depth = std::max(depth, expression ? expression->depth : 0);
    for (const Block& block : made->blocks) {
      for (const StatementPtr& inner : block) depth = std::max(depth, inner->depth);
    }
    if (made->subject) depth = std::max(depth, made->subject->depth);
    made->depth = depth + 1;
    if (made->depth > kMaxTreeDepth) stream_.fail("statements are nested too deep");
    return made;
  }

  /// Up to a tag with one of these names, whose name is then current; without names, to the end of the text.
  Block body(std::initializer_list<std::string_view> ends) {
    if (++nesting_ > kMaxTreeDepth) stream_.fail("statements are nested too deep");
    Block block;
    const int line = stream_.current().line;
    for (;;) {
      const Token& token = stream_.current();
      if (token.kind == TokenKind::end) {
        if (ends.size() > 0)
          stream_.fail(fmt::format("{{% {} %}} is missing for what begins at line {}", *(ends.end() - 1), line));
        break;
      }
      if (token.kind == TokenKind::data) {
        StatementPtr text = make(StatementKind::text, token.line);
        text->text = Value::written(token.text);
        stream_.next();
        block.push_back(std::move(text));
      } else if (token.kind == TokenKind::variable_begin) {
        StatementPtr output = make(StatementKind::output, token.line);
        stream_.next();
        output->expressions.push_back(expressions_.tuple());
        stream_.expect(TokenKind::variable_end);
        block.push_back(measured(std::move(output)));
      } else {
        stream_.expect(TokenKind::block_begin);
        if (stream_.current().kind != TokenKind::name) stream_.fail("a tag has no name");
        if (std::ranges::find(ends, stream_.current().text) != ends.end()) break;
        block.push_back(measured(statement()));
      }
    }
    --nesting_;
    return block;
  }

  /// The same for a body that becomes a value: no loop around it is left from inside.
  Block value_body_to(std::string_view end) {
    const int loops = std::exchange(loops_, 0);
    Block block = body_to(end);
    loops_ = loops;
    return block;
  }

  /// The body up to the one tag that ends it.
  Block body_to(std::string_view end) {
    stream_.expect(TokenKind::block_end);
    Block block = body({end});
    stream_.next();
    stream_.expect(TokenKind::block_end);
    return block;
  }

  StatementPtr statement() {
    const Token token = stream_.next();
    const int line = token.line;
    if (token.text == "if") return branch(line);
    if (token.text == "for") return loop(line);
    if (token.text == "set") return set(line);
    if (token.text == "macro") return macro(line);
    if (token.text == "call") return call_block(line);
    if (token.text == "filter") return filter_block(line);
    if (token.text == "with") return with(line);
    if (token.text == "generation") {
      StatementPtr made = make(StatementKind::scope, line);
      made->blocks.push_back(body_to("endgeneration"));
      return made;
    }
    if (token.text == "break" || token.text == "continue") {
      if (loops_ == 0) stream_.fail(fmt::format("{{% {} %}} stands outside of a loop", token.text));
      stream_.expect(TokenKind::block_end);
      return make(token.text == "break" ? StatementKind::leave : StatementKind::next, line);
    }
    for (const char* known : {"include", "import", "from", "extends", "block", "autoescape", "do", "trans"}) {
      if (token.text == known) stream_.fail(fmt::format("{{% {} %}} is not supported", known));
    }
    stream_.fail(fmt::format("unknown tag '{}'", token.text));
  }

  StatementPtr branch(int line) {
    StatementPtr made = make(StatementKind::branch, line);
    for (bool more = true; more;) {
      made->expressions.push_back(expressions_.tuple(false));
      stream_.expect(TokenKind::block_end);
      made->blocks.push_back(body({"elif", "else", "endif"}));
      const std::string end = stream_.next().text;
      more = end == "elif";
      if (end == "else") {
        stream_.expect(TokenKind::block_end);
        made->blocks.push_back(body({"endif"}));
        stream_.next();
      }
    }
    stream_.expect(TokenKind::block_end);
    return made;
  }

  StatementPtr loop(int line) {
    StatementPtr made = make(StatementKind::loop, line);
    made->expressions.push_back(expressions_.target(false));
    stream_.expect_name("in");
    made->expressions.push_back(expressions_.tuple(false));
    made->expressions.push_back(stream_.skip_name("if") ? expressions_.expression() : nullptr);
    if (stream_.is_name("recursive")) stream_.fail("recursive loops are not supported");
    stream_.expect(TokenKind::block_end);
    ++loops_;
    made->blocks.push_back(body({"else", "endfor"}));
    --loops_;
    const std::string end = stream_.next().text;
    stream_.expect(TokenKind::block_end);
    made->blocks.emplace_back();
    if (end == "else") {
      made->blocks.back() = body({"endfor"});
      stream_.next();
      stream_.expect(TokenKind::block_end);
    }
    return made;
  }

  StatementPtr set(int line) {
    ExpressionPtr target = expressions_.target(true);
    if (stream_.skip_op("=")) {
      StatementPtr made = make(StatementKind::set, line);
      made->expressions.push_back(std::move(target));
      made->expressions.push_back(expressions_.tuple());
      stream_.expect(TokenKind::block_end);
      return made;
    }
    StatementPtr made = make(StatementKind::set_block, line);
    made->expressions.push_back(std::move(target));
    made->expressions.push_back(expressions_.filters(nullptr, false));
    made->blocks.push_back(value_body_to("endset"));
    return made;
  }

  void parameters(Statement& made) {
    stream_.expect_op("(");
    while (!stream_.is_op(")")) {
      if (!made.names.empty()) stream_.expect_op(",");
      if (stream_.is_op(")")) break;
      made.names.push_back(expressions_.name_target()->name);
      if (stream_.skip_op("=")) {
        made.expressions.push_back(expressions_.expression());
      } else if (!made.expressions.empty()) {
        stream_.fail("a parameter without a default follows one that has a default");
      }
    }
    stream_.expect_op(")");
  }

  /// The body of a macro, which asks for special names or does not.
  void macro_body(Statement& made, std::string_view end) {
    const int loops = std::exchange(loops_, 0);
    const bool varargs = std::exchange(stream_.saw_varargs, false), kwargs = std::exchange(stream_.saw_kwargs, false),
               caller = std::exchange(stream_.saw_caller, false);
    made.blocks.push_back(body_to(end));
    made.takes_more_values = stream_.saw_varargs;
    made.takes_more_names = stream_.saw_kwargs;
    made.takes_caller = stream_.saw_caller;
    stream_.saw_varargs = stream_.saw_varargs || varargs;
    stream_.saw_kwargs = stream_.saw_kwargs || kwargs;
    stream_.saw_caller = stream_.saw_caller || caller;
    loops_ = loops;
  }

  StatementPtr macro(int line) {
    StatementPtr made = make(StatementKind::macro, line);
    made->name = expressions_.name_target()->name;
    parameters(*made);
    macro_body(*made, "endmacro");
    return made;
  }

  StatementPtr call_block(int line) {
    StatementPtr made = make(StatementKind::call_block, line);
    made->name = "caller";
    if (stream_.is_op("(")) parameters(*made);
    made->subject = expressions_.expression();
    if (made->subject->kind != Expression::Kind::call) stream_.fail("{% call %} expects a call");
    macro_body(*made, "endcall");
    return made;
  }

  StatementPtr filter_block(int line) {
    StatementPtr made = make(StatementKind::filter_block, line);
    made->subject = expressions_.filters(nullptr, true);
    made->blocks.push_back(value_body_to("endfilter"));
    return made;
  }

  StatementPtr with(int line) {
    StatementPtr made = make(StatementKind::with, line);
    while (stream_.current().kind != TokenKind::block_end) {
      if (!made->expressions.empty()) stream_.expect_op(",");
      made->expressions.push_back(expressions_.target(false));
      stream_.expect_op("=");
      made->expressions.push_back(expressions_.expression());
    }
    made->blocks.push_back(body_to("endwith"));
    return made;
  }

  TokenStream stream_;
  ExpressionParser expressions_;
  int nesting_ = 0;
  int loops_ = 0;  // around the statement that is read
};

std::string shown(const Token& token) {
  switch (token.kind) {
    case TokenKind::end: return "the end of the template";
    case TokenKind::block_end: return "'%}'";
    case TokenKind::variable_end: return "'}}'";
    case TokenKind::block_begin: return "'{%'";
    case TokenKind::variable_begin: return "'{{'";
    default: return python_quoted(token.text);
  }
}

}  // namespace

const Token& TokenStream::expect(TokenKind kind) {
  if (current().kind != kind) fail_unexpected();
  return next();
}

void TokenStream::expect_op(std::string_view op) {
  if (!skip_op(op)) fail(fmt::format("expected '{}', got {}", op, shown(current())));
}

void TokenStream::expect_name(std::string_view name) {
  if (!skip_name(name)) fail(fmt::format("expected '{}', got {}", name, shown(current())));
}

void TokenStream::fail_unexpected() const { fail(fmt::format("unexpected {}", shown(current()))); }

Block parse(std::string_view text, const std::string& where) { return Parser(text, where).run(); }

}  // namespace prosa::chat::jinja
