// The items of /v1/responses' `input` as messages.
//
// Items are smaller than messages: thoughts, words and calls of one turn of the assistant are an item each there, and
// one message here. Pure.
#pragma once

#include <string>
#include <vector>

#include "server/json_text.h"
#include "server/response_store.h"

namespace prosa::server {

/// `input` behind what `previous` stands for (null: nothing). Errors name the item's field ("input[2].type").
std::vector<Message> read_input(const Fields& body, const StoredResponse* previous);

}  // namespace prosa::server
