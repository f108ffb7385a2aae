// prosa wyoming: a model for Home Assistant and other clients of the Wyoming protocol, until SIGINT or SIGTERM.
//
// Not the voice: the client brings the words and takes the reply's text; engines of recognition and synthesis are
// offered beside it where they are asked for. Standard output carries nothing but the protocol (--uri stdio://).
#include <functional>
#include <memory>
#include <semaphore>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "cli/chat_session.h"
#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "prosa/wyoming.h"

namespace prosa::cli {
namespace {

struct WyomingArguments {
  std::string model;  // "": the embedded model
  std::string uri = "tcp://127.0.0.1:10400";
  std::string hears;      // an engine of recognition to offer; "": none
  std::string speaks;     // an engine of synthesis; "": none
  std::string speaks_as;  // a voice of it
  WyomingService service;
  WyomingListener::Limits limits;
  WyomingConversations::Options conversations;
  LoadOptions load;
};

/// Whether only this machine reaches it.
bool is_local(const std::string& uri) {
  for (const char* local : {"unix:", "stdio:", "tcp://127.", "tcp://localhost:", "tcp://[::1]:"}) {
    if (uri.starts_with(local)) return true;
  }
  return false;
}

void offer_engines(WyomingArguments& arguments) {
  const std::string language = arguments.service.languages.empty() ? "" : arguments.service.languages.front();
  if (!arguments.hears.empty()) {
    arguments.service.speech_to_text = [&arguments, language] {
      return make_speech_to_text(arguments.hears, language);
    };
    arguments.service.speech_to_text();  // what is missing is said now
  }
  if (!arguments.speaks.empty()) {
    arguments.service.text_to_speech = [&arguments] {
      return make_text_to_speech(arguments.speaks, arguments.speaks_as);
    };
    arguments.service.text_to_speech();
  }
}

void run(WyomingArguments& arguments) {
  if (!arguments.conversations.system.empty()) check_prompt(arguments.conversations.system, "--system");
  offer_engines(arguments);
  ChatOptions options;
  options.model = arguments.model;
  options.load = arguments.load;
  const Model model = load_chat(options).model();
  WyomingConversations conversations(model, arguments.conversations);
  std::counting_semaphore<> ended{0};
  const interrupt::Catch stop([&ended] { ended.release(); }, interrupt::Waiting::goes_on,
                              interrupt::Signals::interrupt_and_terminate);
  arguments.service.closed = [&ended] { ended.release(); };
  arguments.service.handle = [&conversations](const WyomingRequest& request, const WyomingService::Piece& piece) {
    conversations.answer(request, piece);
  };
  const WyomingListener listener(arguments.uri, arguments.service, arguments.limits);
  std::string where = arguments.uri;
  if (listener.port() != 0) where = where.substr(0, where.rfind(':') + 1) + std::to_string(listener.port());
  tell(fmt::format("[serving at {}; Ctrl-C ends]", where));
  if (!is_local(arguments.uri)) tell("[everybody who reaches this address may ask: the protocol knows no password]");
  ended.acquire();
  conversations.stop();
}

}  // namespace

void add_wyoming(CLI::App& app) {
  auto arguments = std::make_shared<WyomingArguments>();
  CLI::App* wyoming = app.add_subcommand("wyoming", "serve a model to Home Assistant and other Wyoming clients");
  wyoming->add_option("model,--model", arguments->model, model_help);
  wyoming
      ->add_option("--uri", arguments->uri,
                   "where: tcp://HOST:PORT, unix:///PATH, or stdio:// (one client, at standard input and output)")
      ->capture_default_str();
  wyoming->add_option("--system", arguments->conversations.system, "the system message");
  wyoming->add_option("--name", arguments->service.name, "of the service, as clients show it")->capture_default_str();
  wyoming->add_option("--language", arguments->service.languages, "that it is offered for (BCP 47; default: any)")
      ->take_all()
      ->allow_extra_args(false);
  const char* const engines = "Engines";
  wyoming->add_option("--hear", arguments->hears, "offers recognition as well: pocketsphinx, or a Wyoming program")
      ->group(engines);
  wyoming->add_option("--speak", arguments->speaks, "offers synthesis as well: flite[:VOICE], or a Wyoming program")
      ->group(engines);
  wyoming->add_option("--speak-as", arguments->speaks_as, "a voice of the Wyoming program")->group(engines);
  const char* const limits = "Limits";
  wyoming->add_option("--connections", arguments->limits.connections, "clients at a time")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str()
      ->group(limits);
  wyoming->add_option("--conversations", arguments->conversations.conversations, "remembered at a time")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str()
      ->group(limits);
  wyoming->add_option("--replies", arguments->conversations.replies, "computed at a time, each with its own memory")
      ->check(CLI::Range(1, 64))
      ->capture_default_str()
      ->group(limits);
  add_sampling_options(*wyoming, arguments->conversations.sampling);
  add_load_options(*wyoming, arguments->load, true);
  wyoming->footer(
      "Home Assistant: add the integration \"Wyoming Protocol\" with this host and port, and choose it as the\n"
      "conversation agent of an assistant.\n"
      "\n"
      "Examples:\n"
      "  prosa wyoming --uri tcp://0.0.0.0:10400\n"
      "  prosa wyoming --hear pocketsphinx --speak flite\n"
      "  prosa wyoming MODEL --uri stdio:// --system \"Answer in one sentence.\"");
  wyoming->callback([arguments] { run(*arguments); });
}

}  // namespace prosa::cli
