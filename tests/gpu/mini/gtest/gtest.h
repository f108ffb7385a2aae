// As much of GoogleTest as the tests of the backend seam use, for machines that have a card and a compiler but no
// packages: the same test sources compile against either.
//
// Not GoogleTest: no filters but a substring, no death tests, no matchers. Invariant: a failed expectation, an uncaught
// exception and a program that ran no test make the program return 1.
#pragma once

#include <chrono>
#include <cstdio>
#include <exception>
#include <functional>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

namespace testing {

namespace mini {

struct Case {
  std::string name;
  std::function<void()> run;
};
inline std::vector<Case>& cases() {
  static std::vector<Case> all;
  return all;
}
inline bool& failed() {
  static bool value = false;
  return value;
}
inline bool& skipped() {
  static bool value = false;
  return value;
}
inline std::vector<std::string>& traces() {
  static std::vector<std::string> all;
  return all;
}

/// What a failed expectation says: what was expected, then whatever is streamed to it.
class Failure {
 public:
  Failure(const char* file, int line, const std::string& what) { text_ << file << ":" << line << ": " << what << "\n"; }
  Failure(const Failure&) = delete;
  Failure& operator=(const Failure&) = delete;
  ~Failure() {
    std::cout << text_.str() << "\n";
    for (const std::string& trace : traces()) std::cout << "  " << trace << "\n";
    std::cout.flush();
    failed() = true;
  }
  template <typename T>
  Failure& operator<<(const T& value) {
    text_ << value;
    return *this;
  }

 private:
  std::ostringstream text_;
};
/// Turns `return Failure << text` into a statement of a void function.
struct Done {
  void operator=(const Failure&) const {}
};

class Trace {
 public:
  template <typename T>
  explicit Trace(const T& value) {
    std::ostringstream text;
    text << value;
    traces().push_back(text.str());
  }
  Trace(const Trace&) = delete;
  Trace& operator=(const Trace&) = delete;
  ~Trace() { traces().pop_back(); }
};

struct Skip {
  template <typename T>
  Skip& operator<<(const T& value) {
    std::cout << "  skipped: " << value << "\n";
    return *this;
  }
};
struct Skipped {
  void operator=(const Skip&) const { skipped() = true; }
};

}  // namespace mini

class Test {
 public:
  virtual ~Test() = default;
  virtual void TestBody() = 0;
};

template <typename T>
struct TestParamInfo {
  T param;
  size_t index;
};

template <typename T>
class TestWithParam : public Test {
 public:
  using ParamType = T;
  static const T& GetParam() { return *current(); }
  static const T*& current() {
    static const T* value = nullptr;
    return value;
  }
};

template <typename T>
std::vector<T> ValuesIn(std::vector<T> values) {
  return values;
}

namespace mini {

/// The parametrized tests of a fixture, made into cases when all are known.
template <typename Suite>
struct Parametrized {
  static std::vector<std::pair<std::string, std::function<std::unique_ptr<Test>()>>>& tests() {
    static std::vector<std::pair<std::string, std::function<std::unique_ptr<Test>()>>> all;
    return all;
  }
  static std::vector<std::function<void()>>& instances() {
    static std::vector<std::function<void()>> all;
    return all;
  }
};
inline std::vector<std::function<void()>>& expansions() {
  static std::vector<std::function<void()>> all;
  return all;
}

template <typename Suite, typename Names>
int instantiate(std::vector<typename Suite::ParamType> values, const Names& names) {
  expansions().push_back([values = std::move(values), names] {
    for (const auto& [name, make] : Parametrized<Suite>::tests()) {
      for (size_t i = 0; i < values.size(); ++i) {
        const auto value = std::make_shared<typename Suite::ParamType>(values[i]);
        cases().push_back(
            {name + "/" + names(TestParamInfo<typename Suite::ParamType>{*value, i}), [value, make = make] {
               Suite::current() = value.get();
               make()->TestBody();
             }});
      }
    }
  });
  return 0;
}

inline int run_all(const std::string& filter) {
  for (const auto& expand : expansions()) expand();
  int ran = 0;
  int bad = 0;
  for (const Case& one : cases()) {
    if (one.name.find(filter) == std::string::npos) continue;
    failed() = false;
    skipped() = false;
    const auto begin = std::chrono::steady_clock::now();
    try {
      one.run();
    } catch (const std::exception& error) {
      std::cout << "uncaught: " << error.what() << "\n";
      failed() = true;
    }
    const double ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
    std::printf("[ %s ] %s (%.0f ms)\n", failed() ? "FAILED" : skipped() ? "SKIPPED" : "OK", one.name.c_str(), ms);
    std::fflush(stdout);
    ++ran;
    bad += failed() ? 1 : 0;
  }
  std::printf("%d tests, %d failed\n", ran, bad);
  return ran == 0 || bad > 0 ? 1 : 0;
}

}  // namespace mini
}  // namespace testing

