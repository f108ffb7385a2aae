// Chat templates in Jinja, rendered as transformers renders them: the sandboxed environment with trim_blocks,
// lstrip_blocks, the loop controls, tojson without HTML escapes, raise_exception, strftime_now and generation blocks.
//
// Not Jinja for web pages: one file, no inheritance, no autoescaping. What it does is what Jinja2 does, to the byte;
// what it does not know is an Error with the line, never another text. It reads and writes nothing but its arguments
// (and the clock, where the template asks for it), and a rendering is bounded in steps, bytes and depth (runtime.h).
// Immutable: one Template serves any number of threads.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "chat/jinja/ast.h"
#include "chat/jinja/value.h"
#include "tokenizer/marked_text.h"

namespace prosa::chat::jinja {

inline constexpr size_t kMaxTemplateBytes = size_t{1} << 20;

using Variables = std::vector<std::pair<std::string, Value>>;

/// How much a rendering is given: its budget grows with it.
struct InputSize {
  int64_t values = 0;
  size_t bytes = 0;
  void add(const nlohmann::ordered_json& json);
};

class Template {
 public:
  /// `where` names the file in errors. Error(bad_template) with the line for what is no template.
  Template(std::string_view text, std::string where);

  /// Error(bad_template): what the template raises, with its own text, and what fails in it.
  [[nodiscard]] MarkedText render(const Variables& variables, const InputSize& size = {}) const;

 private:
  std::string where_;
  Block body_;
};

}  // namespace prosa::chat::jinja
