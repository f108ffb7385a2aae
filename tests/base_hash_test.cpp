// Keyed hashes: equal keys agree, other keys of the process would not, and what collides under one key does not under
// another.
#include "base/keyed_hash.h"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "base/random.h"

namespace prosa {
namespace {

TEST(KeyedHash, AgreesWithItselfAndDependsOnTheKey) {
  const HashKey& mine = HashKey::of_process();
  EXPECT_EQ(&mine, &HashKey::of_process());
  EXPECT_EQ(mine.times & 1U, 1U);
  const HashKey other{.add = random_number(), .times = random_number() | 1U};
  for (const std::string& text : {std::string(), std::string("a"), std::string(17, 'b'), std::string(1000, 'c')}) {
    EXPECT_EQ(keyed_hash(text, mine), keyed_hash(std::string(text), mine));
    EXPECT_NE(keyed_hash(text, mine), keyed_hash(text, other));
  }
  EXPECT_NE(keyed_hash(uint64_t{7}, mine), keyed_hash(uint64_t{7}, other));
}

TEST(KeyedHash, NumbersThatCollideUnderOneKeySpreadUnderAnother) {
  const HashKey known{.add = 12345, .times = 0x9e3779b97f4a7c15U};
  std::vector<uint64_t> colliding;  // in the upper 10 bits
  for (uint64_t number = 0; colliding.size() < 1000; ++number) {
    if (keyed_hash(number, known) >> 54 == 0) colliding.push_back(number);
  }
  std::set<uint64_t> places;
  const HashKey other{.add = random_number(), .times = random_number() | 1U};
  for (const uint64_t number : colliding) places.insert(keyed_hash(number, other) >> 54);
  EXPECT_GT(places.size(), 300U);  // of 1,024; a random function leaves some 640
}

TEST(KeyedHash, ContainersLookUpViews) {
  KeyedMap<int> map{{"one", 1}};
  EXPECT_EQ(map.find(std::string_view("one"))->second, 1);
  EXPECT_EQ(map.find(std::string_view("two")), map.end());
  EXPECT_TRUE(KeyedSet{"x"}.contains(std::string_view("x")));
}

}  // namespace
}  // namespace prosa
