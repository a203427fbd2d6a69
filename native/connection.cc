#include "connection.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace engine {

namespace {

// More than an honest server has to say of the windows that are asked for; a limit on memory.
constexpr size_t kExtentValuesMaximum = 2 * 512 * kKiB;

std::string lastNbdError() {
  const char* text = nbd_get_error();
  return text != nullptr ? text : "no reason given";
}

// Whether the pieces are the whole of a read. libnbd (seen with 1.14) reports success for a
// structured reply that ends without having brought all the data; the rest of the buffer is then
// what an earlier request left in it.
bool isWhole(std::vector<Range>& pieces, const Command& read) {
  std::sort(pieces.begin(), pieces.end(),
            [](const Range& a, const Range& b) { return a.offset < b.offset; });
  uint64_t end = read.offset;
  for (const Range& piece : pieces) {
    if (piece.offset != end) return false;
    end += piece.length;
  }
  return end == read.offset + read.length;
}

}  // namespace

Connection::Connection(Side side, const Endpoint& endpoint, std::vector<Command*>& completed,
                       const WriteDeadline* deadline)
    : side_(side),
      deadline_(deadline),
      completed_(&completed),
      lastProgress_(Clock::now()),
      startedAt_(lastProgress_) {
  handle_ = nbd_create();
  if (handle_ == nullptr) {
    state_ = State::dead;
    error_ = nbd_get_errno();
    message_ = lastNbdError();
    return;
  }
  configure(endpoint);
  if (Lookup::isNeeded(endpoint.uri)) lookup_ = Lookup::start(handle_, endpoint.uri);
  else begun(connectTo(handle_, endpoint.uri));
}

// The handle connects, or cannot.
void Connection::begun(const Lookup::Outcome& outcome) {
  lookup_.reset();
  if (outcome.failed) {
    error_ = outcome.error;
    message_ = outcome.message;
    // A URI that libnbd cannot use leaves the handle as created: neither dead nor connecting.
    if (nbd_aio_is_created(handle_)) {
      close(error_, std::string(message_));
      return;
    }
  }
  checkState(outcome.failed);
}

Connection::~Connection() { close(ENOTCONN, "the connection was closed"); }

void Connection::configure(const Endpoint& endpoint) {
  // The buffers are only looked at after every error was checked, so clearing them is wasted time.
  nbd_set_pread_initialize(handle_, false);
  nbd_add_meta_context(handle_, LIBNBD_CONTEXT_BASE_ALLOCATION);
  nbd_set_uri_allow_local_file(handle_, true);
  // The unaligned tail of a disk must go out as it is; servers know better than the advertised sizes.
  nbd_set_strict_mode(handle_, nbd_get_strict_mode(handle_) & ~LIBNBD_STRICT_ALIGN);
  if (!endpoint.tlsCertDir.empty()) nbd_set_tls_certificates(handle_, endpoint.tlsCertDir.c_str());
  if (!endpoint.tlsPskFile.empty()) nbd_set_tls_psk_file(handle_, endpoint.tlsPskFile.c_str());
  if (!endpoint.tlsUsername.empty()) nbd_set_tls_username(handle_, endpoint.tlsUsername.c_str());
}

void Connection::loadInfo() {
  auto yes = [](int answer) { return answer == 1; };
  auto blockSize = [this](int which, uint64_t fallback) {
    int64_t size = nbd_get_block_size(handle_, which);
    return size > 0 ? static_cast<uint64_t>(size) : fallback;
  };
  int64_t size = nbd_get_size(handle_);
  info_.sizeBytes = size > 0 ? static_cast<uint64_t>(size) : 0;
  info_.minimumBlockBytes = blockSize(LIBNBD_SIZE_MINIMUM, 1);
  info_.preferredBlockBytes = blockSize(LIBNBD_SIZE_PREFERRED, 4096);
  info_.maximumBlockBytes = blockSize(LIBNBD_SIZE_MAXIMUM, 0);
  info_.readOnly = yes(nbd_is_read_only(handle_));
  info_.canFlush = yes(nbd_can_flush(handle_));
  info_.canFua = yes(nbd_can_fua(handle_));
  info_.canTrim = yes(nbd_can_trim(handle_));
  info_.canZero = yes(nbd_can_zero(handle_));
  info_.canFastZero = yes(nbd_can_fast_zero(handle_));
  info_.canMultiConn = yes(nbd_can_multi_conn(handle_));
  info_.canExtents = yes(nbd_can_meta_context(handle_, LIBNBD_CONTEXT_BASE_ALLOCATION));
  info_.structuredReplies = yes(nbd_get_structured_replies_negotiated(handle_));
  info_.tls = yes(nbd_get_tls_negotiated(handle_));
  const char* protocol = nbd_get_protocol(handle_);
  info_.protocol = protocol != nullptr ? protocol : "";
}