#define PROSA_MINI_CHECK(condition, text) \
  if (condition) {                        \
  } else                                  \
    ::testing::mini::Failure(__FILE__, __LINE__, text)
#define PROSA_MINI_DEMAND(condition, text) \
  if (condition) {                         \
  } else                                   \
    return ::testing::mini::Done() = ::testing::mini::Failure(__FILE__, __LINE__, text)

#define EXPECT_TRUE(x) PROSA_MINI_CHECK(static_cast<bool>(x), "expected: " #x " ")
#define EXPECT_FALSE(x) PROSA_MINI_CHECK(!static_cast<bool>(x), "expected not: " #x " ")
#define EXPECT_EQ(a, b) PROSA_MINI_CHECK((a) == (b), "expected: " #a " == " #b " ")
#define EXPECT_NE(a, b) PROSA_MINI_CHECK((a) != (b), "expected: " #a " != " #b " ")
#define EXPECT_GE(a, b) PROSA_MINI_CHECK((a) >= (b), "expected: " #a " >= " #b " ")
#define EXPECT_GT(a, b) PROSA_MINI_CHECK((a) > (b), "expected: " #a " > " #b " ")
#define EXPECT_LE(a, b) PROSA_MINI_CHECK((a) <= (b), "expected: " #a " <= " #b " ")
#define EXPECT_LT(a, b) PROSA_MINI_CHECK((a) < (b), "expected: " #a " < " #b " ")
#define ASSERT_TRUE(x) PROSA_MINI_DEMAND(static_cast<bool>(x), "expected: " #x " ")
#define ASSERT_EQ(a, b) PROSA_MINI_DEMAND((a) == (b), "expected: " #a " == " #b " ")
#define GTEST_SKIP() return ::testing::mini::Skipped() = ::testing::mini::Skip()
#define PROSA_MINI_JOIN2(a, b) a##b
#define PROSA_MINI_JOIN(a, b) PROSA_MINI_JOIN2(a, b)
#define SCOPED_TRACE(text) const ::testing::mini::Trace PROSA_MINI_JOIN(trace_, __LINE__)(text)

#define TEST(suite, name)                                                                  \
  struct suite##_##name {                                                                  \
    static void run();                                                                     \
  };                                                                                       \
  [[maybe_unused]] const bool suite##_##name##_known =                                     \
      (::testing::mini::cases().push_back({#suite "." #name, suite##_##name::run}), true); \
  void suite##_##name::run()

#define TEST_P(suite, name)                                                        \
  struct suite##_##name : suite {                                                  \
    void TestBody() override;                                                      \
  };                                                                               \
  [[maybe_unused]] const bool suite##_##name##_known =                             \
      (::testing::mini::Parametrized<suite>::tests().push_back(                    \
           {#suite "." #name, [] { return std::make_unique<suite##_##name>(); }}), \
       true);                                                                      \
  void suite##_##name::TestBody()

#define INSTANTIATE_TEST_SUITE_P(prefix, suite, values, names) \
  [[maybe_unused]] const int prefix##_##suite##_known = ::testing::mini::instantiate<suite>(values, names)
