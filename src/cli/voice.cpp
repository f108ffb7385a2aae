// prosa voice: talk with a model, by microphone or with recordings.
#include "cli/voice.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "cli/chat_session.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/voice_view.h"
#include "prosa/audio.h"
#include "prosa/files.h"

namespace prosa::cli {
namespace {

std::string joined(const std::vector<std::string>& names) {
  std::string list;
  for (const std::string& name : names) list += (list.empty() ? "" : ", ") + name;
  return list.empty() ? "none" : list;
}

/// No conversation is held for a file that nobody could write. A device or a pipe needs no folder.
void require_folder(const std::string& output) {
  namespace fs = std::filesystem;
  std::error_code none;
  if (fs::exists(output, none) && !fs::is_regular_file(output, none)) return;
  const std::string folder = fs::path(output).parent_path().string();
  if (::access(folder.empty() ? "." : folder.c_str(), W_OK | X_OK) == 0) return;
  throw Error(ErrorCode::io, std::string("can't create: ") + std::strerror(errno), output);
}

/// No file that is read is written over.
void check_outputs(const VoiceArguments& arguments, const std::vector<std::string>& inputs) {
  for (const std::string& output : {arguments.out, arguments.timeline, arguments.picture}) {
    if (output.empty()) continue;
    require_no_input(output, inputs);
    require_folder(output);
  }
}

/// Recordings are played by scripts, which see the exit code alone.
void require_no_failure(const std::vector<VoiceEvent>& events) {
  const auto failed =
      std::ranges::find_if(events, [](const VoiceEvent& event) { return event.kind == VoiceEvent::Kind::error; });
  if (failed == events.end()) return;
  throw Error(ErrorCode::io, "a part of the conversation was lost: " + failed->text, "voice");
}

void run(VoiceArguments& arguments) {
  if (arguments.in.empty() && !arguments.out.empty())
    throw UsageError("--out goes with --in FILE (see prosa voice --help)");
  if (!arguments.in.empty() && !(arguments.devices.input + arguments.devices.output).empty())
    throw UsageError("--microphone and --loudspeaker do not go with --in FILE (see prosa voice --help)");
  check_sampling(arguments.options.sampling);
  if (!arguments.options.system.empty()) check_prompt(arguments.options.system, "--system");
  check_outputs(arguments, arguments.in);
  VoiceLog log;
  std::unique_ptr<VoiceView> view;
  arguments.options.speakable.language = arguments.language;
  // A live conversation may last for days.
  const bool keeps = !arguments.in.empty() || !arguments.timeline.empty() || !arguments.picture.empty();
  arguments.options.on_event = [&](const VoiceEvent& event) {
    if (keeps) log.add(event);
    view->show(event);
  };
  // The engines first: what is missing is said before a model is loaded.
  VoiceParts parts{make_voice_activity(arguments.activity), make_speech_to_text(arguments.hears, arguments.language),
                   make_text_to_speech(arguments.speaks, arguments.speaks_as)};
  ChatOptions chat;
  chat.model = arguments.model;
  chat.load = arguments.load;
  chat.load.context_policy = ContextPolicy::drop_oldest;  // nobody can be told that the context is full
  VoiceSound sound;
  std::vector<TurnRecord> turns;
  Chat brain = load_chat(chat);
  check_outputs(arguments, {brain.info().path});
  view = make_voice_view();
  const auto begin = std::chrono::steady_clock::now();
  {
    VoicePipeline pipeline(std::move(brain), std::move(parts), arguments.options);
    if (arguments.in.empty()) {
      talk_live(pipeline, arguments, *view);
    } else {
      sound = play_recordings(pipeline, arguments, *view);
    }
    turns = pipeline.turns();
  }
  view.reset();
  if (arguments.in.empty()) sound.begin = begin;  // no sound is kept of a live conversation
  if (!arguments.out.empty()) write_wav(arguments.out, sound.played, sound.play_rate);
  const auto since = std::chrono::duration_cast<std::chrono::microseconds>(sound.begin - begin);
  if (!arguments.timeline.empty()) write_file(arguments.timeline, voice_json(log.events(), turns, sound, since));
  if (!arguments.picture.empty()) write_file(arguments.picture, voice_svg(log.events(), turns, sound, since));
  fmt::print(stderr, "[{}]\n", voice_summary(turns));
  if (!arguments.in.empty()) require_no_failure(log.events());
}

void add_rules(CLI::App& voice, VoiceOptions& options) {
  const char* const group = "Turns";
  TurnRules& rules = options.turns;
  voice.add_option("--end-ms", rules.end_ms, "silence after which a turn is over")->capture_default_str()->group(group);
  voice.add_option("--soft-end-ms", rules.soft_end_ms, "silence after which the reply is drafted")
      ->capture_default_str()
      ->group(group);
  voice.add_option("--unfinished-end-ms", rules.unfinished_end_ms, "the first where a sentence sounds unfinished")
      ->capture_default_str()
      ->group(group);
  voice.add_option("--reopen-ms", rules.reopen_ms, "speech so soon after a turn goes on with it")
      ->capture_default_str()
      ->group(group);
  voice.add_option("--final-ms", rules.final_ms, "a recogniser that takes longer for its last word is not waited for")
      ->capture_default_str()
      ->group(group);
  voice
      .add_flag_callback(
          "--no-soft-commit", [&rules] { rules.soft_commit = false; }, "say nothing before the turn is over")
      ->group(group);
  voice
      .add_flag_callback(
          "--no-ending", [&rules] { rules.ending = false; }, "silence alone says that a turn is over")
      ->group(group);
  voice
      .add_flag_callback(
          "--no-draft", [&rules] { rules.draft = false; }, "reply only when the turn is over")
      ->group(group);
  voice
      .add_flag_callback(
          "--no-read-ahead", [&rules] { rules.read_ahead = false; }, "read a turn only when it is over")
      ->group(group);
}

}  // namespace

void add_voice(CLI::App& app) {
  auto arguments = std::make_shared<VoiceArguments>();
  CLI::App* voice = app.add_subcommand("voice", "talk with a model, by microphone or with recordings");
  voice->add_option("model,--model", arguments->model, model_help);
  voice->add_option("--in", arguments->in, "recordings (WAV) of the user, a turn each, in place of the microphone")
      ->type_name("FILE");
  voice->add_option("--microphone", arguments->devices.input, "part of its name (default: the system's choice)");
  voice->add_option("--loudspeaker", arguments->devices.output, "the same");
  voice->add_option("--out", arguments->out, "what was spoken, as a recording")->type_name("FILE");
  voice->add_option("--timeline", arguments->timeline, "everything that happened, and each turn's costs, as JSON")
      ->type_name("FILE");
  voice->add_option("--picture", arguments->picture, "the same as a picture (SVG)")->type_name("FILE");
  voice->add_option("--system", arguments->options.system, "the system message");
  voice->add_option("--greeting", arguments->options.greeting, "spoken first");
  const char* const engines = "Engines";
  voice->add_option("--activity", arguments->activity, "who notices speech: webrtc, energy, or a Wyoming program")
      ->capture_default_str()
      ->group(engines);
  voice
      ->add_option("--hear", arguments->hears,
                   "who recognises it: pocketsphinx, or a Wyoming program: tcp://HOST:PORT, unix:///PATH, "
                   "stdio:COMMAND")
      ->capture_default_str()
      ->group(engines);
  voice->add_option("--speak", arguments->speaks, "who speaks: flite[:VOICE], or a Wyoming program as above")
      ->capture_default_str()
      ->group(engines);
  voice->add_option("--speak-as", arguments->speaks_as, "a voice of the Wyoming program")->group(engines);
  voice->add_option("--language", arguments->language, "of recognition and of written-out numbers, dates and units")
      ->capture_default_str()
      ->group(engines);
  voice->add_option("--play-rate", arguments->options.play_rate, "samples a second of what is played")
      ->capture_default_str()
      ->group(engines);
  voice
      ->add_option("--echo-db", arguments->echo_db,
                   "with --in: the reply comes back into the microphone, so many decibels quieter (-20)")
      ->check(CLI::Range(-120.0, 40.0))
      ->group(engines);
  add_rules(*voice, arguments->options);
  add_sampling_options(*voice, arguments->options.sampling);
  add_load_options(*voice, arguments->load, true);
  voice->footer(
      fmt::format("Built in here: {}.\n"
                  "\n"
                  "Examples:\n"
                  "  prosa voice\n"
                  "  prosa voice --in question.wav --out reply.wav --picture talk.svg\n"
                  "  prosa voice --hear tcp://127.0.0.1:10300 --speak \"stdio:wyoming-piper --voice en_US\"",
                  joined(voice_engines())));
  voice->callback([arguments] { run(*arguments); });
}

}  // namespace prosa::cli
