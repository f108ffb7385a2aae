// The gated delta rule of one value head, token by token (decode) and in chunks (prefill).
//
// Included inside an ISA's namespace. Formulas, S [key_dim, value_dim] (design: arXiv:2412.06464, Gated DeltaNet):
//   step:   S <- exp(g) S;  d = beta (v - S^T k);  S <- S + k d^T;  o = S^T q
//   chunk:  with G_t = g_1 + … + g_t and S0 the state before the chunk,
//           A[t][j] = beta_t exp(G_t - G_j) k_t.k_j  (j < t)      P[t][j] = exp(G_t - G_j) q_t.k_j  (j <= t)
//           u_t = beta_t (v_t - exp(G_t) S0^T k_t) - sum_{j<t} A[t][j] u_j          (forward substitution)
//           o_t = exp(G_t) S0^T q_t + sum_{j<=t} P[t][j] u_j
//           S   = exp(G_C) S0 + sum_j exp(G_C - G_j) k_j u_j^T
// The state lies in blocks of 16 value columns, [key_dim][16] each: a block stays in the first-level cache for the
// whole step or chunk, so the state is read from and written to memory once.
//
// A decay below 2^-64 is 0. What it would leave is nothing beside a new token, nor beside the epsilon of the norm
// behind the rule; and times a state it would be a subnormal number, which processors multiply a hundred times as
// slowly. Their mode that rounds such numbers to 0 would do as well, but it belongs to the caller's threads.

inline constexpr float kLeastDecay = 0x1p-64F;

inline F decay_of(F log_decay) {
  const F decay = exp_of(log_decay);
  return decay - below(decay, set1(kLeastDecay));
}
inline float decay_of(float log_decay) {
  const float decay = std::exp(log_decay);
  return decay <= kLeastDecay ? 0.0F : decay;
}

template <int N>
inline void delta_step_blocks(const DeltaArgs& a, int64_t block, F decay, F beta) {
  float* state[N];
  F memory[N];
  for (int b = 0; b < N; ++b) {
    state[b] = a.state + (block + b) * a.key_dim * 16;
    memory[b] = zero();
  }
  for (int64_t i = 0; i < a.key_dim; ++i) {
    const F k = set1(a.k[i]);
    for (int b = 0; b < N; ++b) memory[b] = fma(load(state[b] + i * 16), k, memory[b]);
  }
  F delta[N];
  F out[N];
  for (int b = 0; b < N; ++b) {
    delta[b] = beta * (load(a.v + (block + b) * 16) - decay * memory[b]);
    out[b] = zero();
  }
  for (int64_t i = 0; i < a.key_dim; ++i) {
    const F k = set1(a.k[i]);
    const F q = set1(a.q[i]);
    for (int b = 0; b < N; ++b) {
      __builtin_prefetch(state[b] + (N * a.key_dim + i) * 16, 1);  // the next N blocks, or the next head's first
      const F s = fma(k, delta[b], load(state[b] + i * 16) * decay);
      store(state[b] + i * 16, s);
      out[b] = fma(s, q, out[b]);
    }
  }
  for (int b = 0; b < N; ++b) store(a.out + (block + b) * 16, out[b]);
}

inline void delta_step(const DeltaArgs& args) {
  const F decay = set1(decay_of(args.log_decay[0]));
  const F beta = set1(args.beta[0]);
  const int64_t blocks = args.value_dim / 16;
  int64_t block = 0;
  for (; block + 4 <= blocks; block += 4) delta_step_blocks<4>(args, block, decay, beta);
  for (; block < blocks; ++block) delta_step_blocks<1>(args, block, decay, beta);
}

