// The safetensors reader against files that are damaged or hostile, and the writer.
//
// Every malformed file here must end in a prosa::Error that names the file; the mutation test adds thousands more and
// is meant to run under AddressSanitizer too.
#include "format/safetensors.h"

#include <gtest/gtest.h>

#include <fstream>
#include <random>
#include <string>

#include "format/safetensors_writer.h"
#include "test_files.h"

namespace prosa::format {
namespace {

namespace fs = std::filesystem;
using test::expect_error;
using test::golden;
using test::read_bytes;
using test::safetensors_bytes;
using test::write_bytes;

const std::string kA = R"("a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]})";

struct MalformedCase {
  const char* name;
  std::string header;
  size_t data_bytes;
  const char* part;  // of the message
};

std::ostream& operator<<(std::ostream& out, const MalformedCase& item) { return out << item.name; }

class Malformed : public testing::TestWithParam<MalformedCase> {};

TEST_P(Malformed, IsRefusedWithTheReason) {
  const TempFolder folder;
  const fs::path path = folder.path() / "model.safetensors";
  write_bytes(path, safetensors_bytes(GetParam().header, GetParam().data_bytes));
  expect_error(ErrorCode::bad_checkpoint, {path.string(), GetParam().part}, [&] { SafetensorsFile::open(path); });
}

std::string nested(size_t depth) { return "{\"a\":" + std::string(depth, '[') + std::string(depth, ']') + "}"; }

INSTANTIATE_TEST_SUITE_P(
    Headers, Malformed,
    testing::Values(
        MalformedCase{"NotJson", "{\"a\":", 16, "JSON"},
        MalformedCase{"ZeroByteInThePadding", std::string("{} \0 ", 5), 16, "JSON"},
        MalformedCase{"Empty", "", 16, "'{'"}, MalformedCase{"Array", "[]", 0, "'{'"},
        MalformedCase{"Trailing", "{" + kA + "} x", 16, "JSON"},
        MalformedCase{"DeepArrays", nested(200000), 0, "an array"},
        MalformedCase{"DeepObjects", "{\"a\":{\"shape\":{\"b\":{}}}}", 0, "an object"},
        MalformedCase{"TensorIsNumber", "{\"a\":7}", 0, "a number"},
        MalformedCase{"InvalidUtf8", "{\"\xff\":{\"dtype\":\"F32\"}}", 0, "JSON"},
        MalformedCase{"EmptyName", R"({"":{"dtype":"F32","shape":[],"data_offsets":[0,4]}})", 4, "name"},
        MalformedCase{"DuplicateTensor", "{" + kA + "," + kA + "}", 16, "twice"},
        MalformedCase{"DuplicateField", R"({"a":{"dtype":"F32","dtype":"F32","shape":[4],"data_offsets":[0,16]}})", 16,
                      "twice"},
        MalformedCase{"DuplicateMetadata", R"({"__metadata__":{},"__metadata__":{}})", 0, "twice"},
        MalformedCase{"MetadataIsNumber", R"({"__metadata__":{"a":1}})", 0, "a number"},
        MalformedCase{"MetadataIsNullInside", R"({"__metadata__":{"a":null}})", 0, "null"},
        MalformedCase{"MissingShape", R"({"a":{"dtype":"F32","data_offsets":[0,16]}})", 16, "needs"},
        MalformedCase{"NegativeDimension", R"({"a":{"dtype":"F32","shape":[-4],"data_offsets":[0,16]}})", 16,
                      "negative"},
        MalformedCase{"FractionDimension", R"({"a":{"dtype":"F32","shape":[4.0],"data_offsets":[0,16]}})", 16,
                      "fraction"},
        MalformedCase{"OneOffset", R"({"a":{"dtype":"F32","shape":[4],"data_offsets":[16]}})", 16, "data_offsets"},
        MalformedCase{"BackwardsOffsets", R"({"a":{"dtype":"F32","shape":[4],"data_offsets":[16,0]}})", 16,
                      "backwards"},
        MalformedCase{"BeyondTheFile", R"({"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}})", 12, "16"},
        MalformedCase{"WrongSize", R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,16]}})", 16, "[3]"},
        MalformedCase{"ProductOverflows",
                      R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", 0, "4294967296"},
        MalformedCase{"DimensionOverflows",
                      R"({"a":{"dtype":"U8","shape":[9223372036854775808],"data_offsets":[0,16]}})", 16, "2^62"},
        MalformedCase{"Overlap", "{" + kA + R"(,"b":{"dtype":"F32","shape":[2],"data_offsets":[12,20]}})", 20,
                      "overlaps"},
        MalformedCase{"Hole", "{" + kA + R"(,"b":{"dtype":"F32","shape":[1],"data_offsets":[20,24]}})", 24, "hole"},
        MalformedCase{"TrailingData", "{" + kA + "}", 20, "16"},
        MalformedCase{"RankOfHundreds",
                      [] {
                        std::string dims = "1";
                        for (int i = 0; i < 300; ++i) dims += ",1";
                        return R"({"a":{"dtype":"U8","shape":[)" + dims + R"(],"data_offsets":[0,1]}})";
                      }(),
                      1, "numbers"}),
    [](const auto& param_info) { return std::string(param_info.param.name); });

