// Compiling formats and tools; the cache of what was compiled.
#include "chat/reply_rules.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/boundary.h"
#include "chat/check_text.h"
#include "chat/message_json.h"
#include "grammar/function_calls.h"
#include "grammar/gbnf.h"
#include "grammar/json_schema.h"
#include "grammar/network.h"
#include "grammar/regex.h"
#include "prosa/error.h"

namespace prosa::chat {
namespace {

using Json = nlohmann::ordered_json;
using Format = ReplyFormat::Kind;
using Choice = ToolChoice::Kind;

std::string_view name_of(Format kind) {
  switch (kind) {
    case Format::text: return "text";
    case Format::json_object: return "json";
    case Format::json_schema: return "schema";
    case Format::regex: return "regex";
    case Format::grammar: return "grammar";
  }
  throw Error(ErrorCode::invalid_argument, fmt::format("is {}, which is none", static_cast<int>(kind)),
              "SamplingConfig.format");
}

grammar::Rules read_format(const ReplyFormat& format) {
  const std::string where(name_of(format.kind));
  check_text(format.source, where);
  switch (format.kind) {
    case Format::json_schema: return grammar::read_json_schema_text(format.source, where);
    case Format::regex: return {{grammar::read_regex(format.source, {.where = where})}};
    case Format::grammar: return grammar::read_gbnf(format.source, where);
    case Format::json_object:
    case Format::text: break;
  }
  return grammar::any_json(true);
}

/// The tools that may be called, as grammars know them.
std::vector<grammar::Function> functions_of(std::span<const Tool> tools, const ToolChoice& choice) {
  std::vector<grammar::Function> functions;
  for (size_t i = 0; i < tools.size(); ++i) {
    Json json = parse_tool(tools[i], i);
    const bool wrapped = json.contains("function") && json["function"].is_object();
    const Json& inner = wrapped ? json["function"] : json;
    grammar::Function function;
    function.name = inner.at("name").get<std::string>();
    if (choice.kind == Choice::named && function.name != choice.name) continue;
    function.where = fmt::format("tools[{}]{}/parameters", i, wrapped ? "/function" : "");
    const auto strict = inner.find("strict");
    function.strict = strict != inner.end() && *strict == Json(true);
    const auto parameters = inner.find("parameters");
    const bool none = parameters == inner.end() || parameters->is_null();
    function.parameters = none ? Json{{"type", "object"}, {"additionalProperties", false}} : *parameters;
    functions.push_back(std::move(function));
  }
  if (choice.kind == Choice::named && functions.empty())
    throw Error(ErrorCode::invalid_argument, fmt::format("there is no tool '{}'", choice.name),
                "SamplingConfig.tool_choice", "name one of the tools given");
  return functions;
}

std::string key_of(std::span<const Tool> tools, const ToolChoice& choice, grammar::CallForm form) {
  std::string key = fmt::format("call {} {} {}", static_cast<int>(form), choice.kind == Choice::named, choice.name);
  for (const Tool& tool : tools) key += fmt::format("\n{} {}", tool.json.size(), tool.json);
  return key;
}

std::shared_ptr<const grammar::Mask> all_but(std::span<const int32_t> tokens, int64_t vocab_size) {
  auto mask = std::make_shared<grammar::Mask>(static_cast<size_t>((vocab_size + 31) / 32), ~uint32_t{0});
  if (vocab_size % 32 != 0) mask->back() = (uint32_t{1} << (vocab_size % 32)) - 1;
  for (const int32_t token : tokens) (*mask)[static_cast<size_t>(token) / 32] &= ~(uint32_t{1} << (token % 32));
  return mask;
}

/// Whether the prompt's last message says neither that a thought follows nor that there is none.
bool leaves_thought_open(std::string_view prompt) {
  const size_t last = prompt.rfind("<|im_start|>");
  return last != std::string_view::npos && prompt.find("<think>", last) == std::string_view::npos;
}

CompiledRules compile_calls(const RulesContext& context, std::vector<grammar::Function> functions,
                            grammar::CallForm form) {
  const auto compiled = [&](grammar::CallRules calls) {
    const std::vector<int32_t> end = {*context.tokens.channels.call_close};
    return CompiledRules{std::make_shared<grammar::Constraint>(calls.rules, context.trie(), end, "tools"),
                         std::move(calls.left_free)};
  };
  std::string too_large;
  try {
    return compiled(grammar::read_function_calls(functions, form));
  } catch (const Error& error) {  // all tools together, as each of them was read
    if (std::ranges::any_of(functions, &grammar::Function::strict)) throw;
    too_large = fmt::format("{}: {}", error.where(), error.message());
  }
  for (grammar::Function& function : functions) function.parameters = Json::object();
  CompiledRules rules = compiled(grammar::read_function_calls(functions, form));
  rules.left_free.push_back(std::move(too_large));
  return rules;
}

void add_masks(const RulesContext& context, ReplyRules& rules) {
  std::vector<int32_t> tokens = context.tokens.end;
  rules.masks.no_end = all_but(tokens, context.vocab_size);
  if (const auto open = context.tokens.channels.call_open) {
    tokens.push_back(*open);
    rules.masks.no_call = all_but({&*open, 1}, context.vocab_size);
  }
  rules.masks.neither = all_but(tokens, context.vocab_size);
}

}  // namespace

std::shared_ptr<const CompiledRules> RuleCache::get(const std::string& key,
                                                    const std::function<CompiledRules()>& make) {
  {
    const std::lock_guard lock(mutex_);
    const auto found = std::ranges::find(entries_, key, &Entry::key);
    if (found != entries_.end()) {
      entries_.splice(entries_.begin(), entries_, found);
      return entries_.front().rules;
    }
  }
  auto made = std::make_shared<const CompiledRules>(make());
  const std::lock_guard lock(mutex_);
  if (std::ranges::find(entries_, key, &Entry::key) == entries_.end()) {
    entries_.push_front({key, made});
    shrink();
  }
  return made;
}

void RuleCache::shrink() {
  size_t bytes = 0;
  size_t kept = 0;
  for (auto entry = entries_.begin(); entry != entries_.end(); ++kept) {
    if (kept > 0) bytes += entry->rules->constraint->byte_size() + entry->key.size();
    entry = kept >= kMaxEntries || bytes > kMaxBytes ? entries_.erase(entry) : std::next(entry);
  }
}

size_t RuleCache::size() const {
  const std::lock_guard lock(mutex_);
  return entries_.size();
}

std::shared_ptr<const ReplyRules> make_reply_rules(const RulesContext& context, const SamplingConfig& sampling,
                                                   std::span<const Tool> tools, std::string_view prompt) {
  const ToolChoice& choice = sampling.tool_choice;
  const ChannelTokens& tags = context.tokens.channels;
  auto rules = std::make_shared<ReplyRules>();
  rules->must_call = choice.kind == Choice::required || choice.kind == Choice::named;
  rules->many_calls = sampling.parallel_tool_calls;
  const bool has_tags = tags.call_open && tags.call_close;
  rules->may_call = rules->must_call || (choice.kind != Choice::none && (!tools.empty() || !sampling.format.holds()));
  if (rules->must_call && tools.empty())
    throw Error(ErrorCode::invalid_argument, "a call is asked for, but there are no tools",
                "SamplingConfig.tool_choice", "give the tools, or leave the choice to the model");
  if (rules->must_call && !has_tags)
    throw Error(ErrorCode::unsupported, "the tokenizer has no tokens <tool_call> and </tool_call>",
                "SamplingConfig.tool_choice", "leave the choice to the model");
  if (!rules->must_call && sampling.format.holds()) {
    const std::string key = fmt::format("{} {}", name_of(sampling.format.kind), sampling.format.source);
    rules->answer = context.cache.get(key, [&] {
      return CompiledRules{
          std::make_shared<grammar::Constraint>(read_format(sampling.format), context.trie(), context.tokens.end,
                                                std::string(name_of(sampling.format.kind))),
          {}};
    });
  }
  if (!tools.empty() && choice.kind != Choice::none && has_tags) {
    const auto form =
        prompt.find("<function=") != std::string_view::npos ? grammar::CallForm::tagged : grammar::CallForm::json;
    rules->call = context.cache.get(key_of(tools, choice, form),
                                    [&] { return compile_calls(context, functions_of(tools, choice), form); });
  }
  if (!rules->guided() && !rules->call && rules->may_call && rules->many_calls) return nullptr;
  if (rules->guided() && !sampling.disable_thinking && !(tags.think_open && tags.think_close))
    throw Error(ErrorCode::unsupported, "the tokenizer has no tokens <think> and </think>", "SamplingConfig.format",
                "set disable_thinking");
  rules->may_think =
      rules->guided() && !sampling.disable_thinking && sampling.max_thinking_tokens > 0 && leaves_thought_open(prompt);
  rules->margin = context.tokenizer.encode_given("\n\n");
  add_masks(context, *rules);
  return rules;
}

}  // namespace prosa::chat

namespace prosa {

void validate(const ReplyFormat& format) {
  at_boundary([&] {
    if (format.holds())
      static_cast<void>(grammar::Network(chat::read_format(format), std::string(chat::name_of(format.kind))));
  });
}

}  // namespace prosa
