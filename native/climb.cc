#include "climb.h"

#include <algorithm>
#include <utility>

namespace engine {

namespace {

constexpr milliseconds kMeasure{200};
constexpr uint64_t kMeasureBytes = 24 * kMiB;
// Nearby, the machine's own noise is larger than what is looked for.
constexpr milliseconds kMeasureNear{400};
constexpr uint64_t kMeasureNearBytes = 64 * kMiB;
constexpr unsigned kAgreeing = 2;
constexpr milliseconds kConnectPatience{3000};
constexpr milliseconds kSettled{15000};
// More connections must earn their keep.
constexpr double kWorthMore = 1.10;
constexpr double kThinned = 0.8;
constexpr double kCapLifted = 1.5;
constexpr uint64_t kWaitsMore = 2;

}  // namespace

double Climb::measureFrom(const Seen& seen) {
  since_ = seen.now;
  bytesAtStart_ = seen.bytes;
  waitedAtStart_ = seen.waited;
  otherWaitedAtStart_ = seen.otherWaited;
  return idle_.share();
}

void Climb::restart(TimePoint now) {
  changedAt_ = now;
  waiting_ = true;
  agreeing_ = 0;
}

std::optional<unsigned> Climb::step(const Seen& seen) {
  const TimePoint now = seen.now;
  // Connections that are still being made, or that the server does not grant, are not measured.
  if (waiting_) {
    const bool missing = seen.ready < static_cast<int>(seen.count);
    if (missing && now - changedAt_ < kConnectPatience) return std::nullopt;
    waiting_ = false;
    measureFrom(seen);
    if (!missing || seen.ready <= 0) return std::nullopt;
    settled_ = true;
    previousCount_ = 0;
    return std::max<unsigned>(seen.ready, seen.least);
  }
  if (std::exchange(resting_, false)) {
    measureFrom(seen);
    return std::nullopt;
  }
  const uint64_t bytes = seen.bytes - bytesAtStart_;
  if (now - since_ < (seen.near ? kMeasureNear : kMeasure) ||
      bytes < (seen.near ? kMeasureNearBytes : kMeasureBytes))
    return std::nullopt;
  const double rate = bytes / std::chrono::duration<double>(now - since_).count();
  const bool waits =
      when_ == When::always ||
      seen.waited - waitedAtStart_ > kWaitsMore * (seen.otherWaited - otherWaitedAtStart_);
  const bool busy = measureFrom(seen) < kIdleWanted;
  if (settled_) {
    agreeing_ = rate < settledRate_ * kThinned ? agreeing_ + 1 : 0;
    const bool thinned = agreeing_ >= kAgreeing;
    if (!thinned && now - changedAt_ < kSettled) return std::nullopt;
    // Whatever else keeps the processors busy just now will pass; that the flow is thin must not
    // count as normal by then.
    if (thinned && busy) return std::nullopt;
    settled_ = false;
  } else if (trying()) {
    if (rate < previousRate_ * kWorthMore) {
      settled_ = true;
      settledRate_ = previousRate_ = std::min(rate, previousRate_);
      restart(now);
      return std::exchange(previousCount_, 0);
    }
    if (++agreeing_ < kAgreeing) return std::nullopt;
    gain_ = rate / previousRate_;
  }
  agreeing_ = 0;
  const unsigned most =
      seen.near && gain_ < kCapLifted ? std::min(seen.most, seen.mostNear) : seen.most;
  const unsigned next = busy || !waits ? seen.count : std::min(seen.count * 2, most);
  if (next <= seen.count) {
    settled_ = true;
    settledRate_ = rate;
    changedAt_ = now;
    previousCount_ = 0;
    return std::nullopt;
  }
  previousCount_ = seen.count;
  previousRate_ = rate;
  restart(now);
  return next;
}

}  // namespace engine
