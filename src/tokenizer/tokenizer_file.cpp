// The checks, in the order of the file: model, vocabulary, merges, added tokens, and the steps around the model.
#include "tokenizer/tokenizer_file.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/utf8.h"
#include "prosa/error.h"
#include "tokenizer/json_reader.h"

namespace prosa {
namespace {

using nlohmann::json;

constexpr size_t kMaxAddedBytes = 1024;  // of one added token; bounds the work per byte of text
constexpr std::string_view kRemedy = "prosa reads the byte-level BPE files of Qwen2, Qwen3 and Qwen3.5";

[[noreturn]] void fail(const std::string& where, std::string_view key, std::string message) {
  throw Error(ErrorCode::bad_tokenizer, std::move(message), fmt::format("{}: {}", where, key),
              "the file may be damaged; fetch it again");
}
[[noreturn]] void unsupported(const std::string& where, std::string_view key, std::string message) {
  throw Error(ErrorCode::unsupported, std::move(message), fmt::format("{}: {}", where, key), std::string(kRemedy));
}

/// For messages: invalid UTF-8 can't occur (the JSON parser refuses it), length can.
std::string shortened(std::string_view text) {
  if (text.size() <= 200) return std::string(text);
  std::string out;
  utf8::append_complete(out, text.substr(0, 200));
  return out + "…";
}
std::string shown(const json& value) { return shortened(value.dump()); }

/// The member, or null where it is missing.
const json& member(const json& object, const char* key) {
  static const json null;
  const auto found = object.find(key);
  return found == object.end() ? null : *found;
}

std::string type_of(const json& step) {
  const json& type = step.is_object() ? member(step, "type") : step;
  return type.is_string() ? type.get<std::string>() : std::string();
}

// ---- bytes <-> the printable characters that stand for them in the vocabulary

/// Printable Latin-1 stands for itself; the other 68 bytes take U+0100 and up, in order.
std::array<char32_t, 256> make_byte_letters() {
  std::array<char32_t, 256> letters{};
  char32_t next_free = 0x100;
  for (char32_t byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte != 0xad);
    letters[byte] = printable ? byte : next_free++;
  }
  return letters;
}

class ByteAlphabet {
 public:
  ByteAlphabet() : letters_(make_byte_letters()) {
    bytes_.fill(-1);
    for (size_t byte = 0; byte < 256; ++byte) bytes_[letters_[byte]] = static_cast<int16_t>(byte);
  }
  [[nodiscard]] std::string spell(unsigned char byte) const {
    std::string out;
    utf8::append(out, letters_[byte]);
    return out;
  }
  /// The bytes that `spelled` stands for; the text itself, and false, if it is not all of the alphabet (a control
  /// token).
  bool bytes_of(std::string_view spelled, std::string& out) const {
    out.clear();
    for (size_t at = 0; at < spelled.size();) {
      const char32_t code = utf8::next(spelled, at);
      if (code >= bytes_.size() || bytes_[code] < 0) {
        out = spelled;
        return false;
      }
      out.push_back(static_cast<char>(bytes_[code]));
    }
    return true;
  }