TEST(SafetensorsReader, RefusesImpossibleHeaderLengths) {
  const TempFolder folder;
  const fs::path path = folder.path() / "x.safetensors";
  for (const uint64_t length : {uint64_t{1} << 63, ~uint64_t{0}, uint64_t{100'000'001}, uint64_t{9}}) {
    std::string bytes(16, '{');
    std::memcpy(bytes.data(), &length, 8);
    write_bytes(path, bytes);
    expect_error(ErrorCode::bad_checkpoint, {path.string(), std::to_string(length)},
                 [&] { SafetensorsFile::open(path); });
  }
  for (const size_t size : {size_t{0}, size_t{7}}) {
    write_bytes(path, std::string(size, '\0'));
    expect_error(ErrorCode::bad_checkpoint, {path.string()}, [&] { SafetensorsFile::open(path); });
  }
}

TEST(SafetensorsReader, NamesAnUnknownType) {
  const TempFolder folder;
  const fs::path path = folder.path() / "x.safetensors";
  write_bytes(path, safetensors_bytes(R"({"a":{"dtype":"Q4_K","shape":[4],"data_offsets":[0,16]}})", 16));
  expect_error(ErrorCode::unsupported, {"'a'", "Q4_K"}, [&] { SafetensorsFile::open(path); });
}

TEST(SafetensorsReader, RefusesWhatIsNoFile) {
  const TempFolder folder;
  expect_error(ErrorCode::not_found, {"nothing"}, [&] { SafetensorsFile::open(folder.path() / "nothing"); });
  expect_error(ErrorCode::io, {folder.path().string()}, [&] { SafetensorsFile::open(folder.path()); });
}

TEST(SafetensorsReader, ReadsWhatIsLegalButUnusual) {
  const TempFolder folder;
  const fs::path path = folder.path() / "x.safetensors";
  const std::string header =
      R"( {"b":{"shape":[],"data_offsets":[16,20],"dtype":"F32"},"empty":{"dtype":"I64","shape":[0,5],"data_offsets":[16,16]},)" +
      kA + R"(,"__metadata__":{"format":"pt"}}   )";
  write_bytes(path, safetensors_bytes(header.substr(1), 20));
  const auto file = SafetensorsFile::open(path);
  ASSERT_EQ(file.entries().size(), 3U);
  EXPECT_EQ(file.metadata().at("format"), "pt");
  EXPECT_TRUE(file.find("b")->shape.empty());
  EXPECT_EQ(file.data(*file.find("b")).size(), 4U);
  EXPECT_EQ(file.data(*file.find("empty")).size(), 0U);
  EXPECT_EQ(file.find("c"), nullptr);
}

