#include "silence.h"

#include <linux/filter.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace engine {

namespace {

// The kernel acknowledges what arrives, whatever the process does: a process that just keeps quiet is no dead
// machine. So a filter on the socket throws away what would be acknowledged before TCP sees it. It concerns this
// connection alone, and is gone with the socket, however the process ends; some kernels let only CAP_NET_ADMIN set
// one. (A filter sees a segment from its TCP header on; byte 13 has the flags, the upper half of byte 12 the header's
// words.)
constexpr uint32_t kFlagsAt = 13, kHeaderWordsAt = 12, kFin = 1, kReset = 4;
constexpr sock_filter kTake = BPF_STMT(BPF_RET | BPF_K, UINT32_MAX);
constexpr sock_filter kDrop = BPF_STMT(BPF_RET | BPF_K, 0);

// Only the end of the connection gets through.
constexpr sock_filter kOnlyEnd[] = {
    BPF_STMT(BPF_LD | BPF_B | BPF_ABS, kFlagsAt),
    BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, kFin | kReset, 0, 1),
    kTake,
    kDrop,
};

// Headers without what they bring: a request is acknowledged, its answer never arrives. (The kernel keeps
// the header, however little a filter leaves.)
constexpr sock_filter kOnlyHeaders[] = {BPF_STMT(BPF_RET | BPF_K, 1)};

// Resets, and what brings nothing and is not answered, because it says that the server is still there.
constexpr sock_filter kOnlySignsOfLife[] = {
    BPF_STMT(BPF_LD | BPF_B | BPF_ABS, kFlagsAt),
    BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, kReset, 8, 0),
    BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, kFin, 6, 0),
    BPF_STMT(BPF_LD | BPF_B | BPF_ABS, kHeaderWordsAt),
    BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, 4),
    BPF_STMT(BPF_ALU | BPF_LSH | BPF_K, 2),
    BPF_STMT(BPF_MISC | BPF_TAX, 0),
    BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_X, 0, 1, 0),
    kDrop,
    kTake,
};

template <size_t Length>
bool letIn(int fd, const sock_filter (&program)[Length]) {
  sock_fprog filter = {Length, const_cast<sock_filter*>(program)};
  return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter) == 0;
}

bool set(int fd, int level, int name, int value) {
  return setsockopt(fd, level, name, &value, sizeof value) == 0;
}

// A server whose kernel has given an answer up says nothing: asked, it resets. The kernel's own probes are the
// question. They carry a byte that was acknowledged long ago, and so a connection that lives tells that it has
// it and leaves its timers alone.
bool askEachSecond(int fd) {
  return set(fd, IPPROTO_TCP, TCP_KEEPIDLE, 1) && set(fd, IPPROTO_TCP, TCP_KEEPINTVL, 1) &&
         set(fd, IPPROTO_TCP, TCP_KEEPCNT, 127) && set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
}

constexpr uint64_t kReadBytes = 4096;
constexpr int kLookMs = 100;

class SilentClient {
 public:
  SilentClient(Connection& connection, milliseconds timeout, const std::atomic<bool>& cancelled,
               Failure& failure)
      : connection_(connection),
        fd_(connection.fd()),
        timeout_(timeout),
        cancelled_(cancelled),
        failure_(failure) {}

  // Both give false with `failure` filled.
  bool fallSilent();
  bool fallSilentInAnswer(Command& read);
  std::optional<Silence> wait(milliseconds limit);

 private:
  bool acknowledged();
  bool refused(const char* what);
  bool fail(const char* code, int error, const std::string& message);

  Connection& connection_;
  const int fd_;
  const milliseconds timeout_;
  const std::atomic<bool>& cancelled_;
  Failure& failure_;
  TimePoint since_;
};

bool SilentClient::fallSilent() {
  // A probe of our own would be answered.
  if (!set(fd_, SOL_SOCKET, SO_KEEPALIVE, 0)) return refused("keepalive");
  if (!acknowledged()) return false;
  if (!letIn(fd_, kOnlyEnd)) return refused("a filter");
  since_ = Clock::now();
  return true;
}