int Connection::fd() const {
  if (handle_ == nullptr || state_ == State::dead) return -1;
  return lookup_ ? lookup_->fd() : nbd_aio_get_fd(handle_);
}

short Connection::pollEvents() const {
  if (lookup_) return POLLIN;
  unsigned direction = nbd_aio_get_direction(handle_);
  short events = 0;
  if (direction & LIBNBD_AIO_DIRECTION_READ) events |= POLLIN;
  if (direction & LIBNBD_AIO_DIRECTION_WRITE) events |= POLLOUT;
  return events;
}

void Connection::notify(short revents) {
  if (handle_ == nullptr || state_ == State::dead || revents == 0) return;
  if (lookup_) {
    const Lookup::Outcome outcome = lookup_->look();
    if (outcome.done) begun(outcome);
    return;
  }
  bool failed = false;
  // Whatever the server sends, it is there and speaks.
  if ((revents & POLLIN) && state_ == State::connecting) negotiated_ = true;
  const short broken = POLLERR | POLLHUP | POLLNVAL;
  if ((revents & (POLLIN | broken)) && (nbd_aio_get_direction(handle_) & LIBNBD_AIO_DIRECTION_READ))
    failed = nbd_aio_notify_read(handle_) == -1;
  if (!failed && !relay_ && (revents & POLLIN)) acknowledge();
  // Reading may have changed what the handle waits for, so the direction is asked again.
  if (!failed && (revents & (POLLOUT | broken)) &&
      (nbd_aio_get_direction(handle_) & LIBNBD_AIO_DIRECTION_WRITE))
    failed = nbd_aio_notify_write(handle_) == -1;
  if (failed) {
    error_ = nbd_get_errno();
    message_ = lastNbdError();
    // A server that is quicker than we are answers while we still write: libnbd then reads at once.
    // A TLS handshake that breaks off is no answer: that may be a server about to restart.
    if (state_ == State::connecting && message_.find("handshake: ") != std::string::npos &&
        message_.find("gnutls") == std::string::npos)
      negotiated_ = true;
  }
  checkState(failed);
  if (relay_) relay_->pump();
}

void Connection::notifyRelay() {
  if (!relay_) return;
  acknowledge();
  relay_->pump();
}

void Connection::excuse(TimePoint now) {
  lastProgress_ = now;
  if (flushes_ > 0) flushSentAt_ = now;
}

int Connection::socketFd() const { return relay_ ? relay_->serverFd() : nbd_aio_get_fd(handle_); }

// Servers send small replies in pieces without TCP_NODELAY (seen: nbd-server 3.24 and qemu-nbd 7.2, in
// the handshake and after writes): the second piece waits for our acknowledgement of the first, which
// Linux puts off for 40 ms. This sends it now; the setting does not last.
void Connection::acknowledge() {
  if (!overTcp_ || handle_ == nullptr || state_ == State::dead) return;
  const int on = 1;
  if (setsockopt(socketFd(), IPPROTO_TCP, TCP_QUICKACK, &on, sizeof on) == -1)
    overTcp_ = false;
}

// A host that is gone says nothing, and a flush may say nothing for long: the kernel asks whether it is
// still there, and after a minute gives the connection up.
void Connection::keepAlive() {
  const int fd = socketFd();
  const int on = 1, idleSeconds = 30, intervalSeconds = 10, probes = 3;
  if (setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on) == -1) return;
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idleSeconds, sizeof idleSeconds);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &intervalSeconds, sizeof intervalSeconds);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
}