 private:
  std::array<char32_t, 256> letters_;
  std::array<int16_t, 0x144> bytes_{};  // letter -> byte or -1
};

// ---- the members

void check_model_options(const json& model, const std::string& where) {
  const json& type = member(model, "type");  // older files have none: vocabulary and merges say as much
  if (!type.is_null() && !type.is_string()) fail(where, "model.type", "not a string");
  if (!type.is_null() && !is_text(type, "BPE")) {
    unsupported(where, "model.type", fmt::format("the model is {}, not BPE", shown(type)));
  }
  // fuse_unk and byte_fallback are about what has no token, and here every byte has one.
  for (const char* key : {"dropout", "continuing_subword_prefix", "end_of_word_suffix"}) {
    const json& value = member(model, key);
    const bool off = value.is_null() || value == false || is_text(value, "") || (value.is_number() && value == 0);
    if (!off) unsupported(where, fmt::format("model.{}", key), fmt::format("{} is not known", shown(value)));
  }
}

bool flag(const json& token, const char* key, const std::string& where, const std::string& at) {
  const json& value = member(token, key);
  if (value.is_null()) return false;
  if (!value.is_boolean()) fail(where, fmt::format("{}.{}", at, key), "must be true or false");
  return value.get<bool>();
}

/// AddedToken::control.
bool is_control(const AddedToken& token) {
  constexpr std::array<std::string_view, 6> kTags = {"<think>",      "</think>",        "<tool_call>",
                                                     "</tool_call>", "<tool_response>", "</tool_response>"};
  const std::string_view text = token.content;
  return token.special || (text.starts_with("<|") && text.ends_with("|>")) ||
         std::ranges::find(kTags, text) != kTags.end();
}

/// Takes the texts out of the list, which may be most of the file.
std::vector<AddedToken> read_added(json& list, const std::string& where) {
  std::vector<AddedToken> added;
  if (list.is_null()) return added;
  if (!list.is_array()) fail(where, "added_tokens", "must be an array");
  added.reserve(list.size());
  for (size_t i = 0; i < list.size(); ++i) {
    const std::string at = fmt::format("added_tokens[{}]", i);
    json& token = list[i];
    if (!token.is_object()) fail(where, at, "must be an object");
    const json& id = member(token, "id");
    const auto content = token.find("content");
    if (!id.is_number_unsigned() || id.get<uint64_t>() > INT32_MAX) {
      fail(where, at + ".id", fmt::format("{} is not a token id", shown(id)));
    }
    if (content == token.end() || !content->is_string()) fail(where, at + ".content", "missing or not a string");
    AddedToken out;
    out.content = std::move(content->get_ref<std::string&>());
    if (out.content.empty() || out.content.size() > kMaxAddedBytes) {
      fail(where, at + ".content", fmt::format("must have 1 to {} bytes", kMaxAddedBytes));
    }
    out.id = static_cast<int32_t>(id.get<uint64_t>());
    out.special = flag(token, "special", where, at);
    const bool has_normalized = !member(token, "normalized").is_null();
    out.normalized = has_normalized ? flag(token, "normalized", where, at) : !out.special;
    out.single_word = flag(token, "single_word", where, at);
    out.lstrip = flag(token, "lstrip", where, at);
    out.rstrip = flag(token, "rstrip", where, at);
    out.control = is_control(out);
    added.push_back(std::move(out));
  }
  return added;
}

/// True for NFC, false for none; a Sequence may hold at most NFC.
bool read_normalizer(const json& step, const std::string& where, int depth = 0) {
  if (step.is_null()) return false;
  const std::string type = type_of(step);
  if (type == "NFC") return true;
  const json& parts = step.is_object() ? member(step, "normalizers") : step;
  if (type == "Sequence" && parts.is_array() && depth < 4) {
    bool nfc = false;
    for (const json& part : parts) nfc = read_normalizer(part, where, depth + 1) || nfc;
    return nfc;
  }
  unsupported(where, "normalizer", fmt::format("{} is not known, only NFC is", shown(step)));
}

bool is_plain_byte_level(const json& step) {
  return type_of(step) == "ByteLevel" && member(step, "add_prefix_space") == false;
}

PreTokenizer read_pretokenizer(const json& step, const std::string& where) {
  const json& parts = step.is_object() ? member(step, "pretokenizers") : step;
  if (type_of(step) != "Sequence" || !parts.is_array() || parts.size() != 2 || type_of(parts[0]) != "Split" ||
      !is_plain_byte_level(parts[1]) || member(parts[1], "use_regex") != false) {
    unsupported(where, "pre_tokenizer",
                fmt::format("{} is not Sequence[Split, ByteLevel] without prefix space and expression", shown(step)));
  }
  const json& split = parts[0];
  if (member(split, "behavior") != "Isolated" || (!member(split, "invert").is_null() && split["invert"] != false)) {
    unsupported(where, "pre_tokenizer.pretokenizers[0]", "behavior must be Isolated, invert false");
  }
  const json& pattern = member(split, "pattern");
  const json& regex = pattern.is_object() ? member(pattern, "Regex") : pattern;
  if (!pattern.is_object() || !regex.is_string()) {
    fail(where, "pre_tokenizer.pretokenizers[0].pattern.Regex", "missing or not a string");
  }
  const auto& expression = regex.get_ref<const std::string&>();
  if (const auto kind = pretokenizer_for(expression)) return *kind;
  unsupported(where, "pre_tokenizer.pretokenizers[0].pattern.Regex",
              fmt::format("the expression {} is not known", shortened(expression)));
}

/// A template that puts no token before or behind the text.
bool is_empty_template(const json& step) {
  const json& single = member(step, "single");
  if (type_of(step) != "TemplateProcessing" || !single.is_array() || single.size() != 1) return false;
  return single[0].is_object() && single[0].contains("Sequence");
}

/// post_processor and decoder: only steps that change no id, alone, in a Sequence, or nothing.
void check_byte_level(const json& file, const char* key, const char* parts_key, const std::string& where) {
  const json& step = member(file, key);
  const auto is_fine = [](const json& part) { return type_of(part) == "ByteLevel" || is_empty_template(part); };
  if (step.is_null() || is_fine(step)) return;
  const json& parts = step.is_object() ? member(step, parts_key) : step;
  const bool fine = type_of(step) == "Sequence" && parts.is_array() && std::ranges::all_of(parts, is_fine);
  if (!fine) {
    unsupported(where, key,
                fmt::format("{} is not known, only ByteLevel and a template that adds nothing are", shown(step)));
  }
}

/// How text becomes pieces: by the file, or by the class that the official library reads it with.
void read_steps(const json& source, bool qwen35_class, TokenizerFile& file, const std::string& where) {
  const json& normalizer = member(source, "normalizer");
  const json& pretokenizer = member(source, "pre_tokenizer");
  if (!qwen35_class) {
    file.nfc = read_normalizer(normalizer, where);
    file.pretokenizer = read_pretokenizer(pretokenizer, where);
    return;
  }
  file.nfc = true;
  file.pretokenizer = PreTokenizer::qwen35;
  const auto differs = [&](const auto& read, const auto& used) {
    try {
      return read() != used;
    } catch (const Error&) {
      return true;
    }
  };
  const auto warn = [&](const char* key, const char* what) {
    file.warnings.push_back(
        fmt::format("{}: {}: the file has {} than Qwen3.5, but config.json says that this is such a "
                    "model: that of Qwen3.5 is used, as transformers' AutoTokenizer does",
                    where, key, what));
  };
  if (differs([&] { return read_normalizer(normalizer, where); }, file.nfc)) warn("normalizer", "another one");
  if (differs([&] { return read_pretokenizer(pretokenizer, where); }, file.pretokenizer)) {
    warn("pre_tokenizer", "another expression");
  }
}

/// Of a token that the file tells twice, the last one counts, under the first one's id. Fills file.added_texts.
void drop_repeated(TokenizerFile& file, const std::string& where) {
  StringPool& contents = file.added_texts;
  StringIndex seen(file.added.size());
  size_t kept = 0;
  for (AddedToken& token : file.added) {
    const int32_t same = seen.find(contents, token.content);
    if (same != StringIndex::kNone) {
      AddedToken& first = file.added[static_cast<size_t>(same)];
      if (token.id != first.id) {
        file.warnings.push_back(fmt::format("{}: added_tokens: \"{}\" appears with the ids {} and {}: {} is used",
                                            where, shortened(token.content), first.id, token.id, first.id));
      }
      token.id = first.id;
      first = std::move(token);
      continue;
    }
    contents.add(token.content);
    seen.insert(contents, static_cast<int32_t>(kept));
    if (&file.added[kept] != &token) file.added[kept] = std::move(token);
    ++kept;
  }
  file.added.resize(kept);
}

// ---- vocabulary, merges and ids

/// Fills file.tokens from vocabulary and added tokens; checks that ids are dense and that no two tokens share one.
void place_tokens(const TokenizerJson& source, const StringIndex& spellings, const ByteAlphabet& alphabet,
                  bool ignore_merges, TokenizerFile& file, const std::string& where) {
  constexpr int64_t kFree = -1;
  const size_t vocab = source.vocab.size();
  const size_t limit = vocab + file.added.size();  // ids can't be dense beyond that
  std::vector<int64_t> owner(limit, kFree);        // id -> vocabulary entry, or vocab + added token
  const auto claim = [&](uint64_t id, size_t who, const std::string& key) {
    if (id >= limit) fail(where, key, fmt::format("id {} with only {} tokens: ids must be dense from 0", id, limit));
    if (owner[id] != kFree) fail(where, key, fmt::format("id {} is taken by another token", id));
    owner[id] = static_cast<int64_t>(who);
  };
  for (size_t i = 0; i < vocab; ++i) {
    claim(source.vocab_ids[i], i, fmt::format("model.vocab[\"{}\"]", shortened(source.vocab[i])));
  }
  for (size_t i = 0; i < file.added.size(); ++i) {
    const AddedToken& token = file.added[i];
    const std::string key = fmt::format("added_tokens[{}] \"{}\"", i, shortened(token.content));
    const int32_t same = spellings.find(source.vocab, token.content);
    if (same == StringIndex::kNone) {
      claim(static_cast<uint64_t>(token.id), vocab + i, key);
    } else if (source.vocab_ids[static_cast<size_t>(same)] != static_cast<uint64_t>(token.id)) {
      fail(where, key,
           fmt::format("id {}, but {} in model.vocab", token.id, source.vocab_ids[static_cast<size_t>(same)]));
    }  // else the same token, told twice
  }
  const auto first_free = std::ranges::find(owner, kFree);
  if (const auto hole = std::find_if(first_free, owner.end(), [](int64_t who) { return who != kFree; });
      hole != owner.end()) {
    fail(where, "model.vocab", fmt::format("no token has id {}: ids must be dense from 0", first_free - owner.begin()));
  }
  std::string bytes;
  if (ignore_merges) file.unmerged.resize(static_cast<size_t>(first_free - owner.begin()));
  for (auto who = owner.begin(); who != first_free; ++who) {
    const auto index = static_cast<size_t>(*who);
    if (index < vocab) {
      const bool spelled = alphabet.bytes_of(source.vocab[index], bytes);
      if (ignore_merges) file.unmerged[file.tokens.size()] = spelled;
      file.tokens.add(bytes);
    } else {
      file.tokens.add(file.added[index - vocab].content);
    }
  }
}

std::vector<Merge> resolve_merges(const TokenizerJson& source, const StringIndex& spellings, const std::string& where) {
  std::vector<Merge> merges;
  merges.reserve(source.merges.size() / 2);
  std::string joined;
  const auto id_of = [&](std::string_view spelled) {
    const int32_t index = spellings.find(source.vocab, spelled);
    if (index == StringIndex::kNone) {
      fail(where, fmt::format("model.merges[{}]", merges.size()),
           fmt::format("\"{}\" is not in model.vocab", shortened(spelled)));
    }
    return static_cast<int32_t>(source.vocab_ids[static_cast<size_t>(index)]);
  };
  for (size_t i = 0; i + 1 < source.merges.size(); i += 2) {
    const std::string_view left = source.merges[i];
    const std::string_view right = source.merges[i + 1];
    joined.assign(left).append(right);
    if (left.empty() || right.empty()) fail(where, fmt::format("model.merges[{}]", i / 2), "one side is empty");
    merges.push_back({id_of(left), id_of(right), id_of(joined)});
  }
  return merges;
}

}  // namespace