/// What the official reader (safetensors 0.8) takes as well: each of these opens there.
TEST(SafetensorsReader, IsAsLenientAsTheOfficialOne) {
  const TempFolder folder;
  const fs::path path = folder.path() / "x.safetensors";
  const auto opens = [&](const std::string& header, size_t bytes) {
    write_bytes(path, safetensors_bytes(header, bytes));
    return SafetensorsFile::open(path);
  };
  EXPECT_EQ(opens(R"({"__metadata__":null,)" + kA + "}", 16).entries().size(), 1U);
  std::string many = R"({"__metadata__":{)";
  for (int i = 0; i < 5000; ++i) many += (i > 0 ? ",\"k" : "\"k") + std::to_string(i) + "\":\"v\"";
  EXPECT_EQ(opens(many + "}," + kA + "}", 16).metadata().size(), 5000U);
  EXPECT_EQ(opens(R"({"__metadata__":{"x":"1","x":"2"},)" + kA + "}", 16).metadata().at("x"), "2");
  for (const char* field :
       {R"("x":1)", R"("x":null)", R"("x":"dtype")", R"("x":[1,2])", R"("x":-1.5)", R"("x":true)"}) {
    const auto file =
        opens(std::string(R"({"a":{"dtype":"F32",)") + field + R"(,"shape":[4],"data_offsets":[0,16]}})", 16);
    EXPECT_EQ(file.find("a")->shape, std::vector<int64_t>{4}) << field;
  }
}

TEST(SafetensorsReader, KnowsEveryTypeAndItsSize) {
  const std::vector<std::pair<std::string, uint64_t>> types{
      {"BOOL", 8},    {"U8", 8},   {"I8", 8},          {"I16", 16},       {"U16", 16},    {"F16", 16},
      {"BF16", 16},   {"I32", 32}, {"U32", 32},        {"F32", 32},       {"F64", 64},    {"I64", 64},
      {"U64", 64},    {"F4", 4},   {"F6_E2M3", 6},     {"F6_E3M2", 6},    {"F8_E5M2", 8}, {"F8_E4M3", 8},
      {"F8_E8M0", 8}, {"C64", 64}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}};
  for (const auto& [name, bits] : types) {
    const auto type = parse_tensor_type(name);
    ASSERT_TRUE(type) << name;
    EXPECT_EQ(to_string(*type), name);
    EXPECT_EQ(tensor_type_bits(*type), bits);
    EXPECT_EQ(tensor_bytes(std::vector<int64_t>{8, 3}, *type), 3 * bits) << name;
  }
  // Numbers that end within a byte are no tensor.
  EXPECT_EQ(tensor_bytes(std::vector<int64_t>{3}, TensorType::f4), std::nullopt);
  EXPECT_EQ(tensor_bytes(std::vector<int64_t>{4}, TensorType::f6_e2m3), 3U);
}

