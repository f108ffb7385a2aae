// The session on real models: whatever was extended, restored, rewound, saved or loaded, the bits are those of a cold
// run with the same cuts; and no file, however damaged, is taken for a session.
//
// The fake backend of session_test.cpp decides what is reused; here it is decided whether that was right.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <cstring>
#include <fstream>
#include <map>
#include <random>

#include "fake_backend.h"
#include "format/safetensors.h"
#include "prosa/session.h"
#include "runtime/session.h"
#include "temp_folder.h"
#include "test_models.h"

namespace prosa::runtime {
namespace {

using backend::Backend;
using Ids = std::vector<int32_t>;
using Logits = std::vector<float>;
using Pieces = std::vector<Ids>;  // how tokens were fed: one id is a decode step, more are a prefill

constexpr uint64_t kModel = 0x1234;
constexpr int64_t kCapacity = 300;

struct Subject {
  std::string backend;
  std::string isa;
  friend std::ostream& operator<<(std::ostream& out, const Subject& s) { return out << s.backend << " " << s.isa; }
};

std::vector<Subject> subjects() {
#ifdef PROSA_TEST_MLX
  return {{"mlx", ""}};
#endif
  std::vector<Subject> all = {{"reference", ""}};
  for (const std::string& isa : backend::available_isas()) all.push_back({"cpu", isa});
  return all;
}

template <typename T>
std::vector<T> copy(std::span<const T> values) {
  return {values.begin(), values.end()};
}

class SessionExact : public testing::TestWithParam<Subject> {
 protected:
  static std::shared_ptr<Backend> make(const std::string& model = "tiny-mlx-4bit", int kv_bits = 8) {
    return backend::make_backend(GetParam().backend, test::load_model(model),
                                 {.cpu = {.threads = 2, .isa = GetParam().isa, .kv_bits = kv_bits, .pass_rows = 64},
                                  .reference = {.threads = 2}});
  }
  static std::shared_ptr<ModelCore> core_of(const std::shared_ptr<Backend>& of) {
    return test::core_of(of, int64_t{1} << 28, kCapacity, kModel);
  }

  Ids random_ids(size_t count) {
    Ids ids(count);
    for (int32_t& id : ids) id = static_cast<int32_t>(random() % static_cast<uint32_t>(backend->config().vocab_size));
    return ids;
  }
  Logits cold(const Pieces& pieces) {
    const auto state = backend->new_state(kCapacity);
    for (const Ids& piece : pieces) {
      backend::Segment segment{.state = state.get(), .tokens = piece};
      backend->run({&segment, 1});
    }
    Logits logits(static_cast<size_t>(backend->config().vocab_size));
    backend->logits(*state, 0, logits);
    return logits;
  }