bool SilentClient::fallSilentInAnswer(Command& read) {
  if (!letIn(fd_, kOnlyHeaders)) return refused("a filter");
  since_ = Clock::now();
  connection_.submit(read);
  if (!acknowledged()) return false;
  if (!letIn(fd_, kOnlySignsOfLife)) return refused("a filter");
  return askEachSecond(fd_) || refused("keepalive");
}

// Waits until the server has all that was said: what it lacks would be sent again, and be heard.
bool SilentClient::acknowledged() {
  const TimePoint giveUp = Clock::now() + timeout_;
  for (;;) {
    if (connection_.state() != Connection::State::ready)
      return fail("ENGINE_LOST", connection_.error(), connection_.message());
    int unacknowledged = 0;
    if (ioctl(fd_, SIOCOUTQ, &unacknowledged) == -1) return refused("SIOCOUTQ");
    const short events = connection_.pollEvents() & POLLOUT;
    if (unacknowledged == 0 && events == 0) return true;
    if (cancelled_) return fail("ENGINE_ABORTED", 0, "the operation was aborted");
    if (Clock::now() >= giveUp)
      return fail("ENGINE_TIMEOUT", ETIMEDOUT, "the server did not acknowledge a request");
    pollfd pfd = {fd_, events, 0};
    if (poll(&pfd, 1, 1) > 0) connection_.notify(pfd.revents);
  }
}

std::optional<Silence> SilentClient::wait(milliseconds limit) {
  for (;;) {
    const auto lasted = std::chrono::duration_cast<milliseconds>(Clock::now() - since_);
    if (cancelled_) {
      fail("ENGINE_ABORTED", 0, "the operation was aborted");
      return std::nullopt;
    }
    if (lasted >= limit) return Silence{lasted, false};
    pollfd pfd = {fd_, POLLIN, 0};
    const auto left = std::min<int64_t>((limit - lasted).count(), kLookMs);
    if (poll(&pfd, 1, static_cast<int>(left)) <= 0) continue;
    char byte;
    if (recv(fd_, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || errno == ECONNRESET)
      return Silence{std::chrono::duration_cast<milliseconds>(Clock::now() - since_), true};
    if (errno == EAGAIN || errno == EINTR) continue;
    const std::string why = errno == ETIMEDOUT ? "nothing answers whether the server still has the connection"
                                               : std::strerror(errno);
    fail("ENGINE_LOST", errno, why);
    return std::nullopt;
  }
}

bool SilentClient::refused(const char* what) {
  const int error = errno;
  return fail("ENGINE_CONNECT", error,
              std::string("the kernel refuses ") + what + " on the socket: " + std::strerror(error));
}

bool SilentClient::fail(const char* code, int error, const std::string& message) {
  failure_.code = code;
  failure_.error = error;
  failure_.message = message;
  return false;
}

}  // namespace

std::optional<Silence> keepSilent(const Endpoint& endpoint, SilentWhile when, milliseconds limit,
                                  milliseconds timeout, const std::atomic<bool>& cancelled,
                                  Failure& failure) {
  std::vector<Command*> completed;
  // libnbd may write to it until the connection is closed. That resets: nothing is left at the server.
  std::vector<uint8_t> buffer;
  Command read;
  auto connection = connectAndWait(Side::target, endpoint, completed, timeout, cancelled, failure);
  if (!connection) return std::nullopt;
  SilentClient client(*connection, timeout, cancelled, failure);
  if (when == SilentWhile::idle) return client.fallSilent() ? client.wait(limit) : std::nullopt;
  const ExportInfo& info = connection->info();
  read.length = std::min(std::max<uint64_t>(info.minimumBlockBytes, kReadBytes), info.sizeBytes);
  if (read.length == 0) {
    failure.code = "ENGINE_SIZE";
    failure.message = "the export is empty: there is nothing to ask the server for";
    return std::nullopt;
  }
  buffer.resize(read.length);
  read.buffer = buffer.data();
  return client.fallSilentInAnswer(read) ? client.wait(limit) : std::nullopt;
}

}  // namespace engine
