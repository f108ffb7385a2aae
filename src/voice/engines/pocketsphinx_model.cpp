// The binary files of a model, each looked through: lengths, numbers of things that others refer to, checksums.
#include "voice/engines/pocketsphinx_model.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <system_error>

#include "base/mmap.h"
#include "prosa/error.h"

namespace prosa::voice {
namespace {

constexpr const char* kRemedy = "install it again (Debian: pocketsphinx-en-us)";
constexpr uint32_t kByteOrder = 0x11223344;
constexpr uint64_t kMaxCount = 10'000'000;  // of anything in a model: no product of three overflows

/// A file from its beginning to its end. Numbers are little-endian.
class Bytes {
 public:
  explicit Bytes(const std::filesystem::path& path) : path_(path.string()), file_(MappedFile::open(path)) {}

  [[noreturn]] void bad(const std::string& what) const {
    throw Error(ErrorCode::io, "pocketsphinx's model is damaged: " + what, path_, kRemedy);
  }
  [[nodiscard]] std::string_view rest() const { return bytes().substr(at_); }
  std::string_view take(uint64_t count) {
    if (count > rest().size()) bad("the file ends too early");
    const std::string_view taken = rest().substr(0, count);
    at_ += count;
    return taken;
  }
  uint32_t word() {
    uint32_t value = 0;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }
  /// A number of things, of which there is at least one.
  uint64_t count(const char* what) {
    const uint64_t value = word();
    if (value == 0 || value > kMaxCount) bad("the number of " + std::string(what) + " can't be");
    return value;
  }
  void align() { take((4 - at_ % 4) % 4); }
  void expect_end() const {
    if (!rest().empty()) bad("there is more in it than it says");
  }

