// Pieces are handed out in the file's order, so that the hash, which needs the bytes in order, can follow closely: it
// reads what has arrived back from the page cache while the rest is still on its way.
#include "hub/transfer.h"

#include <algorithm>
#include <charconv>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "hub/hash.h"
#include "prosa/error.h"

namespace prosa::hub {
namespace {

constexpr size_t kFlushBytes = size_t{64} << 10;           // lost at most per connection when the process is killed
constexpr uint64_t kWorthATry = uint64_t{64} << 10;        // less than this is no progress, however often it comes
constexpr uint64_t kMaxUnknownBytes = uint64_t{64} << 20;  // of a file whose size the hub does not tell

std::string place(const TransferTools& tools, const RemoteFile& file) {
  return tools.name.repository() + "/" + file.path;
}

[[noreturn]] void fail_lying(const TransferTools& tools, const RemoteFile& file, const std::string& what) {
  throw Error(ErrorCode::network, what, place(tools, file), "the server contradicts itself: try again later");
}

/// "bytes 0-99/1234".
struct ContentRange {
  uint64_t begin = 0;
  std::optional<uint64_t> total;
};

std::optional<ContentRange> parse_content_range(const std::string& text) {
  if (!text.starts_with("bytes ")) return std::nullopt;
  ContentRange range;
  const char* end = text.data() + text.size();
  const auto begin = std::from_chars(text.data() + 6, end, range.begin);
  const size_t slash = text.find('/');
  if (begin.ec != std::errc() || slash == std::string::npos) return std::nullopt;
  uint64_t total = 0;
  const auto read = std::from_chars(text.data() + slash + 1, end, total);
  if (read.ec == std::errc() && read.ptr == end) range.total = total;
  return range;
}

/// Where the bytes are asked for: the storage the hub redirects to, remembered as long as it answers.
class Source {
 public:
  explicit Source(const RemoteFile& file) : home_(file.url), direct_(file.direct) {}

  std::string url() {
    const std::scoped_lock lock(mutex_);
    return direct_.empty() ? home_ : direct_;
  }
  void remember(const std::string& url) {
    const std::scoped_lock lock(mutex_);
    direct_ = url;
  }
  /// Links to storage expire. Whether there is another way than `url`.
  bool forget(const std::string& url) {
    const std::scoped_lock lock(mutex_);
    if (url == direct_) direct_.clear();
    return url != home_;
  }

 private:
  std::mutex mutex_;
  std::string home_;
  std::string direct_;
};

/// Fills one piece: collects what arrives and writes it in larger blocks, then tells the journal.
class PieceWriter {
 public:
  PieceWriter(const File& file, Journal& journal, Reporter& reporter, uint64_t piece)
      : file_(file), journal_(journal), reporter_(reporter), piece_(piece), done_(journal.done(piece)) {
    buffer_.reserve(kFlushBytes);
  }

  /// false: more came than the piece takes.
  bool add(std::span<const std::byte> bytes) {
    const auto room = static_cast<size_t>(journal_.length(piece_) - done_) - buffer_.size();
    const bool too_many = bytes.size() > room;
    bytes = bytes.first(std::min(bytes.size(), room));
    reporter_.add_received(static_cast<int64_t>(bytes.size()));
    buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
    if (bytes.size() == room || buffer_.size() >= kFlushBytes) flush();
    return !too_many;
  }
  void flush() {
    if (buffer_.empty()) return;
    file_.write_at(journal_.begin(piece_) + done_, buffer_);
    done_ += buffer_.size();
    buffer_.clear();
    journal_.record(piece_, done_);
  }
  [[nodiscard]] uint64_t next() const { return journal_.begin(piece_) + done_; }
  [[nodiscard]] uint64_t end() const { return journal_.begin(piece_) + journal_.length(piece_); }