// What all value blocks of a chunk share. `Dim` below is key_dim where it is known to the compiler, or 0: then rows are
// found by address arithmetic on the way.
struct DeltaChunk {
  int64_t tokens;
  float* k;       // [kDeltaChunk][key_dim]
  float* q;       // [kDeltaChunk][key_dim]
  float* keys;    // [key_dim][kDeltaChunk]: k transposed
  float* a;       // [tokens][kDeltaChunk]: A, valid below the diagonal
  float* p;       // [tokens][kDeltaChunk]: P, valid up to the diagonal
  float* total;   // [kDeltaChunk]: G
  float* growth;  // [kDeltaChunk]: exp(G)
  float* left;    // [kDeltaChunk]: exp(G_C - G)
};

inline void chunk_gates(const DeltaArgs& args, DeltaChunk& chunk) {
  float total = 0;
  for (int64_t t = 0; t < kDeltaChunk; ++t) {
    if (t < chunk.tokens) total += args.log_decay[t * args.ld_gate];
    chunk.total[t] = total;
  }
  for (int64_t t = 0; t < kDeltaChunk; t += 16) {
    store(chunk.growth + t, decay_of(load(chunk.total + t)));
    store(chunk.left + t, decay_of(set1(total) - load(chunk.total + t)));
  }
}

// Rows one behind the other: from the pass's wide rows every broadcast would need a register for its address.
inline void chunk_rows(const DeltaArgs& args, DeltaChunk& chunk) {
  for (int64_t t = 0; t < chunk.tokens; ++t) {
    const float* k = args.k + t * args.ld;
    const float* q = args.q + t * args.ld;
    for (int64_t i = 0; i < args.key_dim; i += 16) {
      store(chunk.k + t * args.key_dim + i, load(k + i));
      store(chunk.q + t * args.key_dim + i, load(q + i));
    }
    for (int64_t i = 0; i < args.key_dim; ++i) chunk.keys[i * kDeltaChunk + t] = k[i];
  }
  const int64_t live = (chunk.tokens + 15) / 16 * 16;
  for (int64_t t = chunk.tokens; t < live; ++t) {
    for (int64_t i = 0; i < args.key_dim; ++i) chunk.keys[i * kDeltaChunk + t] = 0;
  }
}

// A and P of T tokens, with the keys of the first 16 * V.
template <int T, int V, int64_t Dim>
__attribute__((noinline)) void chunk_product_rows(const DeltaArgs& args, const DeltaChunk& chunk, int64_t token) {
  const int64_t dim = Dim > 0 ? Dim : args.key_dim;
  F kk[T][V];
  F qk[T][V];
  each<T * V>([&]<int n>() PROSA_INLINE { kk[n / V][n % V] = qk[n / V][n % V] = zero(); });
  const float* k = chunk.k + token * dim;
  const float* q = chunk.q + token * dim;
  const float* keys = chunk.keys;
  for (int64_t i = 0; i < dim; ++i, ++k, ++q, keys += kDeltaChunk) {
    F key[V];
    each<V>([&]<int v>() PROSA_INLINE { key[v] = load(keys + v * 16); });
    each<T>([&]<int t>() PROSA_INLINE {
      const F kt = set1(k[t * dim]);
      const F qt = set1(q[t * dim]);
      each<V>([&]<int v>() PROSA_INLINE {
        kk[t][v] = fma(key[v], kt, kk[t][v]);
        qk[t][v] = fma(key[v], qt, qk[t][v]);
      });
    });
  }
  each<T>([&]<int t>() PROSA_INLINE {
    const int64_t row = (token + t) * kDeltaChunk;
    const F beta = set1(args.beta[(token + t) * args.ld_gate]);
    each<V>([&]<int v>() PROSA_INLINE {
      const F ratio = decay_of(set1(chunk.total[token + t]) - load(chunk.total + v * 16));
      store(chunk.a + row + v * 16, beta * ratio * kk[t][v]);
      store(chunk.p + row + v * 16, ratio * qk[t][v]);
    });
  });
}

