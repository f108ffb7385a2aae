// The CUDA backend: one run over segments becomes passes of many rows (prompts, by chunks of 64) and passes of single
// rows (decoding, a prompt's last token when it stands alone in its chunk, tokens that run ahead).
//
// A token belongs to a kind of pass by its place in its segment alone, so cutting a segment at multiples of 64 changes
// no bit. Thread safety as backend.h: a lock covers everything that uses the shared scratch memory and the graphs; the
// stream keeps the order.
#include <algorithm>
#include <mutex>

#include "backend/cuda/cuda.h"
#include "backend/cuda/decode.h"
#include "backend/cuda/many.h"
#include "backend/cuda/picker.h"
#include "backend/cuda/state.h"
#include "backend/segments.h"
#include "base/check.h"
#include "model/fingerprint.h"
#include "prosa/error.h"

namespace prosa::backend::cuda {
namespace {

[[noreturn]] void refuse(const std::string& what, const std::string& where) {
  throw Error(ErrorCode::invalid_argument, what, where);
}

class CudaBackend final : public Backend {
 public:
  CudaBackend(std::shared_ptr<const Weights> weights, const BackendOptions& options)
      : device_(Device::open(options.cuda.device)),
        model_(device_, *weights, options.progress),
        decoder_(device_, model_, options.cuda),
        many_(device_, model_, decoder_, std::max<int64_t>((options.cuda.pass_rows + kChunk - 1) / kChunk, 1) * kChunk),
        picker_(device_, decoder_.queue(), model_.config.vocab_size) {
    shape_.state_bytes = std::max<int64_t>(model_.state_elements, 1) * static_cast<int64_t>(sizeof(float));
    shape_.kv_block_bytes = model_.kv_block_bytes;
    shape_.kv_rows = int64_t{2} * model_.attention_count * model_.attention.kv_heads;
    shape_.kv_row_bytes = int64_t{2} * model_.attention.head_dim;
    shape_.keep_bytes = int64_t{4} * model_.delta_count * kMaxTentative * model_.delta.stride;
    shape_.vocab = model_.config.vocab_size;
    shape_.model = fingerprint(*weights);
    zeros_ = device_->allocate(shape_.state_bytes, "a state");
    device_->clear(zeros_->as(), zeros_->bytes());
    device_->finish();
    describe(options);
  }
  ~CudaBackend() override { cudaStreamSynchronize(device_->stream()); }

  [[nodiscard]] const Description& description() const noexcept override { return description_; }
  [[nodiscard]] const ModelConfig& config() const noexcept override { return model_.config; }
  [[nodiscard]] int64_t slice_unit() const noexcept override { return kChunk; }
  [[nodiscard]] int64_t step_rows() const noexcept override { return many_.max_rows(); }

  [[nodiscard]] std::unique_ptr<State> new_state(int64_t capacity) override {
    check_capacity(capacity);
    device_->use();
    return std::make_unique<CudaState>(device_, identity_, shape_, zeros_, capacity);
  }
  void reset(State& state) override { mine(state).reset(zeros_); }

  void run(std::span<Segment> segments) override;
  void candidates(std::span<const RowPick> asks, std::span<Candidates> answers) override;
  void logits(const State& state, int64_t row, std::span<float> out) override;
  void set_row(State& state, std::span<const float> logits) override;
  void commit(State& state, int64_t n) override;
  [[nodiscard]] std::unique_ptr<Snapshot> snapshot(const State& state, Place place) override;
  void restore(State& state, const Snapshot& snapshot) override;
  [[nodiscard]] std::string_view snapshot_layout() const noexcept override { return CudaSnapshot::layout; }
  [[nodiscard]] std::unique_ptr<Snapshot> read_snapshot(int64_t position, const FindPart& find,
                                                        const Snapshot* longer) override;
  [[nodiscard]] MemoryReport memory() const noexcept override {
    return {model_.weight_bytes, decoder_.scratch_bytes() + many_.scratch_bytes()};
  }