/// One to three bytes of a valid file's length and header changed: it opens or throws prosa::Error, nothing else; what
/// opens can be read to the last byte.
TEST(SafetensorsReader, SurvivesMutatedHeaders) {
  const TempFolder folder;
  const fs::path path = folder.path() / "model.safetensors";
  std::string header = "{\"__metadata__\":{\"format\":\"pt\"}," + kA;
  size_t offset = 16;
  for (int i = 0; i < 12; ++i) {
    header += ",\"layers." + std::to_string(i) + R"(.weight":{"dtype":"BF16","shape":[3,2],"data_offsets":[)" +
              std::to_string(offset) + "," + std::to_string(offset + 12) + "]}";
    offset += 12;
  }
  const std::string valid = safetensors_bytes(header + "}", offset);
  write_bytes(path, valid);
  const size_t mutable_bytes = 8 + header.size() + 1;
  const std::string alphabet = "{}[]\",:0123456789-.eE\\u \n";
  std::mt19937 random(20);
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  int opened = 0;
  int refused = 0;
  for (int round = 0; round < 20000; ++round) {
    std::string bytes = valid.substr(0, mutable_bytes);
    for (unsigned i = 0; i <= random() % 3; ++i) {
      char& byte = bytes[random() % mutable_bytes];
      switch (random() % 3) {
        case 0: byte = static_cast<char>(byte ^ (1 << (random() % 8))); break;
        case 1: byte = static_cast<char>(random()); break;
        default: byte = alphabet[random() % alphabet.size()]; break;
      }
    }
    file.seekp(0).write(bytes.data(), static_cast<std::streamsize>(bytes.size())).flush();
    try {
      const auto mutated = SafetensorsFile::open(path);
      unsigned sum = 0;
      for (const TensorEntry& entry : mutated.entries()) {
        for (const std::byte value : mutated.data(entry)) sum += std::to_integer<unsigned>(value);
      }
      EXPECT_EQ(sum, 0U);
      ++opened;
    } catch (const Error&) {
      ++refused;
    }
  }
  EXPECT_GT(opened, 100);  // a changed letter of a name is legal
  EXPECT_GT(refused, 5000);
}

TEST(SafetensorsWriter, MakesAGoldenFileAgain) {
  const auto source = SafetensorsFile::open(golden("tiny-mlx-mixed") / "model.safetensors");
  std::vector<TensorBytes> tensors;
  for (const TensorEntry& entry : source.entries()) {
    tensors.insert(tensors.begin(), {{entry.name, entry.type, entry.shape}, source.data(entry)});  // another order
  }
  const TempFolder folder;
  write_safetensors(folder.path() / "x.safetensors", tensors, {{"format", "mlx"}});
  EXPECT_TRUE(read_bytes(folder.path() / "x.safetensors") ==
              read_bytes(golden("tiny-mlx-mixed") / "model.safetensors"));
}

TEST(SafetensorsWriter, TakesPiecesInAnyOrderAndNamesWithQuotes) {
  const TempFolder folder;
  const fs::path path = folder.path() / "x.safetensors";
  const std::string name = "quote \" and \n newline";
  SafetensorsWriter writer(path, {{name, TensorType::u8, {6}}, {"b", TensorType::f32, {}}});
  const std::string text = "abcdef";
  const auto bytes = std::as_bytes(std::span(text));
  writer.write(0, 4, bytes.subspan(4));
  writer.write(1, 0, bytes.first(4));
  writer.write(0, 0, bytes.first(4));
  EXPECT_FALSE(fs::exists(path));
  writer.commit();
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), {}), 1) << "a temporary was left";
  EXPECT_EQ(fs::file_size(path), writer.file_bytes());
  const auto file = SafetensorsFile::open(path);
  const auto data = file.data(*file.find(name));
  EXPECT_EQ(std::memcmp(data.data(), text.data(), 6), 0);
}

TEST(SafetensorsWriter, LeavesNothingBehindWithoutCommit) {
  const TempFolder folder;
  const fs::path path = folder.path() / "x.safetensors";
  write_bytes(path, "what was there");
  { const SafetensorsWriter writer(path, {{"a", TensorType::u8, {6}}}); }
  EXPECT_EQ(read_bytes(path), "what was there");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), {}), 1) << "a temporary was left";
}

TEST(SafetensorsWriter, RefusesImpossibleTensors) {
  const TempFolder folder;
  const fs::path path = folder.path() / "x.safetensors";
  const auto make = [&](const std::vector<TensorSpec>& specs) { const SafetensorsWriter writer(path, specs); };
  expect_error(ErrorCode::invalid_argument, {"twice"}, [&] {
    make({{"a", TensorType::u8, {1}}, {"a", TensorType::u8, {1}}});
  });
  expect_error(ErrorCode::invalid_argument, {"shape"}, [&] { make({{"a", TensorType::f32, {1LL << 40, 1LL << 40}}}); });
  expect_error(ErrorCode::invalid_argument, {"shape"}, [&] { make({{"a", TensorType::f32, {-1}}}); });
  expect_error(ErrorCode::io, {"can't create"}, [&] {
    const SafetensorsWriter writer(folder.path() / "no" / "folder.safetensors", {{"a", TensorType::u8, {1}}});
  });
}

}  // namespace
}  // namespace prosa::format
