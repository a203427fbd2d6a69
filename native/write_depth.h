// How many pieces each loop has the target write at once.
#pragma once

#include <atomic>
#include <cstddef>

#include "machine_idle.h"
#include "types.h"

namespace engine {

// Few while the processors are busy: what a server on this machine is given to write then stays in its
// caches until it gets there, and its threads do not queue for the file's lock. Where processors idle
// although writes are held back, the way to the target is long (a network, a TLS tunnel): more, up to
// what the buffers allow.
class WriteDepth {
 public:
  size_t limit() const { return limit_.load(std::memory_order_relaxed); }
  // A loop has a piece that it does not send for now; from any thread.
  void heldBack() { heldBack_.store(true, std::memory_order_relaxed); }
  // Every tick.
  void look(TimePoint now);

 private:
  static constexpr size_t kFew = 4;
  std::atomic<size_t> limit_{kFew};
  std::atomic<bool> heldBack_{false};
  MachineIdle idle_;
  TimePoint since_{};
  TimePoint raisedAt_{};
};

}  // namespace engine
