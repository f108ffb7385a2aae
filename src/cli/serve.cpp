// prosa serve: one model or several behind HTTP, until SIGINT or SIGTERM.
//
// Not the server (prosa/server.h): the command line in front of it. Standard output carries nothing; the log of
// requests is lines of JSON on standard error.
#include <atomic>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <semaphore>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "cli/chat_session.h"
#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "prosa/server.h"

namespace prosa::cli {
namespace {

struct ServeArguments {
  std::vector<std::string> models;  // a model or NAME=MODEL each; none: the embedded one
  ServerOptions server;
  std::string key_file;
  bool quiet = false;
  int reply_seconds = 600;
  int drain_seconds = 30;
  LoadOptions load;
};

/// A key a line; empty lines and those that begin with # are none.
void read_keys(const std::string& path, std::vector<std::string>& keys) {
  std::ifstream file(path);
  if (!file) throw Error(ErrorCode::not_found, "can't be read", path, "Name a file with an API key a line.");
  for (std::string line; std::getline(file, line);) {
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
    if (!line.empty() && line.front() != '#') keys.push_back(line);
  }
}

/// "NAME=MODEL". What stands in front of the sign is a name unless it looks like a path: folders may have one in
/// theirs.
ServedModel served_model(const std::string& word, const LoadOptions& load) {
  const size_t sign = word.find('=');
  if (sign == std::string::npos || sign == 0 || word.find('/') < sign) return {.model = word, .load = load};
  return {.name = word.substr(0, sign), .model = word.substr(sign + 1), .load = load};
}

/// One model is loaded here, with its progress on the terminal, and stays. Several, or one that may go, are the
/// server's own.
std::unique_ptr<Server> start(const ServeArguments& arguments) {
  ServerOptions options = arguments.server;
  std::vector<ServedModel> models;
  for (const std::string& word : arguments.models) models.push_back(served_model(word, arguments.load));
  if (models.empty()) models.push_back({.load = arguments.load});
  if (models.size() > 1 && !options.model_name.empty()) {
    throw Error(ErrorCode::invalid_argument, "there are several models", "--name", "Write NAME=MODEL for each.");
  }
  ServedModel& first = models.front();
  if (!first.name.empty()) options.model_name = first.name;
  if (models.size() > 1 || (options.idle_unload_seconds > 0 && !first.model.empty())) {
    if (models.size() == 1) first.name = options.model_name;
    return std::make_unique<Server>(models, options);
  }
  ChatOptions chat;
  chat.model = first.model;
  chat.load = arguments.load;
  return std::make_unique<Server>(load_chat(chat).model(), options);
}

bool is_local(const std::string& address) { return address.starts_with("127.") || address == "::1"; }

void run(ServeArguments& arguments) {
  ServerOptions& options = arguments.server;
  check_sampling(options.sampling);
  if (!arguments.key_file.empty()) read_keys(arguments.key_file, options.api_keys);
  // Not on the command line, which everybody on the machine can read.
  if (const char* key = std::getenv("PROSA_API_KEY"); key != nullptr && *key != '\0')
    options.api_keys.emplace_back(key);
  options.reply_time = std::chrono::seconds(arguments.reply_seconds);
  if (!arguments.quiet) options.log = [](std::string_view line) { tell(line); };
  const std::unique_ptr<Server> started = start(arguments);
  Server& server = *started;
  std::counting_semaphore<> told{0};
  std::atomic<int> times = 0;
  const interrupt::Catch stop(
      [&] {
        // The second time ends at once what the first one lets end.
        if (times++ == 0) return told.release();
        server.drain(std::chrono::milliseconds(0));
      },
      interrupt::Waiting::goes_on, interrupt::Signals::interrupt_and_terminate);
  const std::string host =
      options.address.find(':') == std::string::npos ? options.address : "[" + options.address + "]";
  tell(fmt::format("[{} is served at {}://{}:{}; Ctrl-C ends]", server.model_name(),
                   options.tls_certificate.empty() ? "http" : "https", host, server.port()));
  if (!is_local(options.address) && options.api_keys.empty()) {
    tell("[everybody who reaches this address may ask; --api-key-file lets only those who have a key]");
  }
  told.acquire();
  tell("[ending: requests under way are answered first; Ctrl-C once more ends them]");
  server.drain(std::chrono::seconds(arguments.drain_seconds));
}

}  // namespace

void add_serve(CLI::App& app) {
  auto arguments = std::make_shared<ServeArguments>();
  ServerOptions& server = arguments->server;
  CLI::App* serve = app.add_subcommand("serve", "serve a model to clients of OpenAI's, Ollama's and Anthropic's APIs");
  serve->add_option("model,--model", arguments->models,
                    "each a folder, a hub name (owner/name), a short name (prosa list), or NAME=MODEL; nothing: the "
                    "embedded model. Of several the first is loaded at once, the others when they are asked for");
  serve->add_option("--host", server.address, "the IP address to listen at; 0.0.0.0: all of this machine")
      ->capture_default_str();
  serve->add_option("--port", server.port, "11434 is Ollama's; 0: any that is free")->capture_default_str();
  serve->add_option("--name", server.model_name, "of the model, as clients see it (default: its folder's)");
  serve->add_flag("--quiet", arguments->quiet, "no line for each request on standard error");
  const char* const access = "Access";
  serve
      ->add_option("--api-key-file", arguments->key_file,
                   "a file with an API key a line, which clients must have one of; also PROSA_API_KEY")
      ->group(access);
  serve->add_option("--allow-origin", server.origins, "of web pages that may ask, or * (repeatable)")
      ->take_all()
      ->allow_extra_args(false)
      ->group(access);
  serve->add_option("--allow-host", server.hosts, "a name that the server may be asked by, or * (repeatable)")
      ->take_all()
      ->allow_extra_args(false)
      ->group(access);
  serve->add_option("--tls-cert", server.tls_certificate, "a PEM file with the certificate and its chain: HTTPS")
      ->group(access);
  serve->add_option("--tls-key", server.tls_key, "the PEM file of its key")->group(access);
  const char* const limits = "Limits";
  const auto add_limit = [&](const char* name, int& value, const char* help, int least, int most) {
    serve->add_option(name, value, help)->check(CLI::Range(least, most))->capture_default_str()->group(limits);
  };
  add_limit("--replies", server.replies, "computed at a time, each with its own memory", 1, 256);
  add_limit("--waiting", server.waiting, "requests that wait for that; others are told to come back", 0, 100'000);
  add_limit("--conversations", server.conversations, "kept warm beside those under way", 0, 100'000);
  add_limit("--connections", server.connections, "open at a time", 1, 100'000);
  add_limit("--reply-seconds", arguments->reply_seconds, "for a reply; then it ends where it is", 1, 2'592'000);
  add_limit("--drain-seconds", arguments->drain_seconds, "that requests under way have to end in", 0, 86'400);
  serve
      ->add_option("--model-bytes", server.model_bytes,
                   "of models that are loaded together; the one that was unused for longest goes; 0: no limit")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 50))
      ->group(limits);
  serve
      ->add_option("--idle-unload-seconds", server.idle_unload_seconds,
                   "that a model is unused before it is unloaded; 0: never")
      ->check(CLI::Range(0.0, 1e9))
      ->group(limits);
  add_sampling_options(*serve, server.sampling);
  add_load_options(*serve, arguments->load, true);
  serve->footer(
      "Sampling options are what requests leave open. Clients: OpenAI's and Ollama's take the address as their base\n"
      "URL (OpenAI's with /v1), Anthropic's as it is.\n"
      "\n"
      "Examples:\n"
      "  prosa serve\n"
      "  prosa serve MODEL --port 11434 --context 16384\n"
      "  prosa serve small=MODEL large=OTHER --model-bytes 4000000000 --idle-unload-seconds 600\n"
      "  prosa serve MODEL --host 0.0.0.0 --api-key-file keys.txt --allow-host prosa.lan");
  serve->callback([arguments] { run(*arguments); });
}

}  // namespace prosa::cli
