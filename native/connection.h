// One connection to an NBD server: RAII over libnbd's handle, facts read once at connect, and
// requests whose outcome is always a value in a list, never an exception or a lost callback.
//
// Ownership: a Connection belongs to one thread. A Command belongs to its loop; between submit()
// and its arrival in the completed list, libnbd may write to the buffer it was given.
#pragma once

#include <libnbd.h>

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "lookup.h"
#include "relay.h"
#include "types.h"

namespace engine {

struct Endpoint {
  std::string uri;
  unsigned connections = 0;  // 0: found by measuring
  std::string tlsCertDir;
  std::string tlsPskFile;
  std::string tlsUsername;
};

struct ExportInfo {
  uint64_t sizeBytes = 0;
  uint64_t minimumBlockBytes = 1;
  uint64_t preferredBlockBytes = 4096;
  uint64_t maximumBlockBytes = 0;  // 0: the server did not say
  bool readOnly = false;
  bool canFlush = false;
  bool canFua = false;
  bool canTrim = false;
  bool canZero = false;
  bool canFastZero = false;
  bool canMultiConn = false;
  bool canExtents = false;
  bool structuredReplies = false;
  bool tls = false;
  std::string protocol;
};

enum class Op : uint8_t { read, write, zero, trim, flush, status };

struct Task;
struct Window;
class Connection;

// One request. `task` or `window` says whom the answer concerns; both empty: a flush.
struct Command {
  Op op = Op::read;
  bool fastZero = false;
  bool proof = false;  // a read of the target, to see whether it is zero already
  bool trial = false;  // part of a trial of ZeroProof
  uint64_t offset = 0;
  uint64_t length = 0;
  uint8_t* buffer = nullptr;
  Task* task = nullptr;
  Window* window = nullptr;
  Side side = Side::source;
  int error = 0;  // errno of the answer; 0: done
  bool lost = false;  // the connection went away before an answer came
  std::string message;
  std::vector<uint64_t> extents;  // of a status request: length, flags, length, flags, …
  std::vector<Range> received;    // of a read: what the server has sent, adjacent pieces joined
  Connection* connection = nullptr;
  size_t inFlightIndex = 0;
  TimePoint issuedAt;
};

class Connection {
 public:
  enum class State : uint8_t { connecting, ready, closing, dead };

  // Starts to connect; look at state() after each notify(). A Connection that fails is dead. With a
  // `deadline` nothing is sent once it is ready while that has passed.
  Connection(Side side, const Endpoint& endpoint, std::vector<Command*>& completed,
             const WriteDeadline* deadline = nullptr);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Completions go to this list from now on. Only while nothing is in flight.
  void moveTo(std::vector<Command*>& completed) { completed_ = &completed; }

  Side side() const { return side_; }
  State state() const { return state_; }
  const ExportInfo& info() const { return info_; }
  // Why the connection is dead: libnbd's own text.
  const std::string& message() const { return message_; }
  int error() const { return error_; }
  // True when the server answered but refused the export or the handshake.
  bool refused() const { return negotiated_; }

  // Ever usable; and: ended because we wanted it to.
  bool wasReady() const { return wasReady_; }
  bool wasClosing() const { return wasClosing_; }

  size_t inFlight() const { return inFlight_.size(); }
  size_t reads() const { return reads_; }
  uint64_t readBytes() const { return readBytes_; }
  size_t flushes() const { return flushes_; }
  TimePoint flushSentAt() const { return flushSentAt_; }  // the first of those in flight
  TimePoint lastProgress() const { return lastProgress_; }
  TimePoint startedAt() const { return startedAt_; }

  // -1 when there is nothing to poll.
  int fd() const;
  short pollEvents() const;
  void notify(short revents);
  // The same of the relay, where there is one.
  int relayFd() const { return relay_ ? relay_->serverFd() : -1; }
  short relayEvents() const { return relay_->pollEvents(); }
  void notifyRelay();
  // The deadline has passed. What is unanswered meanwhile is not the server's fault.
  bool held() const { return deadline_ != nullptr && deadline_->passed(); }
  void excuse(TimePoint now);

  // The command ends up in the completed list, whatever happens.
  void submit(Command& command);

  // Polite end: asks libnbd to send NBD_CMD_DISC. The state becomes closing.
  void startDisconnect();
  // Ends it now. Commands in flight complete with ENOTCONN and `lost`.
  void close(int error, const std::string& why);

  // Used by retiring connections: no new work, closed when drained.
  bool retiring = false;
  bool retireFlushed = false;
  // No new work for now.
  bool parked = false;

 private:
  void configure(const Endpoint& endpoint);
  void begun(const Lookup::Outcome& outcome);
  void loadInfo();
  void checkState(bool failed);
  void acknowledge();
  void keepAlive();
  void keepUnsent(bool yes);
  int socketFd() const;
  void complete(Command& command, int error);
  void failInFlight(int error, const std::string& why);
  static int onCompletion(void* userData, int* error);
  static int onChunk(void* userData, const void* bytes, size_t count, uint64_t offset,
                     unsigned status, int* error);
  static int onExtents(void* userData, const char* context, uint64_t offset, uint32_t* entries,
                       size_t count, int* error);

  const Side side_;
  nbd_handle* handle_ = nullptr;
  std::shared_ptr<Lookup> lookup_;  // before libnbd has a socket
  const WriteDeadline* const deadline_;
  std::unique_ptr<Relay> relay_;
  State state_ = State::connecting;
  bool negotiated_ = false;
  bool wasReady_ = false;
  bool wasClosing_ = false;
  bool overTcp_ = true;  // until the socket says otherwise
  ExportInfo info_;
  std::string message_;
  int error_ = 0;
  std::vector<Command*>* completed_;
  std::vector<Command*> inFlight_;
  size_t reads_ = 0;
  uint64_t readBytes_ = 0;
  size_t flushes_ = 0;
  TimePoint flushSentAt_;
  TimePoint lastProgress_;
  TimePoint startedAt_;
};

// Connects and waits. Null with `failure` filled when it cannot, when `timeout` passes, or when
// `cancelled` turns true (then failure.code is ENGINE_ABORTED).
std::unique_ptr<Connection> connectAndWait(Side side, const Endpoint& endpoint,
                                           std::vector<Command*>& completed, milliseconds timeout,
                                           const std::atomic<bool>& cancelled, Failure& failure,
                                           const WriteDeadline* deadline = nullptr);

}  // namespace engine
