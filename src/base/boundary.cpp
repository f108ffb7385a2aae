// Which exception of the standard library, or of a library below, is which Error.
#include "base/boundary.h"

#include <filesystem>
#include <new>
#include <stdexcept>
#include <string>
#include <system_error>

#include <nlohmann/json.hpp>

namespace prosa {
namespace {

[[noreturn]] void translate() {
  try {
    throw;
  } catch (const std::bad_alloc&) {
    throw_out_of_memory();
  } catch (const std::length_error& error) {
    throw Error(ErrorCode::out_of_memory, std::string("a size beyond what memory can hold: ") + error.what());
  } catch (const std::filesystem::filesystem_error& error) {
    throw Error(ErrorCode::io, error.code().message(), error.path1().string());
  } catch (const std::system_error& error) {  // threads and locks: what the system has run out of
    throw Error(ErrorCode::out_of_memory, std::string("the system refuses: ") + error.what());
  } catch (const nlohmann::json::exception& error) {
    throw Error(ErrorCode::invalid_argument, error.what());
  } catch (const std::exception& error) {
    throw Error(ErrorCode::invalid_argument, std::string("unexpected: ") + error.what());
  } catch (...) {
    throw Error(ErrorCode::invalid_argument, "unexpected: an exception of no known type");
  }
}

}  // namespace

void rethrow_as_error() {
  try {
    translate();
  } catch (const std::bad_alloc&) {  // not even for the message
    throw_out_of_memory();
  }
}

}  // namespace prosa
