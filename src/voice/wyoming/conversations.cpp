// The model behind a Wyoming `handle` service: what is remembered of each conversation, and who computes.
//
// A conversation is its messages; states are not kept for it here. A Chat finds what it needs of any conversation among
// the model's stored states, so that a few Chats serve all of them. Invariant: a conversation and a Chat belong to one
// request at a time, and a turn is added to its conversation whole or not at all.
#include <algorithm>
#include <condition_variable>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "prosa/text.h"
#include "prosa/wyoming.h"

namespace prosa {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kLook{50};  // between two looks whether a waiting client is still there
constexpr size_t kMaxName = 256;                // bytes of a conversation's name
constexpr int kMaxReplies = 64;

struct Remembered {
  std::vector<Message> messages;  // user and assistant in turn
  Clock::time_point used = {};
  bool busy = false;
  size_t chat = 0;  // the one that answered last: its state stands there
};

std::string name_of(const WyomingRequest& request) {
  if (request.conversation.size() > kMaxName) {
    throw Error(ErrorCode::invalid_argument, fmt::format("is longer than {} bytes", kMaxName), "conversation_id");
  }
  if (request.conversation.empty()) return fmt::format("connection {}", request.connection);
  return "named " + request.conversation;
}

}  // namespace

struct WyomingConversations::State {
  State(const Model& model, const Options& given) : options(given) {
    const auto positive = [](const char* field, int value, int most) {
      if (value >= 1 && value <= most) return;
      throw Error(ErrorCode::invalid_argument, fmt::format("is {}; allowed are 1 to {}", value, most), field);
    };
    positive("conversations", options.conversations, 1'000'000);
    positive("replies", options.replies, kMaxReplies);
    if (find_invalid_utf8(options.system)) throw Error(ErrorCode::invalid_argument, "is not UTF-8", "system");
    validate(options.sampling);
    if (!options.sampling.enable_thinking) options.sampling.disable_thinking = true;
    for (int i = 0; i < options.replies; ++i) {
      chats.emplace_back(model, ChatOptions{.context_policy = ContextPolicy::drop_oldest});
    }
    chat_busy.resize(chats.size());
  }

  /// A conversation and a Chat for one request, given back at its end.
  class Lent {
   public:
    Lent(State& state, Remembered& conversation, size_t chat) : state_(state), conversation_(conversation) {
      conversation.busy = true;
      conversation.chat = chat;
      state.chat_busy[chat] = true;
    }
    ~Lent() {
      const std::scoped_lock lock(state_.mutex);
      conversation_.busy = false;
      conversation_.used = Clock::now();
      state_.chat_busy[conversation_.chat] = false;
      state_.freed.notify_all();
    }
    Lent(const Lent&) = delete;
    Lent& operator=(const Lent&) = delete;

    [[nodiscard]] Chat& chat() const { return state_.chats[conversation_.chat]; }
    [[nodiscard]] std::vector<Message>& messages() const { return conversation_.messages; }

   private:
    State& state_;
    Remembered& conversation_;  // of a map, whose entries stay where they are
  };

  /// Null: the client went away while it waited.
  std::unique_ptr<Lent> lend(const std::string& name, const WyomingService::Piece& piece) {
    std::unique_lock lock(mutex);
    while (true) {
      if (stopped) throw Error(ErrorCode::cancelled, "prosa is ending");
      forget_silent();
      const auto known = conversations.find(name);
      const size_t wanted = known == conversations.end() ? 0 : known->second.chat;
      const auto chat = free_chat(wanted);
      if (chat && (known == conversations.end() || !known->second.busy)) {
        if (known == conversations.end()) make_room();
        return std::make_unique<Lent>(*this, conversations[name], *chat);
      }
      freed.wait_for(lock, kLook);
      lock.unlock();
      if (!piece("")) return nullptr;
      lock.lock();
    }
  }

  [[nodiscard]] std::optional<size_t> free_chat(size_t wanted) const {
    if (!chat_busy[wanted]) return wanted;
    const auto found = std::ranges::find(chat_busy, false);
    if (found == chat_busy.end()) return std::nullopt;
    return static_cast<size_t>(found - chat_busy.begin());
  }

  void forget_silent() {
    const auto now = Clock::now();
    std::erase_if(conversations,
                  [&](const auto& each) { return !each.second.busy && now - each.second.used > options.idle; });
  }

  /// Those under way are never forgotten: there are at most as many of them as Chats.
  void make_room() {
    while (conversations.size() >= static_cast<size_t>(options.conversations)) {
      auto oldest = conversations.end();
      for (auto each = conversations.begin(); each != conversations.end(); ++each) {
        if (each->second.busy) continue;
        if (oldest == conversations.end() || each->second.used < oldest->second.used) oldest = each;
      }
      if (oldest == conversations.end()) return;
      conversations.erase(oldest);
    }
  }

  Options options;
  mutable std::mutex mutex;
  std::condition_variable freed;
  std::map<std::string, Remembered> conversations;  // guarded by mutex, but for the messages of those that are lent
  std::vector<Chat> chats;                          // each used by the request that it is lent to
  std::vector<bool> chat_busy;                      // guarded by mutex
  bool stopped = false;                             // the same
};

WyomingConversations::WyomingConversations(const Model& model, const Options& options)
    : state_(std::make_unique<State>(model, options)) {}
WyomingConversations::~WyomingConversations() = default;

void WyomingConversations::answer(const WyomingRequest& request, const WyomingService::Piece& piece) {
  if (request.text.find_first_not_of(" \t\r\n") == std::string::npos) {
    throw Error(ErrorCode::invalid_argument, "there are no words in it", "the transcript");
  }
  const auto lent = state_->lend(name_of(request), piece);
  if (!lent) return;
  const Options& options = state_->options;
  std::vector<Message> prompt;
  if (!options.system.empty()) prompt.push_back({Role::system, options.system});
  prompt.insert(prompt.end(), lent->messages().begin(), lent->messages().end());
  prompt.push_back({Role::user, request.text});
  bool listens = true;
  const Reply reply = lent->chat().generate_stream(prompt, options.sampling, [&](const Piece& part) {
    listens = piece(part.channel == Channel::speech ? std::string_view(part.text) : std::string_view());
    return listens;
  });
  if (reply.stats.finish == FinishReason::cancelled && listens) {
    throw Error(ErrorCode::cancelled, "prosa is ending");
  }
  if (!listens) return;
  std::vector<Message>& messages = lent->messages();
  messages.push_back({Role::user, request.text});
  messages.push_back({Role::assistant, reply.text});
  // What no longer fits the context is forgotten here as well: memory is bounded, and the next prompt begins the same.
  messages.erase(messages.begin(), messages.begin() + static_cast<std::ptrdiff_t>(reply.stats.dropped_messages));
}

void WyomingConversations::stop() noexcept {
  const std::scoped_lock lock(state_->mutex);
  state_->stopped = true;
  for (Chat& chat : state_->chats) chat.cancel();
  state_->freed.notify_all();
}

size_t WyomingConversations::remembered() const {
  const std::scoped_lock lock(state_->mutex);
  return state_->conversations.size();
}

}  // namespace prosa
