// Whether the embedding is the model's head, too: decided as transformers 5.17 decides it.
//
// config.json can say it in two places and the files can hold a head or not. Invariant: no statement is passed over in
// silence; where two disagree, a warning says which one counts.
#pragma once

#include "checkpoint/tensor_set.h"
#include "model/weights.h"

namespace prosa::checkpoint {

/// Binds embed_tokens and lm_head (the same view when tied), sets config.tie_word_embeddings to what was found, and
/// adds to config.warnings. Error(not_found): a head is missing that nothing allows to be; those of
/// TensorSet::matrix().
void bind_embedding_and_head(const TensorSet& set, Weights& weights);

}  // namespace prosa::checkpoint