// What a socket still holds when it goes, by a close or by this process's death, would reach the target
// at any time later, over what others have written. The kernel then throws it away and resets. A
// connection that ends in order has had its answers and may send its last words.
void Connection::keepUnsent(bool yes) {
  if (side_ != Side::target) return;
  const linger setting = {yes ? 0 : 1, 0};
  setsockopt(socketFd(), SOL_SOCKET, SO_LINGER, &setting, sizeof setting);
}

// Follows libnbd's state machine. A failed notify alone does not end a connection: libnbd says
// whether the handle is dead.
void Connection::checkState(bool failed) {
  if (nbd_aio_is_dead(handle_) == 1 || nbd_aio_is_closed(handle_) == 1) {
    if (!failed && message_.empty()) {
      error_ = ENOTCONN;
      message_ = "the server closed the connection";
    }
    if (error_ == 0) error_ = ENOTCONN;
    close(error_, std::string(message_));
    return;
  }
  if (state_ != State::connecting) return;
  if (nbd_aio_is_ready(handle_) == 1 || nbd_aio_is_processing(handle_) == 1) {
    if (deadline_ != nullptr && !(relay_ = Relay::insert(nbd_aio_get_fd(handle_), *deadline_))) {
      const int error = errno;
      close(error, std::string("no descriptor for the target's socket: ") + std::strerror(error));
      return;
    }
    state_ = State::ready;
    wasReady_ = true;
    keepAlive();
    keepUnsent(false);
    loadInfo();
    lastProgress_ = Clock::now();
  }
}

int Connection::onCompletion(void* userData, int* error) {
  auto& command = *static_cast<Command*>(userData);
  if (command.op == Op::read && *error == 0 && !isWhole(command.received, command)) {
    command.message = "the server did not send all of the data that it was asked for";
    *error = EPROTO;
  }
  command.connection->complete(command, *error);
  return 1;  // retires the command; 0 would keep it in libnbd's list
}

int Connection::onChunk(void* userData, const void*, size_t count, uint64_t offset, unsigned,
                        int*) {
  auto& pieces = static_cast<Command*>(userData)->received;
  if (count == 0) return 0;
  if (!pieces.empty() && pieces.back().offset + pieces.back().length == offset)
    pieces.back().length += count;
  else pieces.push_back({offset, count});
  return 0;
}

int Connection::onExtents(void* userData, const char* context, uint64_t, uint32_t* entries,
                          size_t count, int* error) {
  auto& command = *static_cast<Command*>(userData);
  if (std::strcmp(context, LIBNBD_CONTEXT_BASE_ALLOCATION) != 0) return 0;
  if (command.extents.size() > kExtentValuesMaximum) {
    *error = EPROTO;
    return -1;
  }
  for (size_t i = 0; i + 1 < count; i += 2) {
    command.extents.push_back(entries[i]);
    command.extents.push_back(entries[i + 1]);
  }
  return 0;
}

void Connection::submit(Command& command) {
  command.connection = this;
  command.side = side_;
  command.error = 0;
  command.lost = false;
  command.message.clear();
  command.issuedAt = Clock::now();
  if (inFlight_.empty()) lastProgress_ = command.issuedAt;
  command.inFlightIndex = inFlight_.size();
  inFlight_.push_back(&command);
  if (command.op == Op::read) reads_++, readBytes_ += command.length;
  if (command.op == Op::flush && flushes_++ == 0) flushSentAt_ = command.issuedAt;
  if (state_ != State::ready) {
    command.lost = true;
    complete(command, ENOTCONN);
    return;
  }
  nbd_completion_callback done = {&Connection::onCompletion, &command, nullptr};
  nbd_chunk_callback chunks = {&Connection::onChunk, &command, nullptr};
  nbd_extent_callback extents = {&Connection::onExtents, &command, nullptr};
  int64_t cookie = -1;
  switch (command.op) {
    case Op::read:
      command.received.clear();
      cookie = nbd_aio_pread_structured(handle_, command.buffer, command.length, command.offset,
                                        chunks, done, 0);
      break;
    case Op::write:
      cookie = nbd_aio_pwrite(handle_, command.buffer, command.length, command.offset, done, 0);
      break;
    case Op::zero:
      cookie = nbd_aio_zero(handle_, command.length, command.offset, done,
                            command.fastZero ? LIBNBD_CMD_FLAG_FAST_ZERO : 0);
      break;
    case Op::trim:
      cookie = nbd_aio_trim(handle_, command.length, command.offset, done, 0);
      break;
    case Op::flush:
      cookie = nbd_aio_flush(handle_, done, 0);
      break;
    case Op::status:
      command.extents.clear();
      cookie =
          nbd_aio_block_status(handle_, command.length, command.offset, extents, done, 0);
      break;
  }
  // A refused submission has no completion. One that was accepted may complete at once.
  if (cookie == -1) {
    int error = nbd_get_errno();
    std::string why = lastNbdError();
    command.message = why;
    bool dead = nbd_aio_is_dead(handle_) == 1 || nbd_aio_is_closed(handle_) == 1;
    command.lost = dead;
    complete(command, error != 0 ? error : EIO);
    if (dead) close(error != 0 ? error : ENOTCONN, why);
  }
  if (relay_) relay_->pump();
}

