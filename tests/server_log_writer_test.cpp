// A log whose reader is slow, or fails, holds nobody up, and says what it had to leave out.
#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <stdexcept>
#include <vector>

#include "server/log_writer.h"

namespace prosa::server {
namespace {

TEST(LogWriter, LinesComeInTheirOrderAndFlushWaitsForThem) {
  std::vector<std::string> seen;
  LogWriter log([&](std::string_view line) { seen.emplace_back(line); });
  for (int i = 0; i < 100; ++i) log.add(std::to_string(i));
  log.flush();
  ASSERT_EQ(seen.size(), 100U);
  for (size_t i = 0; i < 100; ++i) EXPECT_EQ(seen[i], std::to_string(i));
}

TEST(LogWriter, AReaderThatStandsStillHoldsNobodyUp) {
  std::latch taken(1);
  std::latch released(1);
  std::atomic<bool> first = true;
  std::vector<std::string> seen;
  {
    LogWriter log([&](std::string_view line) {
      if (first.exchange(false)) {
        taken.count_down();
        released.wait();
      }
      seen.emplace_back(line);
    });
    log.add("first");
    taken.wait();
    for (size_t i = 0; i < LogWriter::kMaxLines + 7; ++i) log.add("line");  // would hang here if it waited
    released.count_down();
    log.flush();
    log.add("last");
  }
  ASSERT_EQ(seen.size(), LogWriter::kMaxLines + 3);
  EXPECT_EQ(seen[seen.size() - 2], R"({"event":"lines_dropped","count":7})");
  EXPECT_EQ(seen.back(), "last");
}

TEST(LogWriter, AReaderThatThrowsLosesItsLineAlone) {
  std::vector<std::string> seen;
  LogWriter log([&](std::string_view line) {
    if (line == "bad") throw std::runtime_error("full");
    seen.emplace_back(line);
  });
  log.add("bad");
  log.add("good");
  log.flush();
  EXPECT_EQ(seen, std::vector<std::string>{"good"});
  LogWriter none({});
  none.add("nobody reads it");
  none.flush();
  EXPECT_FALSE(none.enabled());
}

}  // namespace
}  // namespace prosa::server