  std::mt19937 random{5};
  std::shared_ptr<Backend> backend = make();
};

INSTANTIATE_TEST_SUITE_P(Every, SessionExact, testing::ValuesIn(subjects()), [](const auto& param) {
  return test::test_name(param.param.backend + "_" + param.param.isa);
});

// From the mark in front of it, which has the bits of the decode steps, and one prefill.
TEST_P(SessionExact, RewindIntoAReplyHasTheBitsOfTheStepsToItsMark) {
  Session session(core_of(backend), kCapacity);
  session.keep_reply_marks();
  const Ids prompt = random_ids(20);
  const Ids reply = random_ids(60);
  for (const int64_t position : {79, 70, 64, 49, 48, 33}) {
    session.sync({prompt});
    for (const int32_t token : reply) session.decode(token);
    EXPECT_LE(session.rewind(position).computed, Session::kReplyStep);
    const int64_t mark = (position - 1) / Session::kReplyStep * Session::kReplyStep;
    Pieces pieces = {prompt};
    for (int64_t at = 20; at < mark; ++at) pieces.push_back({reply[static_cast<size_t>(at - 20)]});
    pieces.emplace_back(reply.begin() + (mark - 20), reply.begin() + (position - 20));
    EXPECT_EQ(test::row_of(session), cold(pieces)) << "at " << position;
  }
}

/// A session, and how what it holds was fed.
struct Traced {
  std::unique_ptr<Session> session;
  Ids tokens;
  Pieces pieces;
};

// Random edits, continuations, marks, rewinds and cancels of two sessions that share their checkpoints.
TEST_P(SessionExact, EveryWayHasTheBitsOfAColdRunWithTheSameCuts) {
  const auto core = core_of(backend);
  std::map<Ids, Pieces> marks;  // of each stored state: how it was fed
  std::vector<Traced> all(2);
  for (Traced& each : all) each.session = std::make_unique<Session>(core, kCapacity);
  int restored = 0;
  for (int round = 0; round < 80; ++round) {
    Traced& mine = all[random() % all.size()];
    Ids wanted = all[random() % all.size()].tokens;  // continues itself or follows the other
    size_t kept = random() % 3 == 0 ? random() % (wanted.size() + 1) : wanted.size();
    if (kept > 200) kept = random() % 100;
    wanted.erase(wanted.begin() + static_cast<std::ptrdiff_t>(kept), wanted.end());
    const Ids more = random_ids(1 + random() % 60);
    wanted.insert(wanted.end(), more.begin(), more.end());
    std::vector<int64_t> cuts;
    for (size_t i = random() % 4; i > 0; --i) cuts.push_back(static_cast<int64_t>(1 + random() % wanted.size()));
    std::ranges::sort(cuts);
    cuts.erase(std::unique(cuts.begin(), cuts.end()), cuts.end());
    std::erase(cuts, std::ssize(mine.tokens));  // a checkpoint made before a cancel would not be in `marks`

    const std::atomic<bool> cancel = random() % 8 == 0;
    SyncReport report;
    try {
      report = mine.session->sync({wanted, cuts, Cancel(&cancel)});
    } catch (const Error& error) {
      ASSERT_EQ(error.code(), ErrorCode::cancelled);
      report = mine.session->sync({wanted, cuts});
    }
    const auto reused = wanted.begin() + report.reused;
    if (report.path != SyncPath::extended) {
      mine.pieces = report.reused == 0 ? Pieces{} : marks.at(Ids(wanted.begin(), reused));
      restored += report.path == SyncPath::restored ? 1 : 0;
    }
    int64_t from = report.reused;
    const auto add_piece = [&](int64_t to) {
      if (to > from) mine.pieces.emplace_back(wanted.begin() + from, wanted.begin() + to);
      from = std::max(from, to);
    };
    for (const int64_t cut : cuts) {
      if (cut < report.reused || cut >= static_cast<int64_t>(wanted.size())) continue;
      add_piece(cut);
      marks.emplace(Ids(wanted.begin(), wanted.begin() + cut), mine.pieces);
    }
    add_piece(static_cast<int64_t>(wanted.size()));
    mine.tokens = wanted;
    for (size_t steps = random() % 6; steps > 0; --steps) {
      mine.tokens.push_back(random_ids(1)[0]);
      mine.pieces.push_back({mine.tokens.back()});
      mine.session->decode(mine.tokens.back());
      if (random() % 4 != 0) continue;
      mine.session->mark();
      marks.emplace(mine.tokens, mine.pieces);
    }
    ASSERT_EQ(copy(mine.session->tokens()), mine.tokens);
    if (round % 2 == 0) {
      ASSERT_EQ(test::row_of(*mine.session), cold(mine.pieces)) << "round " << round;
    }
  }
  EXPECT_GT(restored, 5);
}

TEST_P(SessionExact, RewindIsTheNearestMarkAndOnePrefill) {
  Session session(core_of(backend), kCapacity);
  const Ids prompt = random_ids(40);
  session.sync({prompt});
  Pieces pieces{prompt};
  Ids reply = random_ids(60);
  for (size_t i = 0; i < reply.size(); ++i) {
    session.decode(reply[i]);
    pieces.push_back({reply[i]});
    if (i == 29) session.mark();
  }
  const SyncReport report = session.rewind(40 + 52);
  EXPECT_EQ(report.path, SyncPath::restored);
  EXPECT_EQ(report.reused, 70);
  EXPECT_EQ(report.computed, 22);
  pieces.resize(31);
  pieces.emplace_back(reply.begin() + 30, reply.begin() + 52);
  EXPECT_EQ(test::row_of(session), cold(pieces));
  EXPECT_EQ(session.position(), 92);
  EXPECT_EQ(session.rewind(92).computed, 0) << "it stands there";
  EXPECT_EQ(test::error_code([&] { session.rewind(93); }), ErrorCode::invalid_argument);
  EXPECT_EQ(test::error_code([&] { session.rewind(0); }), ErrorCode::invalid_argument);
}

// ---- files

class SessionFileTest : public SessionExact {
 protected:
  void SetUp() override {
    session = std::make_unique<Session>(core_of(backend), kCapacity);
    const std::vector<int64_t> cuts = {60, 140};  // on both sides of a block's border
    session->sync({random_ids(150), cuts});
    for (const int32_t token : random_ids(3)) session->decode(token);
    session->save(path, {{"messages", "[]"}, {"empty", ""}});
    std::ifstream file(path, std::ios::binary);
    bytes.assign(std::istreambuf_iterator<char>(file), {});
  }
  std::optional<ErrorCode> load_error(const std::string& content) {
    const std::filesystem::path damaged = folder.path() / "damaged";
    std::ofstream(damaged, std::ios::binary | std::ios::trunc) << content;
    return test::error_code([&] { other().load(damaged); });
  }
  Session& other() {
    if (!other_) other_ = std::make_unique<Session>(core_of(backend), kCapacity);
    return *other_;
  }
  static Logits logits_of(const Session& from) { return test::row_of(from); }