 private:
  [[nodiscard]] std::string_view bytes() const {
    const auto all = file_.bytes();
    return {reinterpret_cast<const char*>(all.data()), all.size()};
  }
  std::string path_;
  MappedFile file_;
  uint64_t at_ = 0;
};

uint32_t word_at(std::string_view bytes, uint64_t index) {
  uint32_t value = 0;
  std::memcpy(&value, bytes.data() + index * sizeof value, sizeof value);
  return value;
}

/// means, variances, transition_matrices: lines of a header, then numbers with a checksum over all of them.
void check_numbers(const std::filesystem::path& path) {
  Bytes file(path);
  constexpr std::string_view kEnd = "endhdr\n";
  const size_t end = file.rest().find(kEnd);
  if (!file.rest().starts_with("s3\n") || end == std::string_view::npos) file.bad("it has no header");
  const bool has_sum = file.take(end + kEnd.size()).find("chksum0 yes") != std::string_view::npos;
  if (file.word() != kByteOrder) file.bad("its numbers are of another byte order");
  const std::string_view numbers = file.rest();
  if (numbers.size() % 4 != 0 || numbers.size() < 32) file.bad("the file ends too early");
  uint64_t count = 0;
  if (path.filename() == "transition_matrices") {
    const uint64_t matrices = file.count("matrices"), from = file.count("states"), to = file.count("states");
    count = matrices * from * to;
  } else {
    const uint64_t codebooks = file.count("codebooks"), streams = file.count("features"),
                   each = file.count("Gaussians");
    uint64_t length = 0;
    for (uint64_t i = 0; i < streams; ++i) length += file.count("components");
    count = codebooks * each * length;
  }
  if (file.word() != count) file.bad("the number of its numbers can't be");
  file.take(count * 4);
  if (has_sum) {
    uint32_t sum = 0;
    for (uint64_t i = 0; i + 1 < numbers.size() / 4; ++i) sum = std::rotl(sum, 20) + word_at(numbers, i);
    if (file.word() != sum) file.bad("its checksum is another");
  }
  file.expect_end();
}

/// The definition of the model: phones, and which states each is made of.
void check_definition(const std::filesystem::path& path) {
  Bytes file(path);
  if (file.take(4) != "BMDF") file.bad("it does not begin as such a file does");
  if (file.word() > 1) file.bad("it is of another version");
  file.take(file.word());  // a description of the format
  const uint64_t simple = file.count("phones"), phones = file.count("phones"), emitting = file.count("states");
  const uint64_t simple_states = file.count("states"), states = file.count("states");
  const uint64_t matrices = file.count("matrices"), sequences = file.count("sequences");
  file.count("phones of context");
  const uint64_t nodes = file.count("nodes");
  const uint32_t silence = file.word();
  if (simple > phones || simple_states > states || silence >= simple) file.bad("its numbers contradict one another");
  for (uint64_t i = 0; i < simple; ++i) {
    const size_t end = file.rest().find('\0');
    if (end == std::string_view::npos) file.bad("a name does not end");
    file.take(end + 1);
  }
  file.align();
  const std::string_view tree = file.take(nodes * 8);  // {int16 phone, int16 children, int32 first child or phone}
  for (uint64_t i = 0; i < nodes; ++i) {
    const uint32_t children = word_at(tree, 2 * i) >> 16, first = word_at(tree, 2 * i + 1);
    // No phone is named by -1.
    if (children == 0 ? first >= phones && first != ~uint32_t{0} : first > nodes || children > nodes - first)
      file.bad("a node of its tree leads nowhere");
  }
  const std::string_view all = file.take(phones * 12);  // {int32 sequence, int32 matrix, int8[4]}
  for (uint64_t i = 0; i < phones; ++i) {
    if (word_at(all, 3 * i) >= sequences || word_at(all, 3 * i + 1) >= matrices) file.bad("a phone has no states");
  }
  if (file.word() != sequences * emitting) file.bad("the number of its states can't be");
  const std::string_view sequence = file.take(sequences * emitting * 2);
  for (uint64_t i = 0; i < sequences * emitting; ++i) {
    uint16_t state = 0;
    std::memcpy(&state, sequence.data() + 2 * i, sizeof state);
    if (state >= states) file.bad("a state is not there");
  }
  file.expect_end();
}

/// The weights of the mixtures, which are mapped and not read: what is missing at the end would end the process.
void check_weights(const std::filesystem::path& path) {
  Bytes file(path);
  uint64_t streams = 1;
  while (const uint32_t length = file.word()) {
    const std::string_view line = file.take(length);
    constexpr std::string_view kStreams = "feature_count ";
    if (line.starts_with(kStreams) && line.size() > kStreams.size()) streams = static_cast<uint64_t>(line[14] - '0');
    if (line.starts_with("cluster_count ") && !line.starts_with("cluster_count 0")) return;  // another form
  }
  const uint64_t words = file.count("codewords"), states = file.count("states");
  file.take(streams * words * states);
}

void check_there(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) {
    throw Error(ErrorCode::not_found, "pocketsphinx's English model is not there", path.string(),
                "install it (Debian: pocketsphinx-en-us)");
  }
  if (std::filesystem::file_size(path, error) == 0) {
    throw Error(ErrorCode::io, "pocketsphinx's model is damaged: the file is empty", path.string(), kRemedy);
  }
}

}  // namespace

void check_pocketsphinx_model(const std::filesystem::path& folder) {
  const std::filesystem::path acoustic = folder / "en-us";
  for (const char* name : {"mdef", "means", "variances", "transition_matrices", "sendump", "feat.params"})
    check_there(acoustic / name);
  for (const char* name : {"en-us.lm.bin", "cmudict-en-us.dict"}) check_there(folder / name);
  if constexpr (std::endian::native == std::endian::little) {
    for (const char* name : {"means", "variances", "transition_matrices"}) check_numbers(acoustic / name);
    check_definition(acoustic / "mdef");
    check_weights(acoustic / "sendump");
  }
}

}  // namespace prosa::voice
