// What prosa inspect says about memory, beside what the kernel reports of a process that has loaded the model.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "cli_process.h"

namespace prosa::test {
namespace {

using nlohmann::json;
using testing::HasSubstr;

/// Within 5 %.
void expect_near(double said, double measured, const char* what) {
  EXPECT_LE(std::abs(said - measured), 0.05 * measured) << what << ": said " << said << ", measured " << measured;
}

TEST(CliMemory, InspectSaysWhatTheKernelReports) {
#if defined(PROSA_ADDRESS_SANITIZER) || defined(PROSA_THREAD_SANITIZER)
  GTEST_SKIP() << "sanitizers hold memory of their own";
#endif
  if (!program_words().front().ends_with("prosa")) GTEST_SKIP() << "an emulator holds memory of its own";
  const Outcome inspect = run_prosa({"inspect", "--json", "--context", "2048"});
  ASSERT_EQ(inspect.exit_code, 0) << inspect.err;
  const json said = json::parse(inspect.out)["memory"];
  const Outcome bench = run_prosa({"bench", "--threads", "2", "--prompt", "0", "--gen", "0", "--start", "--json"});
  ASSERT_EQ(bench.exit_code, 0) << bench.err;
  const json measured = json::parse(bench.out)["memory"];
  ASSERT_EQ(measured["context"], 2048);
  expect_near(said["total"], measured["after_context"]["resident"], "with 2048 tokens");
  expect_near(said["peak_loading"], measured["after_load"]["peak"], "while it loads");
  EXPECT_THAT(run_prosa({"inspect", "--context", "2048"}).out, HasSubstr("while it loads"));
}

}  // namespace
}  // namespace prosa::test
