// What is said of all models at once: the lists of each dialect, the numbers of the moment, and whether the server
// lives.
//
// Answered without loading anything. A request for one model is its Resident's (models.h).
#pragma once

#include "server/json_text.h"
#include "server/metrics.h"
#include "server/models.h"
#include "server/router.h"

namespace prosa::server {

/// /health, /ready, /metrics, /v1/models, /api/tags, /api/ps, /api/version. Both outlive the router.
void add_listing(Router& router, const Models& models, const Metrics& metrics);

/// The "details" of a model, as Ollama has them.
Json ollama_details(const ModelInfo& info);

}  // namespace prosa::server
