#include "rate_limit.h"

#include <algorithm>

namespace engine {

namespace {
// What an idle moment saves up at most. Together with one request (1/20 s) the bytes of any second
// stay below 1.2 times the limit.
constexpr milliseconds kBurst{50};
}  // namespace

TimePoint RateLimit::reserve(uint64_t bytes) {
  if (!limited()) return TimePoint{};
  TimePoint now = Clock::now();
  auto cost = std::chrono::nanoseconds(
      static_cast<int64_t>(static_cast<double>(bytes) / bytesPerSecond_ * 1e9));
  std::lock_guard lock(mutex_);
  next_ = std::max(next_, now - kBurst);
  TimePoint start = std::max(next_, now);
  next_ += cost;
  passedBytes_ += bytes;
  return start;
}

uint64_t RateLimit::smoothRequestBytes(uint64_t wanted) const {
  if (!limited()) return wanted;
  uint64_t slice = alignDown(bytesPerSecond_ / 20, 4 * kKiB);
  return std::min(wanted, std::max<uint64_t>(slice, 4 * kKiB));
}

}  // namespace engine
