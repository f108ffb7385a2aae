// Memory that runs out at any allocation of a public call: Error(out_of_memory) and nothing else, and afterwards the
// object replies with the same words.
//
// The program's operator new fails at the n-th allocation after it was armed, on whatever thread: once, or from then on
// until it is disarmed (then there is no memory to make a message of either). Large buffers are maps of their own and
// not counted here (backend_memory_test).
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <new>

#include "prosa/chat.h"
#include "temp_folder.h"

namespace {

std::atomic<int64_t> allocations_left = -1;  // until one fails; below 0: none does
std::atomic<bool> goes_on_failing = false;
std::atomic<int64_t> failures = 0;

bool fails() noexcept {
  int64_t left = allocations_left.load(std::memory_order_relaxed);
  while (left >= 0) {
    const int64_t next = left == 0 && goes_on_failing ? 0 : left - 1;
    if (!allocations_left.compare_exchange_weak(left, next, std::memory_order_relaxed)) continue;
    if (left > 0) return false;
    ++failures;
    return true;
  }
  return false;
}

void* allocate(size_t bytes, size_t alignment) noexcept {
  if (fails()) return nullptr;
  if (alignment <= alignof(std::max_align_t)) return std::malloc(bytes == 0 ? 1 : bytes);
  return std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
}

void* or_throw(void* data) {
  if (data == nullptr) throw std::bad_alloc();
  return data;
}

}  // namespace

void* operator new(size_t bytes) { return or_throw(allocate(bytes, 0)); }
void* operator new[](size_t bytes) { return or_throw(allocate(bytes, 0)); }
void* operator new(size_t bytes, const std::nothrow_t&) noexcept { return allocate(bytes, 0); }
void* operator new[](size_t bytes, const std::nothrow_t&) noexcept { return allocate(bytes, 0); }
void* operator new(size_t bytes, std::align_val_t to) { return or_throw(allocate(bytes, static_cast<size_t>(to))); }
void* operator new[](size_t bytes, std::align_val_t to) { return or_throw(allocate(bytes, static_cast<size_t>(to))); }
void* operator new(size_t bytes, std::align_val_t to, const std::nothrow_t&) noexcept {
  return allocate(bytes, static_cast<size_t>(to));
}
void* operator new[](size_t bytes, std::align_val_t to, const std::nothrow_t&) noexcept {
  return allocate(bytes, static_cast<size_t>(to));
}
// The compiler sees through allocate() to malloc() where it inlines one of the pair, and then misses the other.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"
#endif
void operator delete(void* data) noexcept { std::free(data); }
void operator delete[](void* data) noexcept { std::free(data); }
void operator delete(void* data, size_t) noexcept { std::free(data); }
void operator delete[](void* data, size_t) noexcept { std::free(data); }
void operator delete(void* data, std::align_val_t) noexcept { std::free(data); }
void operator delete[](void* data, std::align_val_t) noexcept { std::free(data); }
void operator delete(void* data, size_t, std::align_val_t) noexcept { std::free(data); }
void operator delete[](void* data, size_t, std::align_val_t) noexcept { std::free(data); }

namespace prosa {
namespace {

using Call = std::function<void()>;

/// Runs `call` with the n-th allocation failing. Whether one has failed and the call with it.
bool fails_at(int64_t n, bool lasting, const Call& call) {
  failures = 0;
  goes_on_failing = lasting;
  allocations_left = n;
  bool refused = false;
  try {
    call();
    allocations_left = -1;
  } catch (const Error& error) {
    allocations_left = -1;
    refused = true;
    EXPECT_EQ(error.code(), ErrorCode::out_of_memory) << "at allocation " << n << ": " << error.what();
    EXPECT_GT(failures, 0) << error.what();
  } catch (const std::exception& error) {
    allocations_left = -1;
    refused = true;
    ADD_FAILURE() << "at allocation " << n << " came what is no Error: " << error.what();
  }
  return refused;
}

/// `prepare` before and `check` after each call; the first allocations one by one, later ones further and further
/// apart.
void fail_everywhere(const Call& prepare, const Call& call, const Call& check) {
  for (const bool lasting : {false, true}) {
    int64_t n = 0;
    int64_t refusals = 0;
    do {
      prepare();
      refusals += fails_at(n, lasting, call);
      if (testing::Test::HasFailure()) return;
      check();
      ASSERT_FALSE(testing::Test::HasFailure()) << "after allocation " << n << " failed";
      n += 1 + (n > 60 ? n / 8 : 0);
    } while (failures > 0);
    EXPECT_GT(refusals, 0) << "nothing was tried";
  }
}

const Call kNothing = [] {};

// What a call is given is made before memory runs out: making it is the caller's.

LoadOptions options() {
  LoadOptions load;
  load.threads = 2;  // workers must not allocate: nobody would catch
  load.context = 512;
  return load;
}

SamplingConfig sampling() {
  SamplingConfig config;
  config.seed = 5;
  config.max_tokens = 8;
  config.presence_penalty = 0.5F;
  config.stop = {"no such words"};
  return config;
}

std::vector<Message> question() {
  return {{Role::system, "You answer in a few words, and never in more than a few words."},
          {Role::user, "How tall is the tower of this old town?"}};
}

class ApiMemory : public testing::Test {
 protected:
  std::string words() { return chat.generate(messages, config).text; }

