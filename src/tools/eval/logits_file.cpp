// The layout: metadata {format, version, model, input}, tensors "codes" U16 [rows, vocab], "steps" F32 [rows],
// "checksums" U64 [rows]. A logit is its row's largest minus code * step; code 0 is the largest alone, so that the
// likeliest token stays the likeliest. Logits more than kDepth below count as kDepth below. A checksum covers the
// metadata, the row's number, its step and its codes.
#include "tools/eval/logits_file.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include <fmt/format.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/check.h"
#include "base/thread_pool.h"
#include "format/safetensors.h"
#include "format/safetensors_writer.h"
#include "prosa/error.h"

namespace prosa::eval {
namespace {

using format::SafetensorsFile;
using format::SafetensorsWriter;
using format::TensorEntry;
using format::TensorType;
using Metadata = std::map<std::string, std::string>;

static_assert(std::endian::native == std::endian::little);

constexpr const char* kFormat = "prosa logits";
constexpr const char* kVersion = "1";
constexpr float kDepth = 48;        // nats; e^-48 of 250,000 tokens together is nothing
constexpr float kLastCode = 65535;  // of 16 bits

/// Names the tokens and which of them are scored.
std::string input_hash(std::span<const Document> documents, const WindowPlan& plan) {
  XXH3_state_t state;
  XXH3_64bits_reset(&state);
  for (const Window& window : plan.windows) {
    const int64_t length = window.end - window.begin, first = window.first_scored - window.begin;
    XXH3_64bits_update(&state, &length, sizeof length);
    XXH3_64bits_update(&state, &first, sizeof first);
    const auto* tokens = documents[static_cast<size_t>(window.document)].tokens.data() + window.begin;
    XXH3_64bits_update(&state, tokens, static_cast<size_t>(length) * sizeof *tokens);
  }
  return fmt::format("{:016x}", XXH3_64bits_digest(&state));
}

uint64_t hash_of(const Metadata& metadata) {
  std::string text;
  for (const auto& [key, value] : metadata) text += fmt::format("{}:{}{}:{}", key.size(), key, value.size(), value);
  return XXH3_64bits(text.data(), text.size());
}

uint64_t row_checksum(uint64_t metadata, int64_t row, float step, const void* codes, size_t bytes) {
  const std::array<uint64_t, 3> parts = {static_cast<uint64_t>(row), std::bit_cast<uint32_t>(step),
                                         XXH3_64bits(codes, bytes)};
  return XXH3_64bits_withSeed(parts.data(), sizeof parts, metadata);
}

/// Returns the step. logits [vocab] finite, codes [vocab].
float encode(std::span<const float> logits, std::span<uint16_t> codes) {
  const auto top = std::ranges::max_element(logits);  // the first of equals
  const float largest = *top;
  const float depth = std::min(largest - std::ranges::min(logits), kDepth);
  const float step = depth > 0 ? depth / kLastCode : 1.0F;
  const float scale = 1.0F / step;
  for (size_t i = 0; i < logits.size(); ++i) {
    const float below = std::min((largest - logits[i]) * scale, kLastCode);
    codes[i] = static_cast<uint16_t>(std::max(below, 1.0F) + 0.5F);
  }
  codes[static_cast<size_t>(top - logits.begin())] = 0;
  return step;
}

class Writer final : public LogitSink {
 public:
  Writer(std::filesystem::path path, std::string model) : path_(std::move(path)), model_(std::move(model)) {}

  void begin(int64_t vocab, std::span<const Document> documents, const WindowPlan& plan,
             const WindowOptions& /*options*/) override {
    const Metadata metadata = {
        {"format", kFormat}, {"version", kVersion}, {"model", model_}, {"input", input_hash(documents, plan)}};
    metadata_ = hash_of(metadata);
    writer_.emplace(path_,
                    std::vector<format::TensorSpec>{{"codes", TensorType::u16, {plan.scored, vocab}},
                                                    {"steps", TensorType::f32, {plan.scored}},
                                                    {"checksums", TensorType::u64, {plan.scored}}},
                    metadata);
  }

  void add(std::span<const float> logits, int64_t vocab, ThreadPool& pool) override {
    const auto width = static_cast<size_t>(vocab);
    const auto rows = static_cast<int64_t>(logits.size() / width);
    codes_.resize(logits.size());
    steps_.resize(static_cast<size_t>(rows));
    checksums_.resize(static_cast<size_t>(rows));
    pool.run([&](int worker) {
      const Range mine = share(rows, worker, pool.size());
      for (int64_t row = mine.begin; row < mine.end; ++row) {
        const auto at = static_cast<size_t>(row);
        const std::span<uint16_t> codes = std::span(codes_).subspan(at * width, width);
        steps_[at] = encode(logits.subspan(at * width, width), codes);
        checksums_[at] = row_checksum(metadata_, done_ + row, steps_[at], codes.data(), codes.size_bytes());
      }
    });
    const auto before = static_cast<uint64_t>(done_);
    writer_->write(0, before * static_cast<uint64_t>(vocab) * sizeof(uint16_t), std::as_bytes(std::span(codes_)));
    writer_->write(1, before * sizeof(float), std::as_bytes(std::span(steps_)));
    writer_->write(2, before * sizeof(uint64_t), std::as_bytes(std::span(checksums_)));
    done_ += rows;
  }

  void end() override { writer_->commit(); }