  TempFolder folder;
  std::filesystem::path path = folder.path() / "session";
  std::unique_ptr<Session> session, other_;
  std::string bytes;
};

INSTANTIATE_TEST_SUITE_P(Every, SessionFileTest, testing::ValuesIn(subjects()), [](const auto& param) {
  return test::test_name(param.param.backend + "_" + param.param.isa);
});

TEST_P(SessionFileTest, ContinuesWithTheSameBits) {
  const auto notes = other().load(path);
  EXPECT_EQ(notes, (std::map<std::string, std::string>{{"messages", "[]"}, {"empty", ""}}));
  EXPECT_EQ(copy(other().tokens()), copy(session->tokens()));
  EXPECT_EQ(logits_of(other()), logits_of(*session));
  EXPECT_EQ(other().sync({session->tokens()}).computed, 0) << "the whole list again is not read again";
  for (const int32_t token : random_ids(4)) {
    session->decode(token);
    other().decode(token);
    ASSERT_EQ(logits_of(other()), logits_of(*session));
  }
  Ids longer = copy(session->tokens());
  const Ids more = random_ids(60);
  longer.insert(longer.end(), more.begin(), more.end());
  EXPECT_EQ(other().sync({longer}).computed, 60);
  session->sync({longer});
  EXPECT_EQ(logits_of(other()), logits_of(*session));
}

TEST_P(SessionFileTest, EarlierStatesComeAlong) {
  other().load(path);
  for (const int64_t mark : {140, 60}) {
    Ids edited(session->tokens().begin(), session->tokens().begin() + mark);
    const Ids more = random_ids(20);
    edited.insert(edited.end(), more.begin(), more.end());
    const SyncReport report = other().sync({edited});
    EXPECT_EQ(report.reused, mark);
    EXPECT_EQ(report.computed, 20);
    session->sync({edited});
    EXPECT_EQ(logits_of(other()), logits_of(*session)) << mark;
  }
}

TEST_P(SessionFileTest, SaysWhatItsNumbersAre) {
  const format::SafetensorsFile file = format::SafetensorsFile::open(path);
  for (const format::TensorEntry& entry : file.entries()) {
    const bool bytes_of_kv = GetParam().backend == "cpu" && entry.name.starts_with("part.kv.");
    if (entry.name != "logits" && !entry.name.starts_with("part.")) continue;
    EXPECT_EQ(entry.type, bytes_of_kv ? format::TensorType::u8 : format::TensorType::f32) << entry.name;
  }
}

TEST_P(SessionFileTest, SavingTwiceWritesTheSameFile) {
  other().load(path);
  other().save(folder.path() / "again", {{"messages", "[]"}, {"empty", ""}});
  std::ifstream again(folder.path() / "again", std::ios::binary);
  EXPECT_TRUE(std::string(std::istreambuf_iterator<char>(again), {}) == bytes);
}

TEST_P(SessionFileTest, AnyFlippedByteIsAnError) {
  const size_t header = 8 + static_cast<size_t>(*reinterpret_cast<const uint64_t*>(bytes.data()));
  const auto flip = [&](size_t at, char mask) {
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ mask);
    EXPECT_EQ(load_error(damaged), ErrorCode::bad_session) << "byte " << at << " of " << bytes.size();
  };
  for (size_t at = 0; at < header; at += 1 + random() % 3) flip(at, static_cast<char>(1 << random() % 8));
  for (int i = 0; i < 60; ++i) flip(header + random() % (bytes.size() - header), static_cast<char>(1 << random() % 8));
}

TEST_P(SessionFileTest, AnyTruncationIsAnError) {
  for (const size_t size : {size_t{0}, size_t{1}, size_t{7}, size_t{8}, size_t{100}, bytes.size() - 1}) {
    EXPECT_EQ(load_error(bytes.substr(0, size)), ErrorCode::bad_session) << size;
  }
  for (int i = 0; i < 40; ++i) EXPECT_EQ(load_error(bytes.substr(0, random() % bytes.size())), ErrorCode::bad_session);
  EXPECT_EQ(load_error(bytes + "x"), ErrorCode::bad_session);
}

TEST_P(SessionFileTest, HostileSizesAndForeignFilesAreErrors) {
  EXPECT_EQ(load_error("\xff\xff\xff\xff\xff\xff\xff\x7f" + bytes.substr(8)), ErrorCode::bad_session);
  EXPECT_EQ(load_error(std::string(100, '\0')), ErrorCode::bad_session);
  for (const char* number : {"9223372036854775808", "18446744073709551615", "-1", "1e300"}) {
    const std::string header =
        std::string(R"({"__metadata__":{"format":"prosa session"},"tokens":{"dtype":"I32","shape":[)") + number +
        R"(],"data_offsets":[0,)" + number + "]}}";
    std::string file(8, '\0');
    const uint64_t size = header.size();
    std::memcpy(file.data(), &size, sizeof size);
    EXPECT_EQ(load_error(file + header + std::string(64, 'x')), ErrorCode::bad_session) << number;
  }
  EXPECT_EQ(test::error_code([&] { other().load(folder.path() / "absent"); }), ErrorCode::not_found);
  EXPECT_EQ(test::error_code([&] { other().load(folder.path()); }), ErrorCode::io);
  EXPECT_EQ(load_error([&] {  // a whole safetensors file of something else
              std::ifstream file(test::golden_folder("tiny-hf") / "model.safetensors", std::ios::binary);
              return std::string(std::istreambuf_iterator<char>(file), {});
            }()),
            ErrorCode::bad_session);
}

TEST_P(SessionFileTest, AnotherModelVersionOrByteOrderIsAnError) {
  Session trained_on(test::core_of(backend, 0, kCapacity, kModel + 1), kCapacity);
  EXPECT_EQ(test::error_code([&] { trained_on.load(path); }), ErrorCode::bad_session);
  for (const auto& [from, to] : {std::pair{"\"version\":\"2\"", "\"version\":\"3\""},
                                 std::pair{"\"byte_order\":\"little\"", "\"byte_order\":\"bigbig\""}}) {
    std::string edited = bytes;
    edited.replace(edited.find(from), std::string(from).size(), to);
    EXPECT_EQ(load_error(edited), ErrorCode::bad_session);
    try {
      other().load(folder.path() / "damaged");
    } catch (const Error& error) {
      EXPECT_THAT(error.message(), testing::HasSubstr("was saved with another"));
    }
  }
  if (GetParam().backend == "cpu") {
    const auto wide = make("tiny-mlx-4bit", 16);
    Session elsewhere(core_of(wide), kCapacity);
    try {
      elsewhere.load(path);
      ADD_FAILURE() << "keys and values of other bits were read";
    } catch (const Error& error) {  // by its name, not by the size of a part
      EXPECT_EQ(error.code(), ErrorCode::bad_session);
      EXPECT_THAT(error.message(), testing::HasSubstr("8-bit KV"));
    }
  }
  // The right fingerprint, but other dimensions: a liar's file.
  const auto wider = make("grouped-mlx-4bit");
  Session elsewhere(core_of(wider), kCapacity);
  EXPECT_EQ(test::error_code([&] { elsewhere.load(path); }), ErrorCode::bad_session);
}

// The numbers of "cpu 4" were made by other rules: the weights of weak positions were lost beside a strong one, and
// outliers stayed among the integers. They have today's parts, and would be read and continued with other bits.
TEST_P(SessionFileTest, FilesOfTheRulesBeforeAreRefusedByName) {
  if (GetParam().backend != "cpu") GTEST_SKIP() << "its rules have not changed";
  for (const char* before : {"cpu 4, 8-bit KV, 15-bit activations", "cpu 4, 8-bit KV, 8-bit activations",
                             "cpu 4, 8-bit KV, 8- and 15-bit activations"}) {
    const size_t begin = bytes.find("\"layout\":\"") + std::strlen("\"layout\":\""), end = bytes.find('"', begin);
    ASSERT_LT(begin, end);
    std::string file = bytes;
    file.replace(begin, end - begin, before);
    uint64_t header = 0;
    std::memcpy(&header, file.data(), sizeof header);
    header += file.size() - bytes.size();
    std::memcpy(file.data(), &header, sizeof header);
    EXPECT_EQ(load_error(file), ErrorCode::bad_session);
    try {
      other().load(folder.path() / "damaged");
      ADD_FAILURE() << before << " was read";
    } catch (const Error& error) {
      EXPECT_THAT(error.message(), testing::HasSubstr(std::string("another backend: '") + before));
    }
  }
}

TEST_P(SessionFileTest, ARefusedFileChangesNothing) {
  other().sync({random_ids(20)});
  const Ids tokens = copy(other().tokens());
  const Logits logits = logits_of(other());
  EXPECT_EQ(load_error(bytes.substr(0, bytes.size() / 2)), ErrorCode::bad_session);
  Session small(core_of(backend), 100);
  small.sync({tokens});
  EXPECT_EQ(test::error_code([&] { small.load(path); }), ErrorCode::context_exceeded);
  EXPECT_EQ(copy(small.tokens()), tokens);
  EXPECT_EQ(copy(other().tokens()), tokens);
  EXPECT_EQ(logits_of(other()), logits);
  EXPECT_EQ(other().sync({tokens}).computed, 0);
}

TEST_P(SessionFileTest, AFullDiskLeavesTheOldFile) {
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit small = before;
  small.rlim_cur = bytes.size() / 2;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  session->decode(1);
  const auto error = test::error_code([&] { session->save(path, {}); });
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, old_handler);
  EXPECT_EQ(error, ErrorCode::io);
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(std::string(std::istreambuf_iterator<char>(file), {}) == bytes);
  int files = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder.path())) ++files;
  EXPECT_EQ(files, 1) << "nothing half-written stays";
  EXPECT_EQ(test::error_code([&] { session->save("/nowhere/session", {}); }), ErrorCode::io);
}

