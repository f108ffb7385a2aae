// Storms: many threads that use chats of one model as badly as the interface allows: replies abandoned in the middle,
// callbacks that throw, cancels from elsewhere, chats and turns destroyed while their replies still stream, calls on a
// chat that is busy, models unloaded and let go of.
//
// What a quiet schedule says is shared_model_test's. Invariants: a reply that ends by itself has the very words it has
// alone, one that was ended early a beginning of them; a call fails only with the errors it announces; after the storm
// every chat is usable. Run under the thread sanitizer, which is what it is for.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "prosa/chat.h"
#include "prosa/session.h"
#include "temp_folder.h"

namespace prosa {
namespace {

using Messages = std::vector<Message>;

constexpr int kWorkers = 4;
constexpr std::array kQuestions = {"Hello", "What is your name?", "Tell me a joke", "日本 🦊"};

struct Thrown : std::runtime_error {
  Thrown() : std::runtime_error("a callback's own") {}
};

SamplingConfig greedy() {
  SamplingConfig sampling;
  sampling.temperature = 0;
  sampling.max_tokens = 8;
  return sampling;
}

Messages question(size_t which) { return {{Role::system, "Be kind."}, {Role::user, kQuestions[which]}}; }

/// A chat that others may look at, cancel and disturb while its owner replaces it.
class Slot {
 public:
  [[nodiscard]] std::shared_ptr<Chat> get() const {
    const std::scoped_lock lock(mutex_);
    return chat_;
  }
  void set(std::shared_ptr<Chat> chat) {
    {
      const std::scoped_lock lock(mutex_);
      chat_.swap(chat);
    }
    // The one before dies here, or on the thread of whoever still looks at it.
  }

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<Chat> chat_;
};

class Storm : public testing::Test {
 protected:
  Storm() {
    LoadOptions load;
    load.threads = 2;
    load.context = 500;
    model.emplace(Model::from_pretrained(PROSA_TINY_CHAT, load));
    for (size_t i = 0; i < kQuestions.size(); ++i) {
      Chat chat(*model);
      alone[i] = chat.generate(question(i), greedy()).text;
    }
  }

  /// One worker's part of the storm.
  void work(Slot& slot, unsigned seed) {
    std::mt19937 random(seed);
    const std::string file = (folder.path() / ("session-" + std::to_string(seed))).string();
    for (int round = 0; round < rounds(); ++round) {
      auto chat = slot.get();
      if (!chat || random() % 4 == 0) slot.set(chat = std::make_shared<Chat>(*model));
      try {
        act(slot, std::move(chat), random, file);
        ++undisturbed;
      } catch (const Error& error) {
        // Somebody else was using it, or has cancelled it.
        EXPECT_TRUE(error.code() == ErrorCode::busy || error.code() == ErrorCode::cancelled) << error.what();
      }
    }
  }

  void act(Slot& slot, std::shared_ptr<Chat> chat, std::mt19937& random, const std::string& file) {
    const size_t which = random() % kQuestions.size();
    const int stop_after = static_cast<int>(random() % 5);
    switch (random() % 9) {
      case 0: expect_said(which, chat->generate(question(which), greedy())); break;
      case 1: {  // abandoned
        ReplyStream stream = chat->generate_stream(question(which), greedy());
        read(stream, which, stop_after);
        break;
      }
      case 2: throw_from_callback(*chat, which, stop_after); break;
      case 3: {  // the chat goes, its reply stays
        ReplyStream stream = chat->generate_stream(question(which), greedy());
        slot.set(nullptr);
        chat.reset();
        read(stream, which, -1);
        break;
      }
      case 4: {  // a turn that ends before, in or after its commit
        Turn turn = chat->begin_turn({{Role::system, "Be kind."}}, greedy());
        turn.hear("Tell me");
        if (stop_after == 0) break;
        if (stop_after == 1) slot.set(nullptr);
        chat.reset();
        ReplyStream stream = turn.commit(kQuestions[which], alone[random() % kQuestions.size()]);
        { const Turn over = std::move(turn); }
        read(stream, which, stop_after == 2 ? 1 : -1);
        break;
      }
      case 5: {  // a fork that outlives where it came from
        auto fork = std::make_shared<Chat>(chat->fork());
        slot.set(fork);
        chat.reset();
        expect_said(which, fork->generate(question(which), greedy()));
        break;
      }
      case 6:
        chat->reset_state();
        chat->unload(stop_after % 2 == 0 ? Unload::keep : Unload::drop);
        chat->load();
        expect_said(which, chat->generate(question(which), greedy()));
        break;
      case 7: {
        Chat other = std::move(*std::make_unique<Chat>(*model));
        other.save_session(file, question(which));
        EXPECT_EQ(other.load_session(file).back().content, kQuestions[which]);
        expect_said(which, other.generate(question(which), greedy()));
        break;
      }
      default: {  // a deadline that comes soon
        SamplingConfig sampling = greedy();
        sampling.deadline_ms = 1 + static_cast<int64_t>(random() % 10);
        expect_said(which, chat->generate(question(which), sampling));
      }
    }
  }

