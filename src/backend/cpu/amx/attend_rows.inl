// Attention on the tile unit: what the two forms of the KV cache share.
//
// Included inside the ISA's namespace, after generic/attend.inl. Query rows stand in tiles of 16; those behind the last
// are zeros that see nothing. Invariant: all but the sums of products is done by the functions of generic/attend.inl,
// so every row has the bits that the vector kernels give it.

inline constexpr int64_t kTileRows16 = 16;  // query rows of a tile
inline constexpr int64_t kMaxHeadDim = 256;
inline constexpr int64_t kMinTileRows = 9;  // so few, the vector kernels take less time than a tile
static_assert(kAttendRows % kTileRows16 == 0);

// Steps whose weighted values enter the sums together: these are in registers then, once for all of them.
inline constexpr int64_t kStepsTogether = 2;
static_assert(kStepsTogether * kStep == kKvSpan);  // they lie in one block

template <typename Kv>
struct TiledRows {
  AttendRows<Kv> rows;
  typename Kv::Number* queries;  // [count * 16, head_dim], in the scratch
  int64_t limits[kAttendRows];   // 0: not there
  int64_t count;                 // of tiles

  explicit TiledRows(const AttendArgs& a)
      : queries(reinterpret_cast<typename Kv::Number*>(a.scratch + kAttendRows * a.kv.head_dim)),
        limits{},
        count((a.rows + kTileRows16 - 1) / kTileRows16) {
    const int64_t dim = a.kv.head_dim;
    rows.limits = limits;
    rows.queries = queries;
    rows.sums = a.scratch;  // [head_dim / 16][count][16 rows][16]
    for (int64_t r = 0; r < count * kTileRows16; ++r) {
      rows.top[r] = -1e30F;
      rows.total[r] = 0;
      rows.query_scale[r] = 0;
      if (r < a.rows) {
        limits[r] = a.limits[r];
        rows.query_scale[r] = Kv::query_numbers(a.q[r], dim, queries + r * dim);
      } else {
        std::fill_n(queries + r * dim, dim, typename Kv::Number{0});
      }
    }
    std::fill_n(rows.sums, count * kTileRows16 * dim, 0.0F);
  }

  void finish(const AttendArgs& a) const {
    for (int64_t r = 0; r < a.rows; ++r) {
      const F scale = set1(inverse_total(a, rows, r));
      for (int64_t d = 0; d < a.kv.head_dim; d += 16)
        store(a.out[r] + d, load(rows.sums + d * count * kTileRows16 + r * 16) * scale);
    }
  }
};
