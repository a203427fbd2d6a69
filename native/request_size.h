// How large the requests are where the operator does not say.
#pragma once

#include <atomic>
#include <cstdint>

#include "range.h"

namespace engine {

// Half a MiB is quickest where enough of them are under way: more stays in the processor's cache.
// nbdkit works on 16 for each connection; where these would not carry so much, they are doubled. So
// they are where the target takes its time: nothing stays in caches then, and more in a request is
// less work for its bytes.
class RequestSize {
 public:
  static constexpr uint64_t kNear = 512 * kKiB;
  static constexpr uint64_t kUsual = kMiB;
  // What source connections should carry together, in bytes a second.
  static constexpr double kEnough = 2.5 * kGiB;

  // At most so many bytes; before any look.
  void begin(uint64_t most) { now_ = most_ = most; }
  uint64_t now() const { return now_.load(std::memory_order_relaxed); }

  struct Seen {
    TimePoint now;
    // What all source connections have under way in requests of kNear, in bytes a second.
    double carried = 0;
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
