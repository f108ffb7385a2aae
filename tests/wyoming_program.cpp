// A Wyoming program over standard input and output for the tests: right, slow, dying, lying or rude, as its words say.
//
// asr: counts the bytes of sound and says so ("heard 3200"), or "says WORDS"; with "partials" it streams. vad: whether
// a chunk is loud. tts: a sample a byte of text. "mortal FILE": it is killed at the first event that finds FILE, which
// it takes with it. Knows nothing of prosa but the JSON library.
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

namespace {

using nlohmann::json;

struct Event {
  std::string type;
  json data = json::object();
  std::string payload = {};
};

bool read_event(Event& event) {
  std::string line;
  if (!std::getline(std::cin, line)) return false;
  const json head = json::parse(line);
  event.type = head.at("type");
  event.data = head.value("data", json::object());
  std::string data(head.value("data_length", 0), '\0');
  std::cin.read(data.data(), static_cast<std::streamsize>(data.size()));
  if (!data.empty()) event.data.update(json::parse(data));
  event.payload.resize(head.value("payload_length", 0));
  std::cin.read(event.payload.data(), static_cast<std::streamsize>(event.payload.size()));
  return static_cast<bool>(std::cin);
}

void write_event(const Event& event) {
  json line = {{"type", event.type}, {"data", event.data}};
  if (!event.payload.empty()) line["payload_length"] = event.payload.size();
  std::cout << line.dump() << "\n" << event.payload << std::flush;
}

json info(bool asr, bool streams) {
  json entry = {
      {"name", "test"}, {"supports_transcript_streaming", streams}, {"supports_synthesize_streaming", streams}};
  json other = json::array();
  return {{"asr", asr ? json::array({entry}) : other}, {"tts", asr ? other : json::array({entry})}};
}

[[noreturn]] void hang() {
  while (true) ::pause();
}

/// What the program does instead of answering.
void misbehave(const std::string& how) {
  if (how == "hang") hang();
  if (how == "die") {
    std::cerr << "out of words\n";
    std::exit(3);
  }
  if (how == "crash") std::abort();
  if (how == "error") write_event({"error", {{"text", "no voice today"}, {"code", "tired"}}});
  if (how == "wrong") write_event({"detection", {{"name", "hello"}}});
  if (how == "noise") std::cout << "this is a log line\n" << std::flush;
  if (how == "lie") {
    std::cout << R"({"type":"audio-chunk","payload_length":99999999999})"
              << "\n"
              << std::flush;
    hang();
  }
  if (how == "short") {
    std::cout << R"({"type":"transcript","data_length":50})"
              << "\n{}" << std::flush;
    std::exit(0);
  }
  if (how == "flood") {
    while (true) write_event({"something-new", {{"text", std::string(1000, 'x')}}});
  }
}

bool is_loud(const std::string& payload) {
  for (size_t at = 0; at + 1 < payload.size(); at += 2) {
    if (std::abs(static_cast<int8_t>(payload[at + 1])) > 8) return true;
  }
  return false;
}

/// vad: a chunk that is loud begins a voice, one that is not ends it.
int notice_voices(const std::string& how) {
  bool speaks = false, asked = false;
  size_t chunks = 0;
  for (Event event; read_event(event);) {
    if (event.type == "describe" && !(asked && how == "hang")) write_event({"info", {{"asr", json::array()}}});
    if (event.type == "describe") asked = true;
    if (event.type != "audio-chunk") continue;
    if (how != "hang" && ++chunks > 3) misbehave(how);
    if (is_loud(event.payload) == speaks) continue;
    speaks = !speaks;
    write_event({speaks ? "voice-started" : "voice-stopped", {{"timestamp", nullptr}}});
  }
  return 0;
}

}  // namespace

int main(int count, char** words) {
  const std::vector<std::string> arguments(words + 1, words + count);
  const bool asr = arguments.at(0) == "asr";
  const std::string how = arguments.size() > 1 ? arguments[1] : "";
  if (how == "slow") std::this_thread::sleep_for(std::chrono::milliseconds(800));  // loads a model, as it were
  if (arguments[0] == "vad") return notice_voices(how);
  size_t heard = 0;
  std::string text;
  for (Event event; read_event(event);) {
    if (how == "mortal" && ::unlink(arguments.at(2).c_str()) == 0) ::raise(SIGKILL);
    if (event.type == "describe") {
      if (how.starts_with("describe-")) misbehave(how.substr(9));
      std::cerr << "ready " << std::string(300, '.') << "\n";
      write_event({"info", info(asr, how == "partials")});
    } else if (event.type == "audio-start") {
      heard = 0;
      if (how == "partials") write_event({"transcript-start"});
    } else if (event.type == "audio-chunk") {
      heard += event.payload.size();
      if (how == "partials") write_event({"transcript-chunk", {{"text", " word"}}});
      if (how == "deaf") hang();  // takes nothing more
      if (how == "ends") write_event({"transcript", {{"text", "done already"}}});
    } else if (event.type == "audio-stop") {
      misbehave(how);
      const std::string said = how == "says" ? arguments.at(2) : "heard " + std::to_string(heard);
      write_event({"transcript", {{"text", " " + said + "\n"}}});
      if (how == "partials") write_event({"transcript-stop"});
      if (how == "once") return 0;
    } else if (event.type == "synthesize-chunk") {
      text += event.data.at("text");
    } else if (event.type == "synthesize" || event.type == "synthesize-stop") {
      if (event.type == "synthesize") text = event.data.at("text");
      const json format = {{"rate", 22050}, {"width", 2}, {"channels", 1}};
      write_event({"audio-start", format});
      write_event({"audio-chunk", format, std::string(text.size(), 'a')});  // half of it; in the middle of a sample
      misbehave(how);
      write_event({"audio-chunk", format, std::string(text.size(), 'a')});
      while (how == "endless") write_event({"audio-chunk", format, std::string(20'000, 'a')});
      write_event({"audio-stop"});
      if (event.type == "synthesize-stop") write_event({"synthesize-stopped"});
      text.clear();
    }
  }
  return 0;
}
