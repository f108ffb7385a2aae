// The statements of a template, and its macros (renderer.h).
#include "chat/jinja/renderer.h"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/utf8.h"
#include "chat/jinja/parser.h"
#include "prosa/error.h"

namespace prosa::chat::jinja {

Renderer::Renderer(Runtime& runtime, const Variables& variables)
    : runtime_(runtime), variables_(variables), scope_(std::make_shared<Scope>()) {}

Renderer::~Renderer() {
  // Scopes may hold each other through macros. Each is emptied while all of them are still held here, so that none goes
  // inside another; and without memory, which may be what ended the rendering.
  for (const auto& scope : captured_) const auto entries = std::exchange(scope->entries, {});
}

MarkedText Renderer::run(const Block& block) {
  MarkedText out;
  out_ = &out;
  execute(block);
  return out;
}

void Renderer::write(const MarkedText& text) {
  runtime_.charge_bytes(text.text().size());
  if (out_->text().size() + text.text().size() > kMaxTextBytes) runtime_.charge_bytes(out_->text().size());
  out_->append(text);
}

MarkedText Renderer::captured(const Block& block) {
  MarkedText out;
  MarkedText* const outer = std::exchange(out_, &out);
  const Entered entered(*this, inner_scope());
  try {
    execute(block);
  } catch (...) {
    out_ = outer;
    throw;
  }
  out_ = outer;
  return out;
}

std::shared_ptr<Renderer::Scope> Renderer::inner_scope() const {
  auto scope = std::make_shared<Scope>();
  scope->outer = scope_;
  return scope;
}

Renderer::Flow Renderer::execute(const Block& block) {
  for (const auto& statement : block) {
    const Flow flow = execute(*statement);
    if (flow != Flow::on) return flow;
  }
  return Flow::on;
}

Renderer::Flow Renderer::execute(const Statement& statement) {
  const Runtime::Level level(runtime_);
  runtime_.charge(1);
  runtime_.line = statement.line;
  switch (statement.kind) {
    case StatementKind::text: write(statement.text.text()->marked); break;
    case StatementKind::output: {
      const Value value = evaluate(*statement.expressions[0]);
      if (const Text* text = value.text()) {
        write(text->marked);
      } else {
        write(to_text(runtime_, value));
      }
      break;
    }
    case StatementKind::branch: return branch(statement);
    case StatementKind::loop: return loop(statement);
    case StatementKind::set: set(statement); break;
    case StatementKind::set_block: set_block(statement); break;
    case StatementKind::macro: assign(statement.name, macro(statement)); break;
    case StatementKind::call_block: call_block(statement); break;
    case StatementKind::filter_block: {
      const Value text = runtime_.text(captured(statement.blocks[0]));
      write(to_text(runtime_, filter(*statement.subject, &text)));
      break;
    }
    case StatementKind::with: return with(statement);
    case StatementKind::scope: {
      const Entered entered(*this, inner_scope());
      return execute(statement.blocks[0]);
    }
    case StatementKind::leave: return Flow::leave;
    case StatementKind::next: return Flow::next;
  }
  return Flow::on;
}

Renderer::Flow Renderer::branch(const Statement& statement) {
  for (size_t i = 0; i < statement.expressions.size(); ++i) {
    if (evaluate(*statement.expressions[i]).truthy()) return execute(statement.blocks[i]);
  }
  const bool has_else = statement.blocks.size() > statement.expressions.size();
  return has_else ? execute(statement.blocks.back()) : Flow::on;
}

std::shared_ptr<const List> Renderer::items_of_loop(const Statement& statement) {
  auto items = iterate(runtime_, evaluate(*statement.expressions[1]));
  const Expression* condition = statement.expressions[2].get();
  if (condition == nullptr) return items;
  std::vector<Value> kept;
  for (const Value& item : items->elements) {
    const Entered entered(*this, inner_scope());
    assign_to(*statement.expressions[0], item);
    if (evaluate(*condition).truthy()) kept.push_back(item);
  }
  return *runtime_.list(std::move(kept)).as<std::shared_ptr<const List>>();
}

Renderer::Flow Renderer::loop(const Statement& statement) {
  const auto items = items_of_loop(statement);
  if (items->elements.empty()) {
    const Entered entered(*this, inner_scope());
    return execute(statement.blocks[1]);
  }
  const auto state = std::make_shared<Loop>();
  state->items = items;
  state->nesting = loops_ + 1;
  ++loops_;
  for (; state->index < items->elements.size(); ++state->index) {
    runtime_.charge(1);
    const Entered entered(*this, inner_scope());
    assign("loop", Value(Value::Data(state)));
    assign_to(*statement.expressions[0], items->elements[state->index]);
    if (execute(statement.blocks[0]) == Flow::leave) break;
  }
  --loops_;
  return Flow::on;
}

void Renderer::set(const Statement& statement) {
  assign_to(*statement.expressions[0], evaluate(*statement.expressions[1]));
}

void Renderer::set_block(const Statement& statement) {
  Value text = runtime_.text(captured(statement.blocks[0]));
  if (statement.expressions[1]) text = filter(*statement.expressions[1], &text);
  assign_to(*statement.expressions[0], text);
}

Renderer::Flow Renderer::with(const Statement& statement) {
  // All values are those from outside.
  std::vector<Value> values;
  for (size_t i = 1; i < statement.expressions.size(); i += 2) values.push_back(evaluate(*statement.expressions[i]));
  const Entered entered(*this, inner_scope());
  for (size_t i = 0; i < values.size(); ++i) assign_to(*statement.expressions[2 * i], values[i]);
  return execute(statement.blocks[0]);
}

void Renderer::call_block(const Statement& statement) {
  const Value caller = macro(statement);
  write(to_text(runtime_, call_of(*statement.subject, &caller)));
}

// ---- macros

Value Renderer::macro(const Statement& statement) {
  if (!std::exchange(scope_->captured, true)) captured_.push_back(scope_);
  return runtime_.function(fmt::format("Macro {}", python_quoted(statement.name)),
                           [this, &statement, definition = scope_](Runtime&, const Arguments& arguments) {
                             return call_macro(statement, definition, arguments);
                           });
}

void Renderer::fail_macro(const Statement& statement, const std::string& what) const {
  runtime_.fail(fmt::format("macro '{}' {}", statement.name, what));
}

void Renderer::bind_parameters(const Statement& statement, const Arguments& arguments) {
  const size_t count = statement.names.size(), first_default = count - statement.expressions.size();
  std::vector<bool> used(arguments.named.size(), false);
  for (size_t i = 0; i < count; ++i) {
    const std::string& name = statement.names[i];
    const Value* given = i < arguments.positional.size() ? &arguments.positional[i] : nullptr;
    for (size_t k = 0; k < arguments.named.size(); ++k) {
      if (arguments.named[k].first != name) continue;
      if (given != nullptr) fail_macro(statement, fmt::format("got multiple values for argument '{}'", name));
      given = &arguments.named[k].second;
      used[k] = true;
    }
    if (given != nullptr) {
      assign(name, *given);
    } else if (i >= first_default) {
      assign(name, evaluate(*statement.expressions[i - first_default]));
    } else {
      assign(name, Value::undefined(fmt::format("parameter '{}' was not provided", name)));
    }
  }
  const bool more_values = arguments.positional.size() > count;
  if (more_values && !statement.takes_more_values)
    fail_macro(statement, fmt::format("takes not more than {} argument(s)", count));
  if (statement.takes_more_values) {
    std::vector<Value> rest;
    if (more_values)
      rest.assign(arguments.positional.begin() + static_cast<std::ptrdiff_t>(count), arguments.positional.end());
    assign("varargs", runtime_.list(std::move(rest), ListKind::tuple));
  }
  std::vector<std::pair<Value, Value>> rest;
  Value caller = Value::undefined("No caller defined");
  for (size_t k = 0; k < arguments.named.size(); ++k) {
    const auto& [name, value] = arguments.named[k];
    if (used[k]) continue;
    if (name == "caller" && statement.takes_caller) {
      caller = value;
    } else if (statement.takes_more_names) {
      rest.emplace_back(Value::written(name), value);
    } else {
      fail_macro(statement, fmt::format("takes no keyword argument '{}'", name));
    }
  }
  if (statement.takes_more_names) assign("kwargs", runtime_.dict(std::move(rest)));
  const bool own = std::ranges::find(statement.names, "caller") != statement.names.end();
  if (statement.takes_caller && !own && statement.kind == StatementKind::macro) assign("caller", caller);
}

Value Renderer::call_macro(const Statement& statement, const std::shared_ptr<Scope>& definition,
                           const Arguments& arguments) {
  const int line = runtime_.line;
  auto scope = std::make_shared<Scope>();
  scope->outer = definition;
  const Entered entered(*this, std::move(scope));
  bind_parameters(statement, arguments);
  MarkedText out;
  MarkedText* const outer = std::exchange(out_, &out);
  const int loops = std::exchange(loops_, 0);
  try {
    execute(statement.blocks[0]);
  } catch (...) {
    out_ = outer;
    throw;
  }
  out_ = outer;
  loops_ = loops;
  runtime_.line = line;
  return runtime_.text(std::move(out));
}

// ---- a template from outside

void InputSize::add(const nlohmann::ordered_json& json) {
  ++values;
  if (json.is_string()) {
    bytes += json.get_ref<const std::string&>().size();
  } else if (json.is_object()) {
    for (const auto& [key, member] : json.items()) {
      bytes += key.size();
      add(member);
    }
  } else if (json.is_array()) {
    for (const auto& element : json) add(element);
  }
}

namespace {

Block parsed(std::string_view text, const std::string& where) {
  if (text.size() > kMaxTemplateBytes) {
    throw Error(ErrorCode::bad_template, fmt::format("the chat template has more than {} bytes", kMaxTemplateBytes),
                where, "take the one of the model's authors");
  }
  return parse(utf8::is_valid(text) ? std::string(text) : utf8::replace_invalid(text), where);
}

}  // namespace

Template::Template(std::string_view text, std::string where) : where_(std::move(where)), body_(parsed(text, where_)) {}

MarkedText Template::render(const Variables& variables, const InputSize& size) const {
  Runtime runtime(where_);
  runtime.allow(size.values, size.bytes);
  Renderer renderer(runtime, variables);
  return renderer.run(body_);
}

}  // namespace prosa::chat::jinja
