// Input: JSON lines of prompts with keys or schemas, and a reply that is judged by each. What is called strict is JSON
// and keeps the schema.
#include "tools/eval/strict_json.h"

#include "base/json.h"
#include "fuzz.h"
#include "tools/eval/json_schema.h"

using namespace prosa;
using namespace prosa::fuzz;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto parts = parts_of(text_of(data, size), 2);
  const auto path = folder() / "prompts.jsonl";
  write(path, parts[0]);
  const std::string_view reply = parts[1];
  error_of([&] {
    for (const eval::JsonPrompt& prompt : eval::read_json_prompts(path)) {
      const std::string problem = eval::why_not_strict(reply, prompt);
      require(problem == eval::why_not_strict(reply, prompt), "a verdict is the same twice", problem);
      if (!problem.empty()) continue;
      nlohmann::ordered_json value;
      const auto refused = error_of([&] { value = parse_ordered_json(reply, {"reply"}, {.max_depth = 200}); });
      require(!refused, "what is strict is JSON", reply);
      if (prompt.schema) require(eval::schema_violation(value, *prompt.schema).empty(), "a schema holds", reply);
      if (prompt.keys) require(value.is_object() && value.size() <= prompt.keys->size(), "only the keys", reply);
    }
  });
  return 0;
}