 private:
  const File& file_;
  Journal& journal_;
  Reporter& reporter_;
  uint64_t piece_;
  uint64_t done_;
  std::vector<std::byte> buffer_;
};

/// All pieces of one file: threads that fetch, and the caller's that hashes.
class PieceTransfer {
 public:
  PieceTransfer(const TransferTools& tools, const RemoteFile& file, const File& into, Journal& journal)
      : tools_(tools),
        file_(file),
        into_(into),
        journal_(journal),
        source_(file),
        stop_(tools.abandon),
        hash_(hash_kind(file.etag), *file.size) {
    stop_ = false;
  }

  std::string run() {
    std::vector<std::jthread> threads;
    // Whatever ends this function, the threads end first.
    struct Join {
      PieceTransfer& transfer;
      std::vector<std::jthread>& threads;
      ~Join() {
        transfer.stop_ = true;
        threads.clear();
        transfer.stop_ = false;  // the clients have other things to do
      }
    } join{*this, threads};
    const size_t wanted = std::min<size_t>(tools_.clients.size(), count_open_pieces());
    running_ = wanted;
    for (size_t i = 0; i < wanted; ++i) threads.emplace_back([this, i] { work(i); });
    while (!finished()) {
      tools_.reporter.emit();
      if (hash_more()) continue;
      std::unique_lock lock(mutex_);
      if (running_ > 0) changed_.wait_for(lock, std::chrono::milliseconds(5));
    }
    threads.clear();
    if (failure_) std::rethrow_exception(failure_);
    while (hash_more()) {
    }
    return hash_.finish();
  }

 private:
  [[nodiscard]] size_t count_open_pieces() const {
    size_t open = 0;
    for (uint64_t i = 0; i < journal_.pieces(); ++i) open += journal_.done(i) < journal_.length(i);
    return open;
  }

  bool finished() {
    const std::scoped_lock lock(mutex_);
    return running_ == 0;
  }

  /// Up to 16 blocks of what has arrived in order. Whether there was any.
  bool hash_more() {
    const uint64_t arrived = journal_.prefix();
    const uint64_t until = std::min<uint64_t>(arrived, hashed_ + 16 * block_.size());
    if (hashed_ == until) return false;
    while (hashed_ < until) {
      const auto block =
          std::span(block_).first(static_cast<size_t>(std::min<uint64_t>(block_.size(), until - hashed_)));
      if (into_.read_at(hashed_, block) != block.size()) throw WorthlessPartial{"has become shorter"};
      hash_.update(block);
      hashed_ += block.size();
    }
    return true;
  }

  std::optional<uint64_t> take_piece() {
    const std::scoped_lock lock(mutex_);
    while (next_ < journal_.pieces() && journal_.done(next_) == journal_.length(next_)) ++next_;
    if (next_ == journal_.pieces()) return std::nullopt;
    return next_++;
  }

  void work(size_t number) {
    try {
      while (!stop_) {
        const auto piece = take_piece();
        if (!piece) break;
        fetch_piece(*tools_.clients[number], *piece);
        changed_.notify_one();
      }
    } catch (...) {
      const std::scoped_lock lock(mutex_);
      if (!failure_ && !stop_) failure_ = std::current_exception();
      stop_ = true;
    }
    const std::scoped_lock lock(mutex_);
    --running_;
    changed_.notify_one();
  }

  void fetch_piece(HttpClient& client, uint64_t piece) {
    PieceWriter writer(into_, journal_, tools_.reporter, piece);
    const Observer observer{[this] { return stop_ || tools_.observer.stopped(); }, tools_.observer.notice};
    Patience patience(tools_.settings, observer, place(tools_, file_));
    while (writer.next() < writer.end()) {
      const uint64_t before = writer.next();
      try {
        request_rest(client, writer);
        if (writer.next() < writer.end()) throw TransferFailure("the server sent less than it was asked for", true);
      } catch (const TransferFailure& failure) {
        writer.flush();
        if (writer.next() - before >= kWorthATry) patience.renew();
        if (writer.next() < writer.end()) patience.wait(failure);
      } catch (...) {
        writer.flush();
        throw;
      }
    }
  }

