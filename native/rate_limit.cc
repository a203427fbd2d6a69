#include "rate_limit.h"

#include <algorithm>

namespace engine {

namespace {
// What an idle moment saves up at most. Together with one request (1/20 s) the bytes of any second
// stay below 1.2 times the limit.
constexpr milliseconds kBurst{50};
}  // namespace

TimePoint RateLimit::reserve(uint64_t bytes) {
  const uint64_t rate = bytesPerSecond();
  if (rate == 0) return TimePoint{};
  TimePoint now = Clock::now();
  auto cost = std::chrono::nanoseconds(
      static_cast<int64_t>(static_cast<double>(bytes) / rate * 1e9));
  std::lock_guard lock(mutex_);
  next_ = std::max(next_, now - kBurst);
  TimePoint start = std::max(next_, now);
  next_ += cost;
  passedBytes_ += bytes;
  return start;
}

void RateLimit::change(uint64_t bytesPerSecond) {
  std::lock_guard lock(mutex_);
  bytesPerSecond_.store(bytesPerSecond, std::memory_order_relaxed);
  // What the old rate would have cost is no debt of the new one.
  next_ = std::min(next_, Clock::now());
}

uint64_t RateLimit::smoothRequestBytes(uint64_t wanted) const {
  const uint64_t rate = bytesPerSecond();
  if (rate == 0) return wanted;
  uint64_t slice = alignDown(rate / 20, 4 * kKiB);
  return std::min(wanted, std::max<uint64_t>(slice, 4 * kKiB));
}

}  // namespace engine
