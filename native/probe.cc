#include "probe.h"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
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

struct Read {
  Command command;
  std::vector<uint8_t> buffer = std::vector<uint8_t>(kReadBytes);
  size_t range = 0;
  bool done = false;
};

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
  std::vector<Command*> completed;
  // Declared before the connection: libnbd may write to the buffers until that is closed.
  std::deque<std::unique_ptr<Read>> inFlight;
  std::vector<std::unique_ptr<Read>> spare;
  auto connection = connectAndWait(Side::target, endpoint, completed, timeout, cancelled, failure);
  if (!connection) return {};
  const uint64_t unit = std::max<uint64_t>(connection->info().minimumBlockBytes, 512);
  const uint64_t size = connection->info().sizeBytes;
  std::vector<Sha256> hashes(ranges.size());
  size_t next = 0;
  uint64_t nextOffset = ranges.empty() ? 0 : ranges[0].offset;
  auto give = [&](const char* code, int error, const std::string& message, const Range& range) {
    failure.code = code;
    failure.error = error;
    failure.message = message;
    failure.hasRange = range.length > 0;
    failure.range = range;
  };

  while (failure.code.empty() && (next < ranges.size() || !inFlight.empty())) {
    while (next < ranges.size() && inFlight.size() < kReadsInFlight) {
      const Range& range = ranges[next];
      if (nextOffset >= range.end()) {
        if (++next < ranges.size()) nextOffset = ranges[next].offset;
        continue;
      }
      if (range.end() > size) {
        give("ENGINE_SIZE", 0, "the range ends behind the export's " + std::to_string(size) + " bytes",
             range);
        break;
      }
      auto read = spare.empty() ? std::make_unique<Read>() : std::move(spare.back());
      if (!spare.empty()) spare.pop_back();
      // The request is widened to whole blocks; only the wanted bytes are hashed.
      uint64_t start = alignDown(nextOffset, unit);
      uint64_t stop = std::min({start + kReadBytes, alignUp(range.end(), unit), size});
      read->range = next;
      read->done = false;
      read->command = Command();
      read->command.op = Op::read;
      read->command.offset = start;
      read->command.length = stop - start;
      read->command.buffer = read->buffer.data();
      Read& sent = *read;
      inFlight.push_back(std::move(read));
      connection->submit(sent.command);
      nextOffset = stop;
    }
    while (!inFlight.empty() && failure.code.empty()) {
      Read& first = *inFlight.front();
      bool done = std::find(completed.begin(), completed.end(), &first.command) != completed.end();
      if (!done) break;
      std::erase(completed, &first.command);
      const Command& command = first.command;
      const Range& range = ranges[first.range];
      if (command.error != 0) {
        give(command.lost ? "ENGINE_LOST" : "ENGINE_READ", command.error,
             command.lost ? connection->message() : std::strerror(command.error),
             {command.offset, command.length});
        break;
      }
      uint64_t from = std::max(range.offset, command.offset);
      uint64_t to = std::min(range.end(), command.offset + command.length);
      hashes[first.range].update(command.buffer + (from - command.offset), to - from);
      spare.push_back(std::move(inFlight.front()));
      inFlight.pop_front();
    }
    if (cancelled) give("ENGINE_ABORTED", 0, "the operation was aborted", {});
    if (!failure.code.empty() || inFlight.empty()) continue;
    if (Clock::now() - connection->lastProgress() > timeout) {
      give("ENGINE_TIMEOUT", ETIMEDOUT,
           "no answer within " + std::to_string(timeout.count()) + " ms", {});
      break;
    }
    pump(*connection, 50);
  }
  part(*connection);
  connection.reset();
  if (!failure.code.empty()) return {};
  std::vector<std::string> digests;
  for (Sha256& hash : hashes) digests.push_back(hash.finish());
  return digests;
}

}  // namespace engine