  const std::string model_name = PROSA_TINY_CHAT;
  const LoadOptions load_options = options();
  const std::vector<Message> messages = question();
  const SamplingConfig config = sampling();
  Chat chat = Chat::from_pretrained(model_name, load_options);
  std::string expected = words();
  TempFolder folder;
};

TEST_F(ApiMemory, Load) {
  fail_everywhere(
      kNothing, [&] { static_cast<void>(Chat::from_pretrained(model_name, load_options)); }, kNothing);
  // The same after an unload, on a chat that has to stay usable.
  fail_everywhere([&] { chat.unload(); }, [&] { chat.load(); },
                  [&] {
                    chat.load();
                    EXPECT_EQ(words(), expected);
                  });
}

TEST_F(ApiMemory, Generate) {
  for (const bool cold : {false, true}) {
    fail_everywhere(
        [&] {
          if (cold) chat.reset_state();
        },
        [&] { static_cast<void>(words()); }, [&] { EXPECT_EQ(words(), expected); });
  }
}

TEST_F(ApiMemory, HearAndCommit) {
  const std::string& said = messages.back().content;
  std::vector<Message> history;
  fail_everywhere(
      [&] {
        chat.reset_state();
        history = {messages.front()};
      },
      [&] {
        Turn turn = chat.begin_turn(std::move(history), config);
        turn.hear(std::string_view(said).substr(0, 20));
        turn.hear(said);
        static_cast<void>(turn.ending());
        ReplyStream reply = turn.commit(said);
        for (auto piece = reply.begin(); piece != reply.end(); ++piece) continue;
      },
      [&] { EXPECT_EQ(words(), expected); });
}

TEST_F(ApiMemory, SaveAndLoadASession) {
  const std::string path = folder.path() / "session";
  chat.save_session(path, messages, config);
  const auto load = [&] { static_cast<void>(chat.load_session(path)); };
  fail_everywhere([&] { static_cast<void>(words()); }, [&] { chat.save_session(path, messages, config); },
                  [&] {
                    load();  // the old file or the new one
                    EXPECT_EQ(words(), expected);
                  });
  fail_everywhere([&] { chat.reset_state(); }, load, [&] { EXPECT_EQ(words(), expected); });
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), std::filesystem::directory_iterator()), 1)
      << "nothing half-written stays";
}

/// The folder's own template, with everything in it that holds values: macros, namespaces, loops, lists.
TEST_F(ApiMemory, ATemplateOfTheFoldersOwn) {
  for (const auto& entry : std::filesystem::directory_iterator(model_name))
    std::filesystem::copy_file(entry.path(), folder.path() / entry.path().filename());
  std::ofstream(folder.path() / "chat_template.jinja")
      << "{% macro say(m) %}{{ caller() }}{{ m.role }}{% endmacro %}{% set ns = namespace(l=[], d={'a': say}) %}"
         "{% set ns.self = [ns, say] %}{% for m in messages if m.content %}{% set ns.l = ns.l + [m.content|upper] %}"
         "{% call say(m) %}<|im_start|>{% endcall %}{{ '\n%s' % m.content|replace('o', '0')|trim }}<|im_end|>\n{% "
         "endfor %}"
         "{% set x %}{{ ns.l|sort|join(',')|tojson }}{% endset %}{{ x|length }}{% if add_generation_prompt %}"
         "<|im_start|>assistant\n{% endif %}";
  const Chat own = Chat::from_pretrained(folder.path().string(), load_options);
  const std::string prompt = own.render_prompt(messages, config);
  EXPECT_TRUE(prompt.find("H0w tall") != std::string::npos) << prompt;
  fail_everywhere(
      kNothing, [&] { static_cast<void>(own.render_prompt(messages, config)); },
      [&] { EXPECT_EQ(own.render_prompt(messages, config), prompt); });
}

TEST_F(ApiMemory, ForksAndSessionsOfTokens) {
  fail_everywhere(
      kNothing, [&] { static_cast<void>(chat.fork()); }, [&] { EXPECT_EQ(words(), expected); });
  const Model model = chat.model();
  Session session(model);
  std::vector<int32_t> tokens;
  for (int32_t i = 0; i < 40; ++i) tokens.push_back(3 + i % 90);
  const std::vector<int64_t> cuts = {10, 30};
  session.sync(tokens, cuts);
  const std::vector<float> row(session.logits().begin(), session.logits().end());
  fail_everywhere([&] { session.reset(); },
                  [&] {
                    session.sync(tokens, cuts);
                    session.decode(7);
                    session.mark();
                    session.rewind(35);
                    const Session twin = session.fork();
                  },
                  [&] {
                    session.reset();
                    session.sync(tokens, cuts);
                    EXPECT_TRUE(std::equal(row.begin(), row.end(), session.logits().begin()));
                  });
  fail_everywhere(
      kNothing,
      [&] {
        State state = model.new_state();
        static_cast<void>(model.forward(tokens, state));
        static_cast<void>(state.copy());
      },
      kNothing);
}

}  // namespace
}  // namespace prosa
