// Which model a request asks for, without reading the rest of it.
//
// The body is read up to its field "model" and no document is made of it: what is wrong with the body is said by the
// handler that reads it whole. Pure functions.
#pragma once

#include <string>
#include <string_view>

#include "server/http.h"

namespace prosa::server {

/// The text of the field "model" of an object; "": there is none, or it is no text.
std::string model_field(std::string_view body);
/// The same of a request: its body, or `model=NAME` of its query.
std::string model_of(const Request& request);

}  // namespace prosa::server
