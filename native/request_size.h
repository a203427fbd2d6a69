// How large the requests are where the operator does not say.
#pragma once

#include <atomic>
#include <cstdint>

#include "types.h"

namespace engine {

// Half a MiB is quickest where enough of them are under way: more stays in the processor's cache.
// nbdkit works on 16 for each connection; where these would not carry so much, a request is doubled,
// and again. So it is where the target takes its time: nothing stays in caches then, and more in a
// request is less work for its bytes.
class RequestSize {
 public:
  static constexpr uint64_t kNear = 512 * kKiB;
  static constexpr uint64_t kUsual = kMiB;
  // More than this in one request can fail through VDDK.
  static constexpr uint64_t kFar = 2 * kMiB;
  // What source connections should carry together, in bytes a second.
  static constexpr double kEnough = 2.5 * kGiB;

  // Before any look: so many bytes, and how many they may become.
  void begin(uint64_t first, uint64_t most) {
    now_ = first;
    most_ = most;
  }
  uint64_t now() const { return now_.load(std::memory_order_relaxed); }

  struct Seen {
    TimePoint now;
    // Requests that the source works on at once, over all its connections.
    uint64_t atWork = 0;
    // The source's quickest answer.
    uint64_t latencyUs = 0;
    // What may be under way.
    uint64_t memoryBytes = 0;
    // Since the job began: bytes, and of all writes microseconds to the answer times KiB.
    uint64_t writtenBytes = 0, writeWaited = 0;
  };
  // Every tick, once the source has answered. Without it the size stays as it was at the beginning.
  void look(const Seen& seen);

 private:
  bool targetIsSlow(const Seen& seen);

  std::atomic<uint64_t> now_{kUsual};
  uint64_t most_ = kUsual;
  bool slow_ = false;
  TimePoint since_{};
  uint64_t writtenBytes_ = 0, writeWaited_ = 0;
};

}  // namespace engine
