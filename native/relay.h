// Stands between libnbd and the socket of a target that is written to under a deadline. libnbd sends a
// request in several steps, and goes on with what it had begun: of a process that was stopped in the middle
// of it and continued long after, too. Here every single send has the deadline looked at right before it.
#pragma once

#include <memory>
#include <vector>

#include "write_deadline.h"

namespace engine {

class Relay {
 public:
  // Puts itself behind the descriptor of a connected socket: who uses that goes on without noticing. Null
  // with errno where the system refuses.
  static std::unique_ptr<Relay> insert(int fd, const WriteDeadline& deadline);
  ~Relay();
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;

  int serverFd() const { return server_; }
  // What to poll the server's socket for.
  short pollEvents() const;
  // Moves on what can be, without waiting.
  void pump();

 private:
  class Buffer {
   public:
    explicit Buffer(size_t bytes) : bytes_(bytes) {}
    bool empty() const { return at_ == end_; }
    // Both give recv()'s and send()'s own answer. fill() only where it is empty.
    ssize_t fill(int from);
    ssize_t drain(int to);

   private:
    std::vector<uint8_t> bytes_;
    size_t at_ = 0, end_ = 0;
  };

  Relay(int server, int inner, const WriteDeadline& deadline);
  void send();
  void receive();

  const int server_;
  const int inner_;  // the other end of what libnbd has now
  const WriteDeadline& deadline_;
  Buffer toServer_, fromServer_;
  bool serverEnded_ = false, told_ = false;
};

}  // namespace engine
