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
  const F decay = set1(std::exp(args.log_decay[0]));
  const F beta = set1(args.beta[0]);
  const int64_t blocks = args.value_dim / 16;
  int64_t block = 0;
  for (; block + 4 <= blocks; block += 4) delta_step_blocks<4>(args, block, decay, beta);
  for (; block < blocks; ++block) delta_step_blocks<1>(args, block, decay, beta);
}

// What all value blocks of a chunk share.
struct DeltaChunk {
  int64_t tokens;
  float* keys;     // [key_dim][kDeltaChunk]: k transposed
  float* decayed;  // [tokens][key_dim]: exp(G_C - G_j) k_j
  float* a;        // [tokens][kDeltaChunk]: A, valid below the diagonal
  float* p;        // [tokens][kDeltaChunk]: P, valid up to the diagonal
  float* total;    // [kDeltaChunk]: G
  float* growth;   // [kDeltaChunk]: exp(G)
};

inline void chunk_gates(const DeltaArgs& args, DeltaChunk& chunk) {
  float total = 0;
  for (int64_t t = 0; t < kDeltaChunk; ++t) {
    if (t < chunk.tokens) total += args.log_decay[t * args.ld_gate];
    chunk.total[t] = total;
  }
  for (int64_t t = 0; t < kDeltaChunk; t += 16) store(chunk.growth + t, exp_of(load(chunk.total + t)));
}

inline void chunk_keys(const DeltaArgs& args, DeltaChunk& chunk) {
  const float last = chunk.total[kDeltaChunk - 1];
  for (int64_t t = 0; t < chunk.tokens; ++t) {
    const float* k = args.k + t * args.ld;
    const F factor = set1(std::exp(last - chunk.total[t]));
    for (int64_t i = 0; i < args.key_dim; i += 16) store(chunk.decayed + t * args.key_dim + i, load(k + i) * factor);
    for (int64_t i = 0; i < args.key_dim; ++i) chunk.keys[i * kDeltaChunk + t] = k[i];
  }
  for (int64_t t = chunk.tokens; t < kDeltaChunk; ++t) {
    for (int64_t i = 0; i < args.key_dim; ++i) chunk.keys[i * kDeltaChunk + t] = 0;
  }
}

inline void chunk_products(const DeltaArgs& args, DeltaChunk& chunk) {
  constexpr int kVectors = kDeltaChunk / 16;
  for (int64_t t = 0; t < chunk.tokens; ++t) {
    const float* k = args.k + t * args.ld;
    const float* q = args.q + t * args.ld;
    F kk[kVectors];
    F qk[kVectors];
    for (int j = 0; j < kVectors; ++j) kk[j] = qk[j] = zero();
    for (int64_t i = 0; i < args.key_dim; ++i) {
      const F ki = set1(k[i]);
      const F qi = set1(q[i]);
      for (int j = 0; j < kVectors; ++j) {
        const F key = load(chunk.keys + i * kDeltaChunk + j * 16);
        kk[j] = fma(key, ki, kk[j]);
        qk[j] = fma(key, qi, qk[j]);
      }
    }
    const F beta = set1(args.beta[t * args.ld_gate]);
    for (int j = 0; j < kVectors; ++j) {
      const F ratio = exp_of(set1(chunk.total[t]) - load(chunk.total + j * 16));
      store(chunk.a + t * kDeltaChunk + j * 16, beta * ratio * kk[j]);
      store(chunk.p + t * kDeltaChunk + j * 16, ratio * qk[j]);
    }
  }
}

// S0^T k_t and S0^T q_t of T tokens and one value block.
template <int T>
inline void chunk_from_state(const DeltaArgs& args, const float* state, int64_t token, float* from_k, float* from_q) {
  F k[T];
  F q[T];
  for (int t = 0; t < T; ++t) k[t] = q[t] = zero();
  const float* key = args.k + token * args.ld;
  const float* query = args.q + token * args.ld;
  for (int64_t i = 0; i < args.key_dim; ++i) {
    const F s = load(state + i * 16);
    for (int t = 0; t < T; ++t) {
      k[t] = fma(s, set1(key[t * args.ld + i]), k[t]);
      q[t] = fma(s, set1(query[t * args.ld + i]), q[t]);
    }
  }
  for (int t = 0; t < T; ++t) {
    store(from_k + (token + t) * 16, k[t]);
    store(from_q + (token + t) * 16, q[t]);
  }
}

