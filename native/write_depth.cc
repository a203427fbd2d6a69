#include "write_depth.h"

#include <algorithm>

namespace engine {

namespace {

// Ten of the kernel's ticks, by which idle time is counted, on each processor.
constexpr milliseconds kLook{100};
constexpr size_t kMost = 64;
// What made the way long may pass.
constexpr milliseconds kLookAgain{15000};

}  // namespace

void WriteDepth::look(TimePoint now) {
  if (now - since_ < kLook) return;
  const bool first = since_ == TimePoint{};
  since_ = now;
  const bool idle = idle_.share() >= kIdleWanted;
  const bool held = heldBack_.exchange(false, std::memory_order_relaxed);
  if (first) return;
  if (idle && held) {
    limit_ = std::min(limit_ * 2, kMost);
    raisedAt_ = now;
  } else if (!idle && limit_ > kFew && now - raisedAt_ >= kLookAgain) {
    limit_ = limit_ / 2;
    raisedAt_ = now;
  }
}

}  // namespace engine