 private:
  /// A segment's progress through a run.
  struct Work {
    Segment* segment = nullptr;
    CudaState* state = nullptr;
    int64_t fed = 0;        // tokens on the stream
    int64_t many = 0;       // of the first tokens: in passes of many rows
    int64_t row_begin = 0;  // the first token whose logits are wanted
    [[nodiscard]] bool done() const {
      return segment->cancelled || fed == static_cast<int64_t>(segment->tokens.size());
    }
    [[nodiscard]] float* logits_of(int64_t token) const {
      return token >= row_begin ? state->row(token - row_begin) : nullptr;
    }
  };

  void describe(const BackendOptions& options);
  CudaState& mine(State& state) const;
  const CudaState& mine(const State& state) const { return mine(const_cast<State&>(state)); }
  std::vector<Work> checked(std::span<Segment> segments) const;
  static void give_up(Work& work);
  void run_many(std::vector<Work>& works);
  void run_single(std::vector<Work>& works);
  void heads_of(const std::vector<Work*>& in_pass, const std::vector<ManyTokens>& tokens);
  const float* row_of(const RowPick& ask) const;

  std::shared_ptr<Device> device_;
  Model model_;
  Decoder decoder_;
  ManyRows many_;
  Picker picker_;
  const std::shared_ptr<const void> identity_ = std::make_shared<int>();  // states belong to one backend
  StateShape shape_;
  MemoryPtr zeros_;
  Description description_;
  std::mutex mutex_;  // the scratch memory of passes, and the stream while one is put on it
};

void CudaBackend::describe(const BackendOptions& options) {
  const bool hopper = device_->architecture() >= 90;
  description_.name = "cuda";
  description_.kernels =
      "sm_" + std::to_string(device_->architecture()) + ": int8 products of single rows" +
      (options.cuda.graphs ? ", one graph a step" : ", no graphs") +
      (hopper && options.cuda.overlap ? ", overlapped" : ", not overlapped") +
      (decoder_.queue().hopper ? "; f16 wgmma products of prompts" : "; f16 products of prompts") +
      (model_.expanded ? "" : " (unpacked each time: little memory)") +
      (many_.chunked() || model_.delta_count == 0 ? "; delta rule in chunks"
                                                  : "; delta rule token by token: unusual dimensions");
  description_.details = device_->name() + ", 15-bit activations, 16-bit KV";
}

CudaState& CudaBackend::mine(State& state) const {
  auto* const own = dynamic_cast<CudaState*>(&state);
  if (own == nullptr || own->owner() != identity_.get()) refuse("the state is another backend's", "state");
  return *own;
}

std::vector<CudaBackend::Work> CudaBackend::checked(std::span<Segment> segments) const {
  check_segments(segments, model_.config);
  std::vector<Work> works;
  for (Segment& segment : segments) {
    Work work{&segment, &mine(*segment.state), 0, 0, 0};
    const auto count = static_cast<int64_t>(segment.tokens.size());
    const int64_t tail = count % kChunk;
    if (!segment.tentative && count > 1) work.many = tail == 1 ? count - 1 : count;
    work.row_begin = count - wanted_rows(segment);
    works.push_back(work);
  }
  return works;
}

void CudaBackend::give_up(Work& work) {
  work.segment->cancelled = true;
  work.state->set_valid(false);
  work.state->set_rows(0);
}

void CudaBackend::run(std::span<Segment> segments) {
  device_->use();
  std::vector<Work> works = checked(segments);
  const std::lock_guard lock(mutex_);
  for (Work& work : works) {  // memory first: what fails here has touched nothing
    const auto count = static_cast<int64_t>(work.segment->tokens.size());
    work.state->make_room(work.state->position(), count);
    work.state->make_rows(count - work.row_begin);
    if (work.segment->tentative) work.state->make_keep();
  }
  for (Work& work : works) {
    work.segment->cancelled = false;
    work.state->take_rows();
    work.state->set_rows(0);
    work.state->set_valid(false);  // until all of it is on the stream
  }
  run_many(works);
  run_single(works);
  for (Work& work : works) {
    if (work.segment->cancelled) continue;
    const auto count = static_cast<int64_t>(work.segment->tokens.size());
    if (work.segment->tentative) {
      work.state->set_pending(count);
    } else {
      work.state->set_position(work.state->position() + count);
    }
    work.state->set_rows(count - work.row_begin);
    work.state->set_valid(true);
  }
}

// Passes of many rows until every segment's share of them is fed.
void CudaBackend::run_many(std::vector<Work>& works) {
  while (true) {
    std::vector<Work*> in_pass;
    std::vector<ManyTokens> tokens;
    int64_t rows = 0;
    for (Work& work : works) {
      if (work.fed >= work.many || work.segment->cancelled || in_pass.size() == kMaxRows) continue;
      if (work.segment->cancel.requested()) {
        give_up(work);
        continue;
      }
      const int64_t room = (many_.max_rows() - rows) / kChunk * kChunk;
      const int64_t count = std::min(room, work.many - work.fed);
      if (count <= 0) continue;
      in_pass.push_back(&work);
      tokens.push_back({work.segment->tokens.data() + work.fed, static_cast<int32_t>(count),
                        static_cast<int32_t>(work.state->position() + work.fed), work.state->found(),
                        work.state->make_left(), work.state->kv_table()});
      rows += (count + kChunk - 1) / kChunk * kChunk;
    }
    if (in_pass.empty()) return;
    const bool may_stop =
        std::all_of(in_pass.begin(), in_pass.end(), [](const Work* work) { return work->segment->cancel.possible(); });
    std::function<bool()> given_up;
    if (may_stop) {
      given_up = [&] {
        return std::all_of(in_pass.begin(), in_pass.end(),
                           [](const Work* work) { return work->segment->cancel.requested(); });
      };
    }
    if (!many_.run(tokens, given_up)) {
      for (Work* work : in_pass) give_up(*work);
      continue;
    }
    heads_of(in_pass, tokens);
    for (size_t i = 0; i < in_pass.size(); ++i) {
      in_pass[i]->fed += tokens[i].count;
      in_pass[i]->state->moved();
    }
  }
}

// The logits that are wanted of a pass of many rows: up to 64 neighbours at a time.
void CudaBackend::heads_of(const std::vector<Work*>& in_pass, const std::vector<ManyTokens>& tokens) {
  int64_t row = 0;
  for (size_t i = 0; i < in_pass.size(); ++i) {
    const Work& work = *in_pass[i];
    for (int64_t t = std::max<int64_t>(0, work.row_begin - work.fed); t < tokens[i].count;) {
      PassArgs pass;
      pass.rows = static_cast<int32_t>(std::min<int64_t>(kMaxRows, tokens[i].count - t));
      for (int32_t r = 0; r < pass.rows; ++r) pass.row[r].logits = work.logits_of(work.fed + t + r);
      decoder_.run_head(many_.hidden(row + t), pass);
      t += pass.rows;
    }
    row += tokens[i].count;
  }
}

// Passes of single rows: 64 at most, a segment's rows together.
void CudaBackend::run_single(std::vector<Work>& works) {
  size_t next = 0;
  while (next < works.size()) {
    PassArgs pass;
    std::vector<Work*> in_pass;
    for (; next < works.size(); ++next) {
      Work& work = works[next];
      if (work.done()) continue;
      if (work.segment->cancel.requested()) {
        give_up(work);
        continue;
      }
      const auto count = static_cast<int32_t>(work.segment->tokens.size()) - static_cast<int32_t>(work.fed);
      if (pass.rows + count > kMaxRows) break;
      const bool tentative = work.segment->tentative;
      const auto position = static_cast<int32_t>(work.state->position() + work.fed);
      ItemArgs& item = pass.item[pass.items];
      item.found = work.state->found();
      item.left = tentative ? nullptr : work.state->make_left();
      item.keep = tentative ? work.state->keep() : nullptr;
      item.first = pass.rows;
      item.count = count;
      item.position = position;
      for (int32_t t = 0; t < count; ++t) {
        RowArgs& row = pass.row[pass.rows++];
        row.token = work.segment->tokens[static_cast<size_t>(work.fed + t)];
        row.position = position + t;
        row.item = pass.items;
        row.first_position = position;
        row.logits = work.logits_of(work.fed + t);
        row.kv = work.state->kv_table();
      }
      ++pass.items;
      in_pass.push_back(&work);
    }
    if (in_pass.empty()) return;
    decoder_.run(pass);
    for (Work* work : in_pass) {
      work->fed = static_cast<int64_t>(work->segment->tokens.size());
      if (!work->segment->tentative) work->state->moved();
    }
  }
}

const float* CudaBackend::row_of(const RowPick& ask) const {
  check_pick(ask, model_.config);
  return mine(*ask.state).row(ask.row);
}

void CudaBackend::candidates(std::span<const RowPick> asks, std::span<Candidates> answers) {
  PROSA_CHECK(asks.size() == answers.size());
  std::vector<const float*> rows;
  for (const RowPick& ask : asks) rows.push_back(row_of(ask));
  picker_.pick(asks, rows, answers);
}

void CudaBackend::logits(const State& state, int64_t row, std::span<float> out) {
  PROSA_CHECK(static_cast<int64_t>(out.size()) == shape_.vocab);
  check_row(state, row);
  const float* const from = mine(state).row(row);
  device_->use();
  device_->copy(out.data(), from, static_cast<int64_t>(out.size_bytes()));
  device_->finish();
}

void CudaBackend::set_row(State& state, std::span<const float> logits) {
  PROSA_CHECK(static_cast<int64_t>(logits.size()) == shape_.vocab);
  CudaState& own = mine(state);
  device_->use();
  own.make_rows(1);
  own.take_rows();
  device_->copy(own.row(0), logits.data(), static_cast<int64_t>(logits.size_bytes()));
  own.set_rows(1);
}

void CudaBackend::commit(State& state, int64_t n) {
  CudaState& own = mine(state);
  check_commit(own, n);
  if (n > 0) {
    device_->use();
    const std::lock_guard lock(mutex_);
    PassArgs pass;
    pass.items = 1;
    pass.item[0] = {
        own.found(), own.make_left(), own.keep(), 0, static_cast<int32_t>(n), static_cast<int32_t>(own.position()), 0};
    decoder_.replay(pass);
    own.moved();
    own.set_position(own.position() + n);
  }
  own.set_pending(0);
}

std::unique_ptr<Snapshot> CudaBackend::snapshot(const State& state, Place place) {
  const CudaState& own = mine(state);
  check_snapshot(own);
  return std::make_unique<CudaSnapshot>(own, place);
}

void CudaBackend::restore(State& state, const Snapshot& snapshot) {
  const auto* const own = dynamic_cast<const CudaSnapshot*>(&snapshot);
  if (own == nullptr || !own->fits(shape_)) refuse("the snapshot is of another backend or model", "restore");
  own->restore(mine(state));
}

std::unique_ptr<Snapshot> CudaBackend::read_snapshot(int64_t position, const FindPart& find, const Snapshot* longer) {
  return std::make_unique<CudaSnapshot>(device_, shape_, position, find, dynamic_cast<const CudaSnapshot*>(longer));
}

}  // namespace

std::unique_ptr<Backend> make_module_backend(std::shared_ptr<const Weights> weights, const BackendOptions& options) {
  return std::make_unique<CudaBackend>(std::move(weights), options);
}

}  // namespace prosa::backend::cuda
