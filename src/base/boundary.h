// The edge of the public API: nothing but prosa::Error crosses it, but for what the caller's own functions throw, which
// reaches the caller as it is.
//
// Every public function does its work inside at_boundary(), and calls a function of the caller's (a callback) through
// call_back(). What a callback throws travels in a type that nothing inside catches by name: it is no failure of
// prosa's to be retried or translated. Invariant: both are used at the edge only, never one inside another's work, or a
// caller's exception would be taken for prosa's own.
#pragma once

#include <exception>
#include <functional>
#include <type_traits>
#include <utility>

#include "prosa/error.h"

namespace prosa {

/// On its way from a callback to the boundary.
struct CallersException {
  std::exception_ptr exception;
};

/// Error(out_of_memory), which itself needs no memory.
[[noreturn]] void throw_out_of_memory();

/// Inside a handler: the exception under way as an Error.
[[noreturn]] void rethrow_as_error();

template <typename Work>
std::invoke_result_t<Work&> at_boundary(Work&& work) {
  try {
    return work();
  } catch (const Error&) {
    throw;
  } catch (const CallersException& callers) {
    std::rethrow_exception(callers.exception);
  } catch (...) {
    rethrow_as_error();
  }
}

template <typename Function, typename... Arguments>
std::invoke_result_t<Function&, Arguments...> call_back(Function&& function, Arguments&&... arguments) {
  try {
    return std::invoke(function, std::forward<Arguments>(arguments)...);
  } catch (...) {
    throw CallersException{std::current_exception()};
  }
}

/// `function` with call_back() around it; empty stays empty.
template <typename... Arguments>
std::function<void(Arguments...)> guarded(std::function<void(Arguments...)> function) {
  if (!function) return {};
  return [inner = std::move(function)](Arguments... arguments) { call_back(inner, arguments...); };
}

}  // namespace prosa
