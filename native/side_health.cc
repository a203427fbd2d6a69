#include "side_health.h"

#include <algorithm>

namespace engine {

milliseconds RetryPolicy::backoff(unsigned attempt) {
  if (attempt == 0) return milliseconds{0};
  return std::min(milliseconds{100} * (1u << std::min(attempt - 1, 10u)), milliseconds{10000});
}

std::optional<SideHealth::Trouble> SideHealth::trouble(const RetryPolicy& policy, TimePoint now,
                                                       Clock::duration excused) {
  std::lock_guard lock(mutex_);
  if (now < nextAttempt_) return std::nullopt;
  failures_++;
  if (failures_ == 1) {
    firstFailure_ = now;
    excusedAtFirst_ = excused;
  }
  nextAttempt_ = now + RetryPolicy::backoff(failures_);
  const Clock::duration elapsed = now - firstFailure_ - (excused - excusedAtFirst_);
  return Trouble{failures_, failures_ > policy.attempts || elapsed > policy.maxElapsed};
}

void SideHealth::success() {
  std::lock_guard lock(mutex_);
  failures_ = 0;
}

bool SideHealth::healthy() const {
  std::lock_guard lock(mutex_);
  return failures_ == 0;
}

TimePoint SideHealth::nextAttempt() const {
  std::lock_guard lock(mutex_);
  return nextAttempt_;
}

namespace {

// 1 s, 4 s, 16 s … 18 hours
milliseconds pauseAfter(unsigned refusals) {
  return milliseconds{1000} * (1u << 2 * std::min(refusals - 1, 8u));
}

}  // namespace

unsigned SideHealth::takeExtras(unsigned wanted, TimePoint now) {
  std::lock_guard lock(mutex_);
  if (refusals_ == 0) return wanted;
  if (now < nextExtra_) return 0;
  nextExtra_ = now + pauseAfter(++refusals_);
  return 1;
}

void SideHealth::extraRefused(TimePoint now) {
  std::lock_guard lock(mutex_);
  if (refusals_ > 0) return;
  refusals_ = 1;
  nextExtra_ = now + pauseAfter(refusals_);
}

void SideHealth::extraGranted() {
  std::lock_guard lock(mutex_);
  refusals_ = 0;
  nextExtra_ = {};
}

TimePoint SideHealth::nextExtra() const {
  std::lock_guard lock(mutex_);
  return nextExtra_;
}

}  // namespace engine
