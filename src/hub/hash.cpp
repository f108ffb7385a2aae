// Hashes through OpenSSL's libcrypto, which uses the processor's SHA instructions.
#include "hub/hash.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <vector>

#include "base/check.h"
#include "hub/file.h"
#include "prosa/error.h"

namespace prosa::hub {

struct FileHash::Impl {
  struct Free {
    void operator()(EVP_MD_CTX* unused) const { EVP_MD_CTX_free(unused); }
  };
  std::unique_ptr<EVP_MD_CTX, Free> context;  // null: HashKind::none
};

HashKind hash_kind(std::string_view etag) noexcept {
  if (etag.find_first_not_of("0123456789abcdef") != std::string_view::npos) return HashKind::none;
  if (etag.size() == 40) return HashKind::git_sha1;
  return etag.size() == 64 ? HashKind::sha256 : HashKind::none;
}

FileHash::FileHash(HashKind kind, uint64_t size) : impl_(std::make_unique<Impl>()) {
  if (kind == HashKind::none) return;
  impl_->context.reset(EVP_MD_CTX_new());
  PROSA_CHECK(impl_->context != nullptr);
  PROSA_CHECK(EVP_DigestInit_ex(impl_->context.get(), kind == HashKind::sha256 ? EVP_sha256() : EVP_sha1(), nullptr) ==
              1);
  if (kind != HashKind::git_sha1) return;
  const std::string head = "blob " + std::to_string(size);
  update(std::as_bytes(std::span(head.c_str(), head.size() + 1)));  // with the zero at its end
}

FileHash::~FileHash() = default;
FileHash::FileHash(FileHash&&) noexcept = default;
FileHash& FileHash::operator=(FileHash&&) noexcept = default;

void FileHash::update(std::span<const std::byte> bytes) {
  if (impl_->context) PROSA_CHECK(EVP_DigestUpdate(impl_->context.get(), bytes.data(), bytes.size()) == 1);
}

std::string FileHash::finish() {
  if (!impl_->context) return {};
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  PROSA_CHECK(EVP_DigestFinal_ex(impl_->context.get(), digest.data(), &size) == 1);
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text;
  for (unsigned i = 0; i < size; ++i) text += {digits[digest[i] >> 4], digits[digest[i] & 15]};
  return text;
}

std::string hash_file(const std::filesystem::path& file, HashKind kind) {
  const File opened = File::open_read(file);
  FileHash hash(kind, opened.size());
  std::vector<std::byte> buffer(size_t{1} << 20);
  uint64_t offset = 0;
  while (const size_t count = opened.read_at(offset, buffer)) {
    hash.update(std::span(buffer).first(count));
    offset += count;
  }
  return hash.finish();
}

}  // namespace prosa::hub
