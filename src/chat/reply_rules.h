// What a reply is held to: the compiled form of SamplingConfig's format and tool choice for one model's vocabulary.
//
// Immutable, shared by all replies that ask for the same; what has been compiled is kept with the model's text
// (RuleCache). Where a reply stands in it: reply_guide.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "chat/reply_text.h"
#include "grammar/constraint.h"
#include "prosa/chat.h"
#include "tokenizer/tokenizer.h"

namespace prosa::chat {

/// A language over the model's vocabulary.
struct CompiledRules {
  std::shared_ptr<grammar::Constraint> constraint;
  std::vector<std::string> left_free;  // of tools: what is not held to
};

/// The languages compiled last. Thread safety: from any thread.
class RuleCache {
 public:
  static constexpr size_t kMaxEntries = 64;
  static constexpr size_t kMaxBytes = size_t{128} << 20;  // of what the languages keep, the newest one not counted

  /// `make` runs where the key is not known, outside of the lock: what it throws reaches the caller.
  std::shared_ptr<const CompiledRules> get(const std::string& key, const std::function<CompiledRules()>& make);
  [[nodiscard]] size_t size() const;

 private:
  struct Entry {
    std::string key;
    std::shared_ptr<const CompiledRules> rules;
  };
  void shrink();

  mutable std::mutex mutex_;  // guards what follows
  std::list<Entry> entries_;  // the one used last in front
};

struct ReplyRules {
  std::shared_ptr<const CompiledRules> answer;  // null: any text
  std::shared_ptr<const CompiledRules> call;    // null: whatever the model writes as a call
  bool may_call = true;
  bool must_call = false;
  bool many_calls = true;
  bool may_think = false;       // the reply may open a thought itself: its prompt says nothing of one
  std::vector<int32_t> margin;  // what the template writes behind a thought
  /// The whole reply is held to something, not only the calls in it.
  [[nodiscard]] bool guided() const noexcept { return answer != nullptr || must_call; }

  /// All tokens but end tokens, but <tool_call>, or both. Null: all tokens.
  struct Masks {
    std::shared_ptr<const grammar::Mask> no_end, no_call, neither;
  };
  Masks masks;
};

/// Where they are compiled for.
struct RulesContext {
  const Tokenizer& tokenizer;
  const ReplyTokens& tokens;
  RuleCache& cache;
  std::function<std::shared_ptr<const grammar::TokenTrie>()> trie;  // asked for where something is compiled
  int64_t vocab_size = 0;
};

/// `prompt`: as the template wrote it. Null: the reply is held to nothing. Errors: invalid_argument, unsupported (the
/// format or a strict tool, by the path of what is wrong; a tokenizer without the tags that are needed).
std::shared_ptr<const ReplyRules> make_reply_rules(const RulesContext& context, const SamplingConfig& sampling,
                                                   std::span<const Tool> tools, std::string_view prompt);

}  // namespace prosa::chat