  /// What passers-by do to chats that are not theirs.
  void disturb(std::array<Slot, kWorkers>& slots, unsigned seed, const std::atomic<bool>& over) {
    std::mt19937 random(seed);
    while (!over) {
      const auto chat = slots[random() % kWorkers].get();
      if (!chat) continue;
      try {
        switch (random() % 6) {
          case 0: chat->cancel(); break;
          case 1: EXPECT_GE(chat->memory_footprint().total(), 0); break;
          case 2: EXPECT_GE(chat->stats().generated_tokens, 0); break;
          case 3: (void)chat->is_loaded(); break;
          case 4: (void)chat->tokenize("Hello"); break;
          default: chat->reset_state();
        }
      } catch (const Error& error) {
        EXPECT_TRUE(error.code() == ErrorCode::busy || error.code() == ErrorCode::not_loaded) << error.what();
      }
      std::this_thread::sleep_for(std::chrono::microseconds(random() % 3000));
    }
  }

  void throw_from_callback(Chat& chat, size_t which, int after) {
    int pieces = 0;
    try {
      expect_said(which, chat.generate_stream(question(which), greedy(), [&](const Piece&) -> bool {
        if (pieces++ == after) throw Thrown();
        return true;
      }));
    } catch (const Thrown&) {
      EXPECT_EQ(pieces, after + 1) << "nothing comes after it";
    }
  }

  void read(ReplyStream& stream, size_t which, int stop_after) const {
    std::string text;
    for (const Piece& piece : stream) {
      if (piece.channel == Channel::speech) text += piece.text;
      if (stop_after-- == 0) break;
    }
    EXPECT_TRUE(alone[which].starts_with(text)) << text;
  }

  void expect_said(size_t which, const Reply& reply) const {
    if (reply.stats.finish == FinishReason::cancelled || reply.stats.finish == FinishReason::deadline) {
      EXPECT_TRUE(alone[which].starts_with(reply.text)) << reply.text;
    } else {
      EXPECT_EQ(reply.text, alone[which]);
    }
  }

  static int rounds() {
    const char* const asked = std::getenv("PROSA_TEST_STORM");
    return asked != nullptr ? std::max(std::atoi(asked), 1) : 25;
  }

  TempFolder folder;
  std::atomic<int> undisturbed = 0;  // acts that no passer-by has ended
  std::optional<Model> model;
  std::array<std::string, kQuestions.size()> alone;
};

TEST_F(Storm, LeavesEveryChatUsable) {
  std::array<Slot, kWorkers> slots;
  std::atomic<bool> over = false;
  std::vector<std::jthread> workers, passers_by;
  for (unsigned i = 0; i < 2; ++i) passers_by.emplace_back([&, i] { disturb(slots, 100 + i, over); });
  for (unsigned i = 0; i < kWorkers; ++i) workers.emplace_back([&, i] { work(slots[i], i); });
  workers.clear();
  over = true;
  passers_by.clear();
  EXPECT_GT(undisturbed, rounds()) << "the storm left nothing to look at";
  for (Slot& slot : slots) {
    auto chat = slot.get();
    if (!chat) continue;
    for (size_t i = 0; i < kQuestions.size(); ++i) expect_said(i, chat->generate(question(i), greedy()));
  }
}

// The last holder of a model may be a reply, on a thread of its own.
TEST_F(Storm, AReplyMayHoldAModelLast) {
  for (int i = 0; i < 3; ++i) {
    auto chat = std::make_unique<Chat>(*model);
    auto stream = std::make_unique<ReplyStream>(chat->generate_stream(question(0), greedy()));
    if (i == 2) model.reset();
    std::jthread reader([this, stream = std::move(stream)] { read(*stream, 0, -1); });
    std::jthread owner([chat = std::move(chat)]() mutable { chat.reset(); });
  }
}

}  // namespace
}  // namespace prosa
