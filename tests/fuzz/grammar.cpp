// Input: what a language is written in (regex, search, schema, call, gbnf, option), the language, and a text. A
// language that is taken makes masks that are the same whether they are put together or walked; what a mask allows can
// follow; a text that was written under the masks of a schema is JSON; a text is in a language or not, however it is
// asked.
#include <nlohmann/json.hpp>

#include "base/json.h"
#include "chat/option_text.h"
#include "fuzz.h"
#include "grammar/constraint.h"
#include "grammar/function_calls.h"
#include "grammar/gbnf.h"
#include "grammar/json_schema.h"
#include "grammar/regex.h"

using namespace prosa;
using namespace prosa::fuzz;
using namespace prosa::grammar;

namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kMaxText = 4096;
constexpr int kSteps = 12;
constexpr int32_t kEnd = 509;

const Tokenizer& tokenizer() {
  static const Tokenizer tiny = Tokenizer::load(PROSA_TEST_DATA "/tiny-chat");
  return tiny;
}

Rules rules_of(std::string_view kind, std::string_view text) {
  if (kind == "search") return {{read_regex(text, {.whole = false})}};
  if (kind == "schema") return read_json_schema_text(text);
  if (kind == "call") {
    Json schema = parse_ordered_json(text, {.where = "tool"}, {});
    const JsonGuard guard(schema);
    const std::vector<Function> tools = {{"f", schema, false, "f"}, {"g", schema, false, "g"}};
    return read_function_calls(tools, text.size() % 2 == 0 ? CallForm::tagged : CallForm::json).rules;
  }
  if (kind == "gbnf") return read_gbnf(text);
  if (kind == "option") {
    const std::map<std::string, Slot> slots = {{"n", Slot::number(-5, 120)},
                                               {"one", Slot::one_of({"a", "ab", "b c"})},
                                               {"words", Slot::free_words(3)},
                                               {"code", Slot::matching("[A-C]{2,3}|x*y")},
                                               {"nest", Slot::grammar("root ::= \"(\" root \")\" | \"o\"")}};
    return chat::OptionText(text, slots, "option").rules();
  }
  return {{read_regex(text)}};
}

bool allows(std::span<const uint32_t> mask, int32_t id) {
  return (mask[static_cast<size_t>(id) / 32] >> (id % 32) & 1U) != 0;
}

void check_masks(const Rules& rules, bool is_json, Choices& choices) {
  static const auto trie = std::make_shared<const TokenTrie>(tokenizer(), 512);
  const auto kept = std::make_shared<Constraint>(rules, trie, std::vector<int32_t>{kEnd}, "input");
  const auto plain = std::make_shared<Constraint>(rules, trie, std::vector<int32_t>{kEnd}, "input");
  plain->set_plain(true);
  Matcher matcher(kept);
  Matcher other(plain);
  for (int step = 0; step < kSteps; ++step) {
    const std::span<const uint32_t> mask = matcher.mask();
    const std::span<const uint32_t> walked = other.mask();
    require(std::equal(mask.begin(), mask.end(), walked.begin(), walked.end()), "masks agree", matcher.text());
    require(allows(mask, kEnd) == matcher.may_end(), "the end is allowed where the text may end", matcher.text());
    if (matcher.may_end() && is_json) {
      require(!error_of([&] { (void)parse_json(matcher.text(), {.where = "written"}); }), "what is written is JSON",
              matcher.text());
    }
    std::vector<int32_t> allowed;
    for (int32_t id = 0; id < kEnd; ++id) {
      if (allows(mask, id)) allowed.push_back(id);
    }
    require(!allowed.empty() || matcher.may_end(), "there is always a way on", matcher.text());
    const std::string forced = matcher.forced();
    require(forced.empty() || Matcher(matcher).accept(forced), "what is forced can follow", forced);
    if (allowed.empty()) return;
    const std::string_view bytes = tokenizer().token_bytes(allowed[choices.below(allowed.size())]);
    require(matcher.accept(bytes) && other.accept(bytes), "what is allowed can follow", bytes);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto parts = parts_of(text_of(data, size), 3);
  if (parts[2].size() > kMaxText) return 0;
  Choices choices(text_of(data, size));
  error_of([&] {
    const Rules rules = rules_of(parts[0], parts[1]);
    check_masks(rules, parts[0] == "schema", choices);
    const bool whole = matches(rules, parts[2], "input");
    static const auto trie = std::make_shared<const TokenTrie>(std::vector<TokenTrie::Token>{}, 1);
    Matcher matcher(std::make_shared<Constraint>(rules, trie, std::vector<int32_t>{}, "input"));
    const size_t half = parts[2].size() / 2;
    const bool pieces = matcher.accept(parts[2].substr(0, half)) && matcher.accept(parts[2].substr(half));
    require((pieces && matcher.may_end()) == whole, "in pieces as in one", parts[2]);
  });
  return 0;
}