 private:
  std::filesystem::path path_;
  std::string model_;
  uint64_t metadata_ = 0;
  std::optional<SafetensorsWriter> writer_;
  std::vector<uint16_t> codes_;      // of one piece
  std::vector<float> steps_;         // the same
  std::vector<uint64_t> checksums_;  // the same
  int64_t done_ = 0;                 // rows
};

[[noreturn]] void refuse(const std::filesystem::path& path, std::string what) {
  throw Error(ErrorCode::bad_checkpoint, std::move(what), path.string(), "save the logits again with --save-logits");
}

class Source final : public LogitSource {
 public:
  explicit Source(const std::filesystem::path& path) : file_(open(path)) {
    const auto is = [&](const char* key, const char* value) {
      const auto entry = file_.metadata().find(key);
      return entry != file_.metadata().end() && entry->second == value;
    };
    if (!is("format", kFormat)) refuse(path, "is no file of logits");
    if (!is("version", kVersion)) refuse(path, "was written by another version");
    const TensorEntry& codes = tensor("codes", TensorType::u16, 2);
    rows_ = codes.shape[0];
    vocab_ = codes.shape[1];
    if (tensor("steps", TensorType::f32, 1).shape[0] != rows_ ||
        tensor("checksums", TensorType::u64, 1).shape[0] != rows_) {
      refuse(path, "has tensors that do not fit together");
    }
    codes_ = file_.data(codes);
    steps_ = file_.data(*file_.find("steps"));
    checksums_ = file_.data(*file_.find("checksums"));
    metadata_ = hash_of(file_.metadata());
  }

  [[nodiscard]] int64_t vocab() const noexcept override { return vocab_; }
  [[nodiscard]] int threads() const noexcept override { return 1; }

  void begin(std::span<const Document> documents, const WindowPlan& plan, const WindowOptions& /*options*/) override {
    const auto input = file_.metadata().find("input");
    if (input == file_.metadata().end() || input->second != input_hash(documents, plan) || rows_ != plan.scored) {
      throw Error(ErrorCode::invalid_argument, "was saved for another text, tokenizer or other windows",
                  file_.path().string(), "give the text and the options it was saved with, or save it again");
    }
  }
  void begin_window(const Window& /*window*/) override {}
  void feed(std::span<const int32_t> /*tokens*/, const std::atomic<bool>* /*cancel*/) override {}

  void score(std::span<const int32_t> tokens, std::span<float> logits, ThreadPool& pool,
             const std::atomic<bool>* cancel) override {
    if (cancel != nullptr && *cancel) throw Error(ErrorCode::cancelled, "the evaluation was cancelled", "eval");
    const auto rows = static_cast<int64_t>(tokens.size());
    PROSA_CHECK(done_ + rows <= rows_ && static_cast<int64_t>(logits.size()) == rows * vocab_);
    std::atomic<bool> damaged = false;
    pool.run([&](int worker) {
      const Range mine = share(rows, worker, pool.size());
      for (int64_t row = mine.begin; row < mine.end; ++row) {
        const auto width = static_cast<size_t>(vocab_);
        if (!decode(done_ + row, logits.subspan(static_cast<size_t>(row) * width, width))) damaged = true;
      }
    });
    file_.require_intact();
    if (damaged) refuse(file_.path(), "is damaged: a checksum does not match");
    done_ += rows;
  }

 private:
  static SafetensorsFile open(const std::filesystem::path& path) {
    try {
      return SafetensorsFile::open(path);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::bad_checkpoint && error.code() != ErrorCode::unsupported) throw;
      refuse(path, "is damaged, cut off, or no file of logits: " + error.message());
    }
  }

  const TensorEntry& tensor(const char* name, TensorType type, size_t dimensions) const {
    const TensorEntry* entry = file_.find(name);
    if (entry == nullptr || entry->type != type || entry->shape.size() != dimensions) {
      refuse(file_.path(), fmt::format("has no tensor {} of the right form", name));
    }
    return *entry;
  }

  /// False: the row is not what was written.
  bool decode(int64_t row, std::span<float> logits) const {
    float step = 0;
    uint64_t expected = 0;
    std::memcpy(&step, steps_.data() + static_cast<size_t>(row) * sizeof step, sizeof step);
    std::memcpy(&expected, checksums_.data() + static_cast<size_t>(row) * sizeof expected, sizeof expected);
    const size_t bytes = logits.size() * sizeof(uint16_t);
    const std::byte* codes = codes_.data() + static_cast<size_t>(row) * bytes;
    if (row_checksum(metadata_, row, step, codes, bytes) != expected) return false;
    for (size_t i = 0; i < logits.size(); ++i) {
      uint16_t code = 0;
      std::memcpy(&code, codes + i * sizeof code, sizeof code);  // tensors may lie unaligned
      logits[i] = -step * static_cast<float>(code);
    }
    return true;
  }

  SafetensorsFile file_;
  int64_t rows_ = 0, vocab_ = 0;
  std::span<const std::byte> codes_, steps_, checksums_;
  uint64_t metadata_ = 0;
  int64_t done_ = 0;  // rows
};

}  // namespace

std::unique_ptr<LogitSink> make_logits_writer(std::filesystem::path path, std::string model_name) {
  return std::make_unique<Writer>(std::move(path), std::move(model_name));
}

int64_t logits_file_bytes(int64_t scored, int64_t vocab) {
  return scored * (vocab * static_cast<int64_t>(sizeof(uint16_t)) + static_cast<int64_t>(sizeof(float)) +
                   static_cast<int64_t>(sizeof(uint64_t)));
}

std::unique_ptr<LogitSource> open_logits_file(const std::filesystem::path& path) {
  return std::make_unique<Source>(path);
}

}  // namespace prosa::eval
