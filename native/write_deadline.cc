#include "write_deadline.h"

#include <time.h>

namespace engine {

namespace {

int64_t millisecondsOf(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return static_cast<int64_t>(time.tv_sec) * 1000 + time.tv_nsec / 1'000'000;
}

}  // namespace

WriteDeadline::Reading WriteDeadline::now() {
  return {millisecondsOf(CLOCK_BOOTTIME), millisecondsOf(CLOCK_REALTIME)};
}

void WriteDeadline::moveTo(const Reading& deadline) {
  std::lock_guard lock(mutex_);
  if (isSet()) passedBefore_ += milliseconds{std::max<int64_t>(lateness(), 0)};
  boot_ = deadline.boot;
  wall_ = deadline.wall;
  set_.store(true, std::memory_order_release);
}

Clock::duration WriteDeadline::passedFor() const {
  std::lock_guard lock(mutex_);
  if (!isSet()) return {};
  return passedBefore_ + milliseconds{std::max<int64_t>(lateness(), 0)};
}

// Above zero: over.
int64_t WriteDeadline::lateness() const {
  const Reading at = now();
  return std::max(at.boot - boot_, at.wall - wall_) + 1;
}

}  // namespace engine
