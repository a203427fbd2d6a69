// A token bucket that hands out moments instead of tokens: whoever wants to send learns when.
// Shared by all copies of a run, first come first served.
#pragma once

#include <atomic>
#include <mutex>

#include "types.h"

namespace engine {

class RateLimit {
 public:
  // 0: no limit
  explicit RateLimit(uint64_t bytesPerSecond) : bytesPerSecond_(bytesPerSecond) {}

  bool limited() const { return bytesPerSecond() != 0; }
  uint64_t bytesPerSecond() const { return bytesPerSecond_.load(std::memory_order_relaxed); }
  // From now on; what was given its moment already keeps it. Any thread.
  void change(uint64_t bytesPerSecond);
  // How many a limit has let go so far.
  uint64_t passedBytes() const { return passedBytes_.load(std::memory_order_relaxed); }
  // The moment from which `bytes` may go; without a limit long past.
  TimePoint reserve(uint64_t bytes);
  // Requests larger than this would make the flow lumpy.
  uint64_t smoothRequestBytes(uint64_t wanted) const;

 private:
  std::atomic<uint64_t> bytesPerSecond_;
  std::mutex mutex_;
  TimePoint next_{};
  std::atomic<uint64_t> passedBytes_{0};
};

}  // namespace engine