  void request_rest(HttpClient& client, PieceWriter& writer) {
    HttpRequest request;
    request.url = source_.url();
    const bool whole = writer.next() == 0 && writer.end() == *file_.size;
    if (!whole) request.range = ByteRange{writer.next(), writer.end()};
    bool checked = false;
    const Answer answer =
        follow(client, tools_.settings, request, [&](const HttpResponse& head, std::span<const std::byte> bytes) {
          if (stop_) throw TransferFailure("stopped", false);
          if (!checked) check_head(head, whole, writer.next());
          checked = true;
          return writer.add(bytes);
        });
    writer.flush();
    const int status = answer.response.status;
    if (status / 100 == 2) {
      if (answer.url != file_.url) source_.remember(answer.url);
      return;
    }
    if (status == 416) throw WorthlessPartial{"is longer than the file on the server"};
    if (source_.forget(request.url)) return request_rest(client, writer);
    refuse(tools_.settings, tools_.name, file_.path, answer.response);
  }

  void check_head(const HttpResponse& head, bool whole, uint64_t begin) const {
    if (head.status == 200 && !whole) throw NoRanges{};
    std::optional<uint64_t> total;
    if (head.status == 206) {
      const auto range = parse_content_range(head.header("content-range"));
      if (!range || range->begin != begin)
        fail_lying(tools_, file_, "the server sends other bytes than it was asked for");
      total = range->total;
    } else if (const std::string length = head.header("content-length"); !length.empty()) {
      uint64_t number = 0;
      if (std::from_chars(length.data(), length.data() + length.size(), number).ec == std::errc()) total = number;
    }
    if (total && *total != *file_.size) {
      fail_lying(tools_, file_, fmt::format("has {} bytes, but {} were announced", *total, *file_.size));
    }
  }

  const TransferTools& tools_;
  const RemoteFile& file_;
  const File& into_;
  Journal& journal_;
  Source source_;
  std::atomic<bool>& stop_;
  FileHash hash_;
  uint64_t hashed_ = 0;
  std::vector<std::byte> block_ = std::vector<std::byte>(size_t{256} << 10);
  std::mutex mutex_;
  std::condition_variable changed_;
  uint64_t next_ = 0;  // guarded by mutex_, as the following
  size_t running_ = 0;
  std::exception_ptr failure_;  // the first
};

}  // namespace

std::string transfer_pieces(const TransferTools& tools, const RemoteFile& file, const File& into, Journal& journal) {
  return PieceTransfer(tools, file, into, journal).run();
}

std::string transfer_whole(const TransferTools& tools, const RemoteFile& file, const File& into) {
  const uint64_t limit = file.size.value_or(kMaxUnknownBytes);
  Patience patience(tools.settings, tools.observer, place(tools, file));
  const int64_t done_before = tools.reporter.done();
  uint64_t size = 0;
  const Answer answer = patience.insist([&] {
    tools.reporter.rewind(done_before);
    into.resize(0);
    size = 0;
    Answer received = follow(*tools.clients.front(), tools.settings, {file.url, false, {}, {}},
                             [&](const HttpResponse&, std::span<const std::byte> bytes) {
                               if (bytes.size() > limit - size) {
                                 fail_lying(tools, file, fmt::format("is longer than the {} bytes it may have", limit));
                               }
                               into.write_at(size, bytes);
                               size += bytes.size();
                               tools.reporter.add_received(static_cast<int64_t>(bytes.size()));
                               tools.reporter.emit();
                               return true;
                             });
    if (received.response.status / 100 == 2 && file.size && size < *file.size) {
      throw TransferFailure("the server sent less than it announced", true);
    }
    return received;
  });
  if (answer.response.status != 200) refuse(tools.settings, tools.name, file.path, answer.response);
  FileHash hash(hash_kind(file.etag), size);
  std::vector<std::byte> block(size_t{1} << 20);
  for (uint64_t offset = 0; const size_t count = into.read_at(offset, block); offset += count) {
    hash.update(std::span(block).first(count));
  }
  return hash.finish();
}

}  // namespace prosa::hub
