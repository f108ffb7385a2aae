// The table of statements and tensors. A stored head whose values differ from the embedding's always counts.
#include "checkpoint/tied_head.h"

#include <cstring>
#include <string>

#include "model/for_each_matrix.h"
#include "prosa/error.h"

namespace prosa::checkpoint {

namespace {

constexpr const char* kHead = "lm_head";
constexpr const char* kEmbedding = "embed_tokens";
constexpr const char* kKey = "tie_word_embeddings";

/// The very bytes: the same numbers in another format count as another head.
bool same_values(const Matrix& a, const Matrix& b) {
  if (a.format != b.format) return false;
  const auto equal = [](const std::byte* left, const std::byte* right, int64_t bytes) {
    return left == right || std::memcmp(left, right, static_cast<size_t>(bytes)) == 0;
  };
  const auto values = a.rows * a.format.row_bytes(a.cols);
  const auto scales = a.rows * a.groups() * a.format.scale_bytes();
  return equal(a.data, b.data, values) && equal(a.scales, b.scales, scales) &&
         (!a.format.has_biases() || equal(a.biases, b.biases, scales));
}

std::string statement(const std::optional<bool>& flag) { return flag ? (*flag ? "true" : "false") : "not set"; }

/// "tie_word_embeddings is true at the root and false in text_config", as far as there are two places.
std::string statements(const ModelConfig::Tying& tying) {
  const std::string root = std::string(kKey) + " is " + statement(tying.root);
  if (!tying.text) return root;
  return root + " at the root and " + statement(tying.text) + " in text_config";
}

[[noreturn]] void fail_no_head(const TensorSet& set, const ModelConfig& config) {
  throw Error(ErrorCode::not_found,
              "the tensor 'lm_head.weight' is missing, and config.json does not say that the embedding is the head (" +
                  statements(config.tying) + ")",
              set.folder(),
              std::string("if the model ties the two, set ") + kKey +
                  " to true at the top level of config.json; else the download is incomplete");
}

}  // namespace

void bind_embedding_and_head(const TensorSet& set, Weights& weights) {
  ModelConfig& config = weights.config;
  const ModelConfig::Tying& tying = config.tying;
  const MatrixDims dims = matrix_dims(config, MatrixRole::embed_tokens);
  const auto warn = [&](const std::string& what) {
    config.warnings.push_back(set.folder() + ": " + statements(tying) + ", " + what);
  };
  const bool disagree = tying.root && tying.text && *tying.root != *tying.text;
  const bool by_config = tying.root.value_or(false);  // transformers' class says false where the file says nothing
  const bool by_anyone = by_config || tying.text.value_or(false);

  const auto has = [&](const char* module) { return set.has(std::string(module) + ".weight"); };
  // One of the two suffices when they are tied, whichever it is.
  const bool embedding_by_head = by_anyone && !has(kEmbedding) && has(kHead);
  weights.embed_tokens = set.matrix(embedding_by_head ? kHead : kEmbedding, dims.rows, dims.cols);
  weights.lm_head = weights.embed_tokens;
  config.tie_word_embeddings = true;
  if (embedding_by_head) return;

  if (!has(kHead)) {
    if (!by_anyone) fail_no_head(set, config);
    if (disagree) warn("and no lm_head is stored: the embedding is the head");
    return;
  }
  Matrix head = set.matrix(kHead, dims.rows, dims.cols);
  // Equal values need no second copy in memory, but only where somebody says that they are one.
  if (by_anyone && same_values(head, weights.embed_tokens)) return;
  config.tie_word_embeddings = false;
  weights.lm_head = std::move(head);
  if (by_anyone) warn("but a lm_head is stored that differs from the embedding: it is the head");
}

}  // namespace prosa::checkpoint