template <int64_t Dim>
inline void chunk_products(const DeltaArgs& args, const DeltaChunk& chunk) {
  static_assert(kDeltaChunk == 32);
  int64_t token = 0;
  for (; token + 4 <= std::min<int64_t>(chunk.tokens, 16); token += 4)
    chunk_product_rows<4, 1, Dim>(args, chunk, token);
  for (; token < std::min<int64_t>(chunk.tokens, 16); ++token) chunk_product_rows<1, 1, Dim>(args, chunk, token);
  for (; token + 2 <= chunk.tokens; token += 2) chunk_product_rows<2, 2, Dim>(args, chunk, token);
  for (; token < chunk.tokens; ++token) chunk_product_rows<1, 2, Dim>(args, chunk, token);
}

// S0^T k_t and S0^T q_t of T tokens and one value block.
template <int T, int64_t Dim>
__attribute__((noinline)) void chunk_from_state(const DeltaArgs& args, const DeltaChunk& chunk, const float* state,
                                                int64_t token, float* from_k, float* from_q) {
  const int64_t dim = Dim > 0 ? Dim : args.key_dim;
  F k[T];
  F q[T];
  each<T>([&]<int t>() PROSA_INLINE { k[t] = q[t] = zero(); });
  const float* key = chunk.k + token * dim;
  const float* query = chunk.q + token * dim;
  for (int64_t i = 0; i < dim; ++i, ++key, ++query) {
    const F s = load(state + i * 16);
    each<T>([&]<int t>() PROSA_INLINE {
      k[t] = fma(s, set1(key[t * dim]), k[t]);
      q[t] = fma(s, set1(query[t * dim]), q[t]);
    });
  }
  each<T>([&]<int t>() PROSA_INLINE {
    store(from_k + (token + t) * 16, k[t]);
    store(from_q + (token + t) * 16, q[t]);
  });
}

// Forward substitution and outputs of N value blocks, whose chains of additions run beside each other; u
// [N][tokens][16] replaces from_k.
template <int N>
__attribute__((noinline)) void chunk_solve(const DeltaArgs& args, const DeltaChunk& chunk, int64_t block, float* u,
                                           const float* from_q) {
  constexpr int64_t kBlock = kDeltaChunk * 16;
  for (int64_t t = 0; t < chunk.tokens; ++t) {
    const float* a = chunk.a + t * kDeltaChunk;
    const float* p = chunk.p + t * kDeltaChunk;
    const F growth = set1(chunk.growth[t]);
    const F beta = set1(args.beta[t * args.ld_gate]);
    F even[N];
    F odd[N];
    F out[N];
    each<N>([&]<int b>() PROSA_INLINE {
      even[b] = odd[b] = zero();
      out[b] = growth * load(from_q + b * kBlock + t * 16);
    });
    int64_t j = 0;
    for (; j + 2 <= t; j += 2) {
      const float* uj = u + j * 16;
      each<N>([&]<int b>() PROSA_INLINE {
        const F u0 = load(uj + b * kBlock);
        const F u1 = load(uj + b * kBlock + 16);
        even[b] = fma(set1(a[j]), u0, even[b]);
        odd[b] = fma(set1(a[j + 1]), u1, odd[b]);
        out[b] = fma(set1(p[j]), u0, out[b]);
        out[b] = fma(set1(p[j + 1]), u1, out[b]);
      });
    }
    each<N>([&]<int b>() PROSA_INLINE {
      float* mine = u + b * kBlock + t * 16;
      if (j < t) {
        const F u0 = load(u + b * kBlock + j * 16);
        even[b] = fma(set1(a[j]), u0, even[b]);
        out[b] = fma(set1(p[j]), u0, out[b]);
      }
      const int64_t column = (block + b) * 16;
      const F value = load(args.v + t * args.ld + column);
      const F ut = beta * (value - growth * load(mine)) - (even[b] + odd[b]);
      store(mine, ut);
      store(args.out + t * args.ld_out + column, fma(set1(p[t]), ut, out[b]));
    });
  }
}