void Connection::complete(Command& command, int error) {
  Command* last = inFlight_.back();
  inFlight_[command.inFlightIndex] = last;
  last->inFlightIndex = command.inFlightIndex;
  inFlight_.pop_back();
  if (command.op == Op::read) reads_--, readBytes_ -= command.length;
  if (command.op == Op::flush) flushes_--;
  command.error = error;
  // libnbd's own end of a connection completes everything with ENOTCONN.
  if (error == ENOTCONN) command.lost = true;
  else lastProgress_ = Clock::now();
  completed_->push_back(&command);
}

void Connection::startDisconnect() {
  if (handle_ == nullptr || state_ != State::ready) {
    close(ENOTCONN, "the connection was closed");
    return;
  }
  state_ = State::closing;
  wasClosing_ = true;
  if (inFlight_.empty()) keepUnsent(true);
  if (nbd_aio_disconnect(handle_, 0) == -1) return close(ENOTCONN, "the connection was closed");
  if (relay_) relay_->pump();
  checkState(false);
}

void Connection::close(int error, const std::string& why) {
  if (handle_ == nullptr) {
    state_ = State::dead;
    return;
  }
  state_ = State::dead;
  error_ = error;
  message_ = why;
  // With requests in flight nbd_close calls no completion: they are ended here, once.
  if (!lookup_ || !lookup_->abandon()) nbd_close(handle_);
  lookup_.reset();
  handle_ = nullptr;
  relay_.reset();
  failInFlight(error, why);
}

void Connection::failInFlight(int error, const std::string& why) {
  while (!inFlight_.empty()) {
    Command& command = *inFlight_.back();
    command.lost = true;
    command.message = why;
    complete(command, error);
    command.lost = true;
  }
}

std::unique_ptr<Connection> connectAndWait(Side side, const Endpoint& endpoint,
                                           std::vector<Command*>& completed, milliseconds timeout,
                                           const std::atomic<bool>& cancelled, Failure& failure,
                                           const WriteDeadline* deadline) {
  auto connection = std::make_unique<Connection>(side, endpoint, completed, deadline);
  const TimePoint giveUp = Clock::now() + timeout;
  failure.side = side;
  while (connection->state() == Connection::State::connecting) {
    if (cancelled) {
      failure.code = "ENGINE_ABORTED";
      failure.message = "the operation was aborted";
      return nullptr;
    }
    if (Clock::now() >= giveUp) {
      failure.code = "ENGINE_TIMEOUT";
      failure.error = ETIMEDOUT;
      failure.message = std::string("the ") + sideName(side) + " did not answer within " +
                        std::to_string(timeout.count()) + " ms";
      return nullptr;
    }
    pollfd pfd = {connection->fd(), connection->pollEvents(), 0};
    if (poll(&pfd, 1, 50) > 0) connection->notify(pfd.revents);
  }
  if (connection->state() == Connection::State::ready) return connection;
  failure.error = connection->error();
  const bool broken = failure.error == ECONNRESET || failure.error == EPIPE ||
                      failure.error == ENOTCONN || failure.error == ECONNREFUSED;
  failure.code = connection->refused() && !broken ? "ENGINE_REFUSED" : "ENGINE_CONNECT";
  failure.message = connection->message();
  return nullptr;
}

}  // namespace engine
