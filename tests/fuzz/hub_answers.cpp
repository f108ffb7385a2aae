// Input: the path of a file, then a hub's answers (status, headers, an empty line, the body) in the order in which they
// are given, whatever is asked. Each is refused by name or read as what it can mean; the token goes to no other host,
// and no name leads out of a folder.
#include <algorithm>
#include <charconv>

#include "fuzz.h"
#include "hub/api.h"
#include "hub/manifest.h"

using namespace prosa;
using namespace prosa::fuzz;

namespace {

constexpr size_t kMaxAnswers = 12;
constexpr const char* kOtherName = "https://hf.co:443";  // of huggingface.co

std::string_view take_line(std::string_view& text) {
  const size_t end = std::min(text.find('\n'), text.size());
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return line;
}

int64_t number_of(std::string_view text) {
  int64_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

class Answers : public hub::HttpClient {
 public:
  Answers(std::span<const std::string_view> answers, const hub::Settings& settings)
      : answers_(answers), home_(hub::url_origin(settings.endpoint)) {}

  hub::HttpResponse perform(const hub::HttpRequest& request, const hub::BodySink& sink) override {
    const std::string origin = hub::url_origin(request.url);
    require(!origin.empty(), "only web addresses are asked", request.url);
    require(request.token.empty() || origin == home_ || origin == kOtherName, "the token stays at home", request.url);
    if (next_ >= answers_.size()) throw hub::TransferFailure("no more answers", false);
    std::string_view text = answers_[next_++];
    hub::HttpResponse response;
    response.status = static_cast<int>(number_of(take_line(text)) % 1000);
    for (std::string_view line = take_line(text); !line.empty(); line = take_line(text)) {
      const size_t colon = line.find(':');
      if (colon == std::string_view::npos) continue;
      std::string name(line.substr(0, colon));
      std::ranges::transform(name, name.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
      std::string_view value = line.substr(colon + 1);
      value.remove_prefix(std::min(value.find_first_not_of(' '), value.size()));
      response.headers[name] = value;
    }
    if (const int64_t wait = number_of(response.header("retry-after")); wait > 0) {
      response.retry_after = std::chrono::seconds(wait);
    }
    if (response.status / 100 == 2 && !request.head) {
      const auto body = std::as_bytes(std::span(text));
      const size_t half = body.size() / 2;
      if (sink(response, body.first(half))) sink(response, body.subspan(half));
    }
    return response;
  }

 private:
  std::span<const std::string_view> answers_;
  size_t next_ = 0;
  std::string home_;
};

void check_listing(const hub::Repository& repository, std::string_view index) {
  require(hub::is_commit(repository.commit), "a commit is one", repository.commit);
  for (const std::string folder : {"", "sub"}) {
    const auto names = hub::names_in(repository.files, folder);
    for (const std::string& name : names) {
      require(name.find('/') == std::string::npos && name != ".." && name != ".", "a name is plain", name);
    }
    for (const std::string& name : hub::text_files(names)) require(names.contains(name), "a text file is listed");
    error_of([&] {
      const hub::WeightFiles weights = hub::weight_files(names, index, "index");
      for (const std::string& name : weights.names) {
        require(name.find('/') == std::string::npos, "a weight file is a plain name", name);
        require(names.contains(name) || !weights.missing.empty(), "a file that is not there is missed", name);
      }
    });
  }
  (void)hub::folders_with_weights(repository.files);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto parts = parts_of(text_of(data, size), kMaxAnswers);
  const std::span<const std::string_view> answers(parts.data() + 1, parts.size() - 1);
  const std::string path(parts[0]);
  hub::Settings settings;
  settings.endpoint = "https://huggingface.co";
  settings.token = "hf_secret";
  settings.tries = 3;
  settings.first_wait = std::chrono::milliseconds(0);
  settings.longest_wait = std::chrono::seconds(0);
  const hub::Observer observer{[] { return false; }, [](const std::string&) {}};
  const hub::HubName name{"some", "model", "", "main"};
  Answers client(answers, settings);
  const hub::HubApi api(settings, client, observer, name);
  const std::string commit = "0123456789abcdef0123456789abcdef01234567";
  error_of([&] { check_listing(api.repository("main"), parts.back()); });
  while (true) {
    const auto refused = error_of([&] {
      const hub::RemoteFile file = api.file(commit, path);
      require(hub::is_plain_part(file.etag), "an etag can name a file", file.etag);
      require(file.direct.empty() || !hub::url_origin(file.direct).empty(), "storage is a web address", file.direct);
    });
    if (refused && refused->message().find("no more answers") != std::string::npos) return 0;
  }
}