// S of N keys; `u` is already decayed to the end of the chunk.
template <int N, int64_t Dim>
__attribute__((noinline)) void chunk_update_rows(const DeltaArgs& args, const DeltaChunk& chunk, float* state,
                                                 int64_t row, const float* u, F growth) {
  const int64_t dim = Dim > 0 ? Dim : args.key_dim;
  F s[N];
  each<N>([&]<int r>() PROSA_INLINE { s[r] = load(state + (row + r) * 16) * growth; });
  const float* k = chunk.k + row;
  for (int64_t j = 0; j < chunk.tokens; ++j, k += dim) {
    const F uj = load(u + j * 16);
    each<N>([&]<int r>() PROSA_INLINE { s[r] = fma(set1(k[r]), uj, s[r]); });
  }
  each<N>([&]<int r>() PROSA_INLINE { store(state + (row + r) * 16, s[r]); });
}

template <int N, int64_t Dim>
inline void chunk_blocks(const DeltaArgs& args, const DeltaChunk& chunk, int64_t block, float* u, float* from_q) {
  const int64_t state_block = args.key_dim * 16;
  for (int64_t b = 0; b < N; ++b) {
    const float* state = args.state + (block + b) * state_block;
    float* from_k = u + b * kDeltaChunk * 16;
    float* from = from_q + b * kDeltaChunk * 16;
    int64_t token = 0;
    for (; token + kTokenTile <= args.tokens; token += kTokenTile)
      chunk_from_state<kTokenTile, Dim>(args, chunk, state, token, from_k, from);
    if constexpr (kTokenTile > 4) {
      for (; token + 4 <= args.tokens; token += 4) chunk_from_state<4, Dim>(args, chunk, state, token, from_k, from);
    }
    for (; token < args.tokens; ++token) chunk_from_state<1, Dim>(args, chunk, state, token, from_k, from);
  }
  chunk_solve<N>(args, chunk, block, u, from_q);
  const F growth = set1(chunk.growth[kDeltaChunk - 1]);
  for (int64_t b = 0; b < N; ++b) {
    float* mine = u + b * kDeltaChunk * 16;
    for (int64_t t = 0; t < chunk.tokens; ++t) store(mine + t * 16, load(mine + t * 16) * set1(chunk.left[t]));
    float* state = args.state + (block + b) * state_block;
    for (int64_t row = 0; row < args.key_dim; row += 8)
      chunk_update_rows<8, Dim>(args, chunk, state, row, mine, growth);
  }
}

template <int64_t Dim>
inline void chunk_of_dim(const DeltaArgs& args, const DeltaChunk& chunk, float* u, float* from_q) {
  chunk_products<Dim>(args, chunk);
  const int64_t blocks = args.value_dim / 16;
  int64_t block = 0;
  for (; block + 2 <= blocks; block += 2) chunk_blocks<2, Dim>(args, chunk, block, u, from_q);
  for (; block < blocks; ++block) chunk_blocks<1, Dim>(args, chunk, block, u, from_q);
}

inline void delta_chunk(const DeltaArgs& args) {
  float* at = args.scratch;
  const auto take = [&](int64_t floats) { return std::exchange(at, at + floats); };
  DeltaChunk chunk{};
  chunk.tokens = args.tokens;
  chunk.k = take(kDeltaChunk * args.key_dim);
  chunk.q = take(kDeltaChunk * args.key_dim);
  chunk.keys = take(kDeltaChunk * args.key_dim);
  chunk.a = take(kDeltaChunk * kDeltaChunk);
  chunk.p = take(kDeltaChunk * kDeltaChunk);
  chunk.total = take(kDeltaChunk);
  chunk.growth = take(kDeltaChunk);
  chunk.left = take(kDeltaChunk);
  float* u = take(2 * kDeltaChunk * 16);
  float* from_q = take(2 * kDeltaChunk * 16);
  chunk_gates(args, chunk);
  chunk_rows(args, chunk);
  if (args.key_dim == 128)
    chunk_of_dim<128>(args, chunk, u, from_q);
  else
    chunk_of_dim<0>(args, chunk, u, from_q);
}
