#include "probe.h"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>

#include "sha256.h"

namespace engine {

namespace {

constexpr size_t kReadBytes = 256 * kKiB;
constexpr size_t kReadsInFlight = 8;

// One poll of one connection.
void pump(Connection& connection, int timeoutMs) {
  if (connection.fd() == -1) return;
  pollfd fd = {connection.fd(), connection.pollEvents(), 0};
  if (poll(&fd, 1, timeoutMs) > 0) connection.notify(fd.revents);
}

// Answers first, goodbye second: a server may not like to be left in the middle of a read.
void part(Connection& connection) {
  TimePoint deadline = Clock::now() + milliseconds{500};
  while (connection.inFlight() > 0 && Clock::now() < deadline) pump(connection, 20);
  if (connection.inFlight() == 0) connection.startDisconnect();
  deadline = Clock::now() + milliseconds{100};
  while (connection.state() == Connection::State::closing && Clock::now() < deadline)
    pump(connection, 20);
}

// Reads ranges of an export, several requests at once. They may begin and end anywhere: a request is
// widened to what the server takes.
class RangeReader {
 public:
  // Is given the bytes in order: of which range they are, and its next bytes.
  using Sink = std::function<void(size_t range, const uint8_t* bytes, size_t count)>;
  RangeReader(const std::vector<Range>& ranges, Sink sink, Failure& failure)
      : ranges_(ranges), sink_(std::move(sink)), failure_(failure) {}

  // True: all was read. False: `failure` says why not.
  bool run(const Endpoint& endpoint, milliseconds timeout, const std::atomic<bool>& cancelled);

 private:
  struct Read {
    Command command;
    std::vector<uint8_t> buffer;
    size_t range = 0;
  };
  void send();
  void receive();
  void fail(const char* code, int error, const std::string& message, const Range& range = {});
  bool failed() const { return !failure_.code.empty(); }
  bool done() const { return next_ == ranges_.size() && inFlight_.empty(); }

  const std::vector<Range>& ranges_;
  const Sink sink_;
  Failure& failure_;
  std::vector<Command*> completed_;
  // Declared before the connection: libnbd may write to the buffers until that is closed.
  std::deque<std::unique_ptr<Read>> inFlight_;
  std::vector<std::unique_ptr<Read>> spare_;
  std::unique_ptr<Connection> connection_;
  uint64_t unit_ = 512;
  uint64_t requestBytes_ = kReadBytes;
  // What is asked for next: a range, and how much of it was asked for.
  size_t next_ = 0;
  uint64_t asked_ = 0;
};

bool RangeReader::run(const Endpoint& endpoint, milliseconds timeout,
                      const std::atomic<bool>& cancelled) {
  connection_ = connectAndWait(Side::target, endpoint, completed_, timeout, cancelled, failure_);
  if (!connection_) return false;
  const ExportInfo& info = connection_->info();
  unit_ = std::max<uint64_t>(info.minimumBlockBytes, 512);
  if (info.maximumBlockBytes != 0) requestBytes_ = std::min(requestBytes_, info.maximumBlockBytes);
  requestBytes_ = std::max(alignDown(requestBytes_, unit_), unit_);
  while (!failed() && !done()) {
    send();
    receive();
    if (cancelled) fail("ENGINE_ABORTED", 0, "the operation was aborted");
    if (failed() || inFlight_.empty()) continue;
    if (Clock::now() - connection_->lastProgress() > timeout)
      fail("ENGINE_TIMEOUT", ETIMEDOUT,
           "no answer within " + std::to_string(timeout.count()) + " ms");
    else pump(*connection_, 50);
  }
  part(*connection_);
  connection_.reset();
  return !failed();
}

void RangeReader::send() {
  const uint64_t size = connection_->info().sizeBytes;
  while (next_ < ranges_.size() && inFlight_.size() < kReadsInFlight) {
    const Range& range = ranges_[next_];
    if (asked_ == range.length) {
      next_++;
      asked_ = 0;
      continue;
    }
    if (range.end() > size)
      return fail("ENGINE_SIZE", 0,
                  "the range ends behind the export's " + std::to_string(size) + " bytes", range);
    auto read = spare_.empty() ? std::make_unique<Read>() : std::move(spare_.back());
    if (!spare_.empty()) spare_.pop_back();
    const uint64_t start = alignDown(range.offset + asked_, unit_);
    const uint64_t stop = std::min({start + requestBytes_, alignUp(range.end(), unit_), size});
    read->range = next_;
    read->buffer.resize(requestBytes_);
    read->command = Command();
    read->command.op = Op::read;
    read->command.offset = start;
    read->command.length = stop - start;
    read->command.buffer = read->buffer.data();
    asked_ = std::min(stop, range.end()) - range.offset;
    inFlight_.push_back(std::move(read));
    connection_->submit(inFlight_.back()->command);
  }
}

// Gives away what has arrived, as far as nothing before it is missing.
void RangeReader::receive() {
  while (!inFlight_.empty() && !failed()) {
    const Command& command = inFlight_.front()->command;
    if (std::erase(completed_, &command) == 0) return;
    if (command.error != 0)
      return fail(command.lost ? "ENGINE_LOST" : "ENGINE_READ", command.error,
                  command.lost ? connection_->message() : std::strerror(command.error),
                  {command.offset, command.length});
    const size_t index = inFlight_.front()->range;
    const Range& range = ranges_[index];
    const uint64_t from = std::max(range.offset, command.offset);
    const uint64_t to = std::min(range.end(), command.offset + command.length);
    sink_(index, command.buffer + (from - command.offset), to - from);
    spare_.push_back(std::move(inFlight_.front()));
    inFlight_.pop_front();
  }
}

void RangeReader::fail(const char* code, int error, const std::string& message,
                       const Range& range) {
  failure_.code = code;
  failure_.error = error;
  failure_.message = message;
  failure_.hasRange = range.length > 0;
  failure_.range = range;
}

}  // namespace

std::optional<ExportInfo> probeExport(const Endpoint& endpoint, milliseconds timeout,
                                      const std::atomic<bool>& cancelled, Failure& failure) {
  std::vector<Command*> completed;
  auto connection = connectAndWait(Side::target, endpoint, completed, timeout, cancelled, failure);
  if (!connection) return std::nullopt;
  ExportInfo info = connection->info();
  part(*connection);
  return info;
}

std::vector<std::string> digestRanges(const Endpoint& endpoint, const std::vector<Range>& ranges,
                                      milliseconds timeout, const std::atomic<bool>& cancelled,
                                      Failure& failure) {
  std::vector<Sha256> hashes(ranges.size());
  auto hash = [&](size_t range, const uint8_t* bytes, size_t count) {
    hashes[range].update(bytes, count);
  };
  if (!RangeReader(ranges, hash, failure).run(endpoint, timeout, cancelled)) return {};
  std::vector<std::string> digests;
  for (Sha256& each : hashes) digests.push_back(each.finish());
  return digests;
}

std::vector<uint8_t> readRange(const Endpoint& endpoint, const Range& range, milliseconds timeout,
                               const std::atomic<bool>& cancelled, Failure& failure) {
  const std::vector<Range> ranges = {range};
  std::vector<uint8_t> answer;
  auto keep = [&](size_t, const uint8_t* bytes, size_t count) {
    answer.insert(answer.end(), bytes, bytes + count);
  };
  if (!RangeReader(ranges, keep, failure).run(endpoint, timeout, cancelled)) return {};
  return answer;
}

}  // namespace engine
