#include "relay.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

namespace engine {

namespace {

constexpr size_t kToServerBytes = 256 * kKiB;
constexpr size_t kFromServerBytes = 64 * kKiB;

bool isLater(ssize_t answer) { return answer == -1 && (errno == EAGAIN || errno == EINTR); }

}  // namespace

std::unique_ptr<Relay> Relay::insert(int fd, const WriteDeadline& deadline) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == -1) return nullptr;
  const int server = fcntl(fd, F_DUPFD_CLOEXEC, 0);
  const bool inserted = server != -1 && dup3(ends[0], fd, O_CLOEXEC) != -1;
  const int error = errno;
  ::close(ends[0]);
  if (inserted) return std::unique_ptr<Relay>(new Relay(server, ends[1], deadline));
  if (server != -1) ::close(server);
  ::close(ends[1]);
  errno = error;
  return nullptr;
}

Relay::Relay(int server, int inner, const WriteDeadline& deadline)
    : server_(server), inner_(inner), deadline_(deadline), toServer_(kToServerBytes), fromServer_(kFromServerBytes) {}

Relay::~Relay() {
  ::close(server_);
  ::close(inner_);
}

short Relay::pollEvents() const {
  if (serverEnded_) return 0;
  const bool sends = !toServer_.empty() && !deadline_.passed();
  return static_cast<short>((sends ? POLLOUT : 0) | (fromServer_.empty() ? POLLIN : 0));
}

void Relay::pump() {
  send();
  receive();
}

void Relay::send() {
  while (!serverEnded_) {
    if (toServer_.empty() && toServer_.fill(inner_) <= 0) return;
    if (deadline_.passed()) return;
    const ssize_t sent = toServer_.drain(server_);
    if (isLater(sent)) return;
    if (sent == -1) serverEnded_ = true;
  }
}

// What the server said before it went is passed on first.
void Relay::receive() {
  for (;;) {
    if (fromServer_.empty() && !serverEnded_) {
      const ssize_t got = fromServer_.fill(server_);
      if (isLater(got)) return;
      if (got <= 0) serverEnded_ = true;
    }
    if (fromServer_.empty()) break;
    if (fromServer_.drain(inner_) == -1) return;
  }
  if (!told_) shutdown(inner_, SHUT_WR);
  told_ = true;
}

ssize_t Relay::Buffer::fill(int from) {
  const ssize_t got = recv(from, bytes_.data(), bytes_.size(), 0);
  at_ = 0;
  end_ = got > 0 ? static_cast<size_t>(got) : 0;
  return got;
}

ssize_t Relay::Buffer::drain(int to) {
  const ssize_t sent = ::send(to, bytes_.data() + at_, end_ - at_, MSG_NOSIGNAL);
  if (sent > 0) at_ += static_cast<size_t>(sent);
  return sent;
}

}  // namespace engine
