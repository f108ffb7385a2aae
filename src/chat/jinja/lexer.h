// The text of a template as tokens: what stands between the tags, and what stands in them. Here live the rules about
// white space, as transformers sets them: a line break right after a block tag is dropped (trim_blocks), blanks in
// front of one that begins its line too (lstrip_blocks), and `-` and `+` in tags change that.
//
// Knows no grammar. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "chat/jinja/value.h"

namespace prosa::chat::jinja {

enum class TokenKind : uint8_t {
  data,            // text: what stands outside of tags
  block_begin,     // {%
  block_end,       // %}
  variable_begin,  // {{
  variable_end,    // }}
  name,
  string,   // text: the string itself, escapes resolved
  integer,  // value
  real,     // value
  op,       // text: + - * / // % ** ~ == != < <= > >= = . : | , ; and brackets
  end,
};

struct Token {
  TokenKind kind = TokenKind::end;
  int line = 1;
  std::string text;
  Value value;
};

/// Ends with a token `end`. Error(bad_template) with the line. `text`: valid UTF-8.
std::vector<Token> tokenize(std::string_view text, const std::string& where);

/// Error(bad_template): what is wrong with a template before it is used.
[[noreturn]] void fail_syntax(const std::string& message, const std::string& where, int line);

}  // namespace prosa::chat::jinja