TEST(SessionFile, IsPrivate) {
  const std::shared_ptr<Backend> backend = backend::make_reference_backend(test::load_model("tiny-hf"), {});
  Session session(test::core_of(backend, 0), 20);
  const TempFolder folder;
  EXPECT_EQ(test::error_code([&] { session.save(folder.path() / "empty", {}); }), ErrorCode::invalid_argument);
  session.sync({Ids{1, 2, 3}});
  session.save(folder.path() / "session", {});
  EXPECT_EQ(std::filesystem::status(folder.path() / "session").permissions(),
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
}

// ---- the public face

TEST(PublicSession, SessionsOfAModelShareWhatTheyBeginWith) {
  const Model model = Model::from_pretrained(PROSA_TINY_CHAT, {.threads = 1, .context = 100});
  prosa::Session first(model), second(model);
  const Ids system{1, 2, 3, 4, 5, 6}, one{1, 2, 3, 4, 5, 6, 7, 8}, two{1, 2, 3, 4, 5, 6, 9, 10};
  EXPECT_EQ(first.sync(one, std::vector<int64_t>{6}).computed, 8);
  const SyncReport report = second.sync(two, std::vector<int64_t>{6});
  EXPECT_EQ(report.path, SyncPath::restored);
  EXPECT_EQ(report.computed, 2);
  EXPECT_EQ(report.reason(), "restored at 6 of 8 tokens; the list held before parts at 0");
  EXPECT_TRUE(second.logits().size() == static_cast<size_t>(model.info().vocab_size));
  second.mark();
  second.decode(11);
  EXPECT_EQ(second.rewind(8).computed, 2) << "the mark has no logits: from the cut before it";
  EXPECT_GT(second.memory_footprint().stored_states, 0);
  second.reset();
  EXPECT_EQ(first.sync(one, std::vector<int64_t>{6}).computed, 0) << "what a session holds itself stays";
  EXPECT_EQ(second.sync(two).computed, 2) << "what another session has put there stays";
  EXPECT_EQ(test::error_code([&] { first.sync(Ids{}); }), ErrorCode::invalid_argument);
  EXPECT_EQ(test::error_code([&] { first.sync(Ids(101, 1)); }), ErrorCode::context_exceeded);
  EXPECT_EQ(test::error_code([&] { first.decode(-1); }), ErrorCode::invalid_argument);
}

TEST(PublicSession, OutlivesItsModelAndComesBackFromAFile) {
  const TempFolder folder;
  const std::string path = (folder.path() / "s").string();
  std::optional<prosa::Session> session;
  {
    const Model model = Model::from_pretrained(PROSA_TINY_CHAT, {.threads = 1, .context = 100});
    session.emplace(model);
  }
  EXPECT_EQ(test::error_code([&] { session->save(path); }), ErrorCode::invalid_argument);
  EXPECT_EQ(test::error_code([&] { session->decode(1); }), ErrorCode::invalid_argument);
  session->sync(Ids{1, 2, 3});
  session->save(path);
  const Model again = Model::from_pretrained(PROSA_TINY_CHAT, {.threads = 1, .context = 100});
  prosa::Session other(again);
  other.load(path);
  EXPECT_EQ(other.position(), 3);
  EXPECT_EQ(copy(other.logits()), copy(session->logits()));
  const Model reference = Model::from_pretrained(PROSA_TINY_CHAT, {.backend = "reference", .threads = 1});
  prosa::Session foreign(reference);
  EXPECT_EQ(test::error_code([&] { foreign.load(path); }), ErrorCode::bad_session);
}

}  // namespace
}  // namespace prosa::runtime
