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
// For connections to be begun: whether one is refused shows soon. One that is being made is awaited.
constexpr milliseconds kConnectPatience{3000};
// A try that was for nothing doubles the time to the next one, a refusal makes it four times as long.
constexpr milliseconds kLongestWait{3600000};
constexpr unsigned kWaitAfterNoGain = 2, kWaitAfterRefusal = 4;
constexpr unsigned kOpensAtFirst = 10;
constexpr milliseconds kOneMoreOpenEach{1800000};
// More connections must earn their keep.
constexpr double kWorthMore = 1.10;
constexpr double kThinned = 0.8;
constexpr double kCapLifted = 1.5;
constexpr uint64_t kWaitsMore = 2;
// So near its limit a run gains nothing by more connections.
constexpr double kAtLimit = 0.95;

}  // namespace

Climb::Climb(When when)
    : Climb(when, [idle = MachineIdle()]() mutable { return idle.share(); }) {}

double Climb::measureFrom(const Seen& seen) {
  since_ = seen.now;
  bytesAtStart_ = seen.bytes;
  waitedAtStart_ = seen.waited;
  otherWaitedAtStart_ = seen.otherWaited;
  runBytesAtStart_ = seen.runBytes;
  return idleShare_();
}

void Climb::restart(TimePoint now) {
  changedAt_ = now;
  waiting_ = true;
  agreeing_ = 0;
}

void Climb::lookLater(TimePoint now, unsigned factor) {
  wait_ = std::min(wait_ * factor, kLongestWait);
  changedAt_ = now;
}

unsigned Climb::opensLeft(TimePoint now) const {
  const unsigned allowed = kOpensAtFirst + (now - startedAt_) / kOneMoreOpenEach;
  return allowed - std::min(allowed, wasted_);
}

std::optional<unsigned> Climb::step(const Seen& seen) {
  const TimePoint now = seen.now;
  if (startedAt_ == TimePoint{}) startedAt_ = changedAt_ = now;
  // Connections that are still being made, or that the server does not grant, are not measured.
  if (waiting_) {
    const bool missing = seen.ready < static_cast<int>(seen.count);
    if (missing && (seen.connecting > 0 || now - changedAt_ < kConnectPatience))
      return std::nullopt;
    waiting_ = false;
    measureFrom(seen);
    if (!missing || seen.ready <= 0) return std::nullopt;
    settled_ = true;
    previousCount_ = 0;
    wasted_ += seen.count - seen.ready;
    lookLater(now, kWaitAfterRefusal);
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
  const double seconds = std::chrono::duration<double>(now - since_).count();
  const double rate = bytes / seconds;
  const bool atLimit = seen.runRateMaximum != 0 && (seen.runBytes - runBytesAtStart_) / seconds >=
                                                       kAtLimit * seen.runRateMaximum;
  const bool waits =
      when_ == When::always ||
      seen.waited - waitedAtStart_ > kWaitsMore * (seen.otherWaited - otherWaitedAtStart_);
  const bool busy = measureFrom(seen) < kIdleWanted;
  if (settled_) {
    agreeing_ = rate < settledRate_ * kThinned ? agreeing_ + 1 : 0;
    const bool thinned = agreeing_ >= kAgreeing;
    if (!thinned && now - changedAt_ < wait_) return std::nullopt;
    // Whatever else keeps the processors busy just now will pass; that the flow is thin must not
    // count as normal by then.
    if (thinned && busy) return std::nullopt;
    settled_ = false;
  } else if (trying()) {
    if (rate < previousRate_ * kWorthMore) {
      settled_ = true;
      settledRate_ = previousRate_ = std::min(rate, previousRate_);
      wasted_ += seen.count - previousCount_;
      restart(now);
      lookLater(now, kWaitAfterNoGain);
      return std::exchange(previousCount_, 0);
    }
    if (++agreeing_ < kAgreeing) return std::nullopt;
    gain_ = rate / previousRate_;
  }
  agreeing_ = 0;
  const unsigned most =
      seen.near && gain_ < kCapLifted ? std::min(seen.most, seen.mostNear) : seen.most;
  const unsigned next =
      busy || atLimit || !waits
          ? seen.count
          : std::min({seen.count * 2, seen.count + opensLeft(now), most});
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
