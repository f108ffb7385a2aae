// XXH3 comes from its header, inline: nothing to link.
#include "base/keyed_hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/random.h"

namespace prosa {

const HashKey& HashKey::of_process() {
  static const HashKey key{.add = random_number(), .times = random_number() | 1U};
  return key;
}

uint64_t keyed_hash(std::string_view text, const HashKey& key) noexcept {
  return XXH3_64bits_withSeed(text.data(), text.size(), key.add);
}

}  // namespace prosa
