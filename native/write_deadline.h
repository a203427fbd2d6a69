// Until when a run may write: the end of a right that is held for a time, and moved on by JavaScript when
// that is renewed. Kept by two clocks: one that goes on while the machine sleeps, and the wall's. Whichever
// says that it is over has the say.
#pragma once

#include <atomic>
#include <mutex>

#include "types.h"

namespace engine {

class WriteDeadline {
 public:
  // Of both clocks, in milliseconds.
  struct Reading {
    int64_t boot;
    int64_t wall;
  };
  static Reading now();

  // From any thread. Until the first call there is no deadline.
  void moveTo(const Reading& deadline);
  bool isSet() const { return set_.load(std::memory_order_acquire); }
  bool passed() const { return isSet() && lateness() > 0; }
  // How long it has been passed so far, in all: time in which nobody else had trouble.
  Clock::duration passedFor() const;

 private:
  int64_t lateness() const;

  std::atomic<bool> set_{false};
  std::atomic<int64_t> boot_{0}, wall_{0};
  mutable std::mutex mutex_;
  milliseconds passedBefore_{0};
};

}  // namespace engine