TokenizerFile parse_tokenizer_json(std::string_view text, const std::string& where, bool qwen35_class) {
  TokenizerJson source = read_tokenizer_json(text, where);
  if (!source.rest.is_object()) fail(where, "(top)", "must be a JSON object");
  const json& model = member(source.rest, "model");
  if (!model.is_object()) fail(where, "model", "missing or not an object");
  check_model_options(model, where);
  if (!source.has_vocab) fail(where, "model.vocab", "missing or not an object");
  if (!source.has_merges) fail(where, "model.merges", "missing or not an array");

  TokenizerFile file;
  read_steps(source.rest, qwen35_class, file, where);
  check_byte_level(source.rest, "post_processor", "processors", where);
  if (!qwen35_class) check_byte_level(source.rest, "decoder", "decoders", where);
  if (const auto added = source.rest.find("added_tokens"); added != source.rest.end()) {
    file.added = read_added(*added, where);
    drop_repeated(file, where);
  }

  StringIndex spellings(source.vocab.size());
  for (size_t i = 0; i < source.vocab.size(); ++i) {
    const std::string_view token = source.vocab[i];
    if (token.empty()) fail(where, "model.vocab[\"\"]", "a token must not be empty");
    if (!spellings.insert(source.vocab, static_cast<int32_t>(i))) {
      fail(where, fmt::format("model.vocab[\"{}\"]", shortened(token)), "the token appears twice");
    }
  }
  const ByteAlphabet alphabet;
  place_tokens(source, spellings, alphabet, flag(model, "ignore_merges", where, "model"), file, where);
  for (size_t byte = 0; byte < 256; ++byte) {
    const std::string spelled = alphabet.spell(static_cast<unsigned char>(byte));
    const int32_t index = spellings.find(source.vocab, spelled);
    if (index == StringIndex::kNone) {
      fail(where, "model.vocab", fmt::format("the token \"{}\" for byte {:#04x} is missing", spelled, byte));
    }
    file.byte_ids[byte] = static_cast<int32_t>(source.vocab_ids[static_cast<size_t>(index)]);
  }
  file.merges = resolve_merges(source, spellings, where);
  return file;
}

}  // namespace prosa