// Forward substitution and outputs of one value block; u [tokens][16] replaces from_k.
inline void chunk_solve(const DeltaArgs& args, const DeltaChunk& chunk, int64_t block, float* u, const float* from_q) {
  for (int64_t t = 0; t < chunk.tokens; ++t) {
    const float* a = chunk.a + t * kDeltaChunk;
    const float* p = chunk.p + t * kDeltaChunk;
    const F growth = set1(chunk.growth[t]);
    const F beta = set1(args.beta[t * args.ld_gate]);
    F even = zero();
    F odd = zero();
    F out = growth * load(from_q + t * 16);
    int64_t j = 0;
    for (; j + 2 <= t; j += 2) {
      const F u0 = load(u + j * 16);
      const F u1 = load(u + j * 16 + 16);
      even = fma(set1(a[j]), u0, even);
      odd = fma(set1(a[j + 1]), u1, odd);
      out = fma(set1(p[j]), u0, out);
      out = fma(set1(p[j + 1]), u1, out);
    }
    if (j < t) {
      const F u0 = load(u + j * 16);
      even = fma(set1(a[j]), u0, even);
      out = fma(set1(p[j]), u0, out);
    }
    const F value = load(args.v + t * args.ld + block * 16);
    const F mine = beta * (value - growth * load(u + t * 16)) - (even + odd);
    store(u + t * 16, mine);
    store(args.out + t * args.ld_out + block * 16, fma(set1(p[t]), mine, out));
  }
}

template <int N>
inline void chunk_update_rows(const DeltaArgs& args, const DeltaChunk& chunk, float* state, int64_t row, const float* u,
                              F growth) {
  F s[N];
  for (int r = 0; r < N; ++r) s[r] = load(state + (row + r) * 16) * growth;
  for (int64_t j = 0; j < chunk.tokens; ++j) {
    const F uj = load(u + j * 16);
    const float* k = chunk.decayed + j * args.key_dim + row;
    for (int r = 0; r < N; ++r) s[r] = fma(set1(k[r]), uj, s[r]);
  }
  for (int r = 0; r < N; ++r) store(state + (row + r) * 16, s[r]);
}

inline void delta_chunk(const DeltaArgs& args) {
  float* at = args.scratch;
  const auto take = [&](int64_t floats) { return std::exchange(at, at + floats); };
  DeltaChunk chunk{};
  chunk.tokens = args.tokens;
  chunk.keys = take(kDeltaChunk * args.key_dim);
  chunk.decayed = take(kDeltaChunk * args.key_dim);
  chunk.a = take(kDeltaChunk * kDeltaChunk);
  chunk.p = take(kDeltaChunk * kDeltaChunk);
  chunk.total = take(kDeltaChunk);
  chunk.growth = take(kDeltaChunk);
  float* u = take(kDeltaChunk * 16);
  float* from_q = take(kDeltaChunk * 16);
  chunk_gates(args, chunk);
  chunk_keys(args, chunk);
  chunk_products(args, chunk);

  const F growth = set1(chunk.growth[kDeltaChunk - 1]);
  for (int64_t block = 0; block < args.value_dim / 16; ++block) {
    float* state = args.state + block * args.key_dim * 16;
    int64_t token = 0;
    for (; token + kTokenTile <= args.tokens; token += kTokenTile)
      chunk_from_state<kTokenTile>(args, state, token, u, from_q);
    for (; token < args.tokens; ++token) chunk_from_state<1>(args, state, token, u, from_q);
    chunk_solve(args, chunk, block, u, from_q);
    for (int64_t row = 0; row < args.key_dim; row += 8) chunk_update_rows<8>(args, chunk, state, row, u, growth);
  }
}
