// How many connections a job has: planned from what the sides offer, then measured.
#include <algorithm>
#include <cmath>
#include <thread>
#include <utility>

#include "copier.h"
#include "loop.h"

namespace engine {

namespace {

constexpr unsigned kConnectionsMaximum = 8;
// ESXi's NFC service serves about 52 connections; several disks share a part of them.
constexpr unsigned kConnectionsOfRun = 16;
constexpr unsigned kFarSources = 4;
// A source whose quickest answer comes later than this is far away. A busy machine delays answers
// too, so several are awaited before it is believed.
constexpr uint64_t kFarReadUs = 1500;
constexpr milliseconds kLook{60};
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
// Where the processors have less than this to spare, more connections cannot help.
constexpr double kIdleWanted = 0.12;
// Nearby the cores are the limit, unless a step helped as much as a cap on each connection explains.
constexpr unsigned kNearSourcesPerCore = 2;
constexpr double kCapLifted = 1.5;
// Half a MiB in a request is quickest where enough of them are under way: more stays in the processor's
// cache. nbdkit works on 16 for each connection; where these would not carry so much, they are doubled.
constexpr uint64_t kRequestNear = 512 * kKiB;
constexpr uint64_t kRequestsAtWork = 16;
constexpr double kEnoughBytesPerSecond = 2.5 * kGiB;
// Reads across gaps pay where every request costs a round trip and few can be under way.
constexpr uint64_t kSlowReadUs = 800;
constexpr unsigned kFewConnections = 2;
constexpr uint64_t kGap = 64 * kKiB;

}  // namespace

// Reading a snapshot over several connections is safe whatever the server says of multi-conn;
// writing is not: there it must be offered, or asked for by the operator.
void Copier::planConnections() {
  const unsigned cores = std::max(std::thread::hardware_concurrency(), 1u);
  sourceCount_ = std::clamp(options_.source.connections, 0u, 64u);
  adaptive_.enabled = sourceCount_ == 0;
  if (sourceCount_ == 0) sourceCount_ = std::min(cores, kFarSources);
  targetCount_ = std::clamp(options_.target.connections, 0u, 64u);
  if (targetCount_ == 0) targetCount_ = target_.canMultiConn ? std::min(cores, 4u) : 1;
  // A small disk is copied before further connections are made.
  if (adaptive_.enabled && options_.capacityBytes <= 4 * requestBytes_) {
    sourceCount_ = 1;
    adaptive_.sized = true;
  }
}

bool Copier::sourceIsNear() const { return readLatencyUs_ < kFarReadUs; }

unsigned Copier::sourcesMaximum() const {
  const unsigned fair =
      std::min(kConnectionsMaximum, kConnectionsOfRun / std::max(1u, shared_->jobs.load()));
  return std::max<unsigned>(loops_.size(), fair);
}

void Copier::sizeRequests() {
  if (options_.requestBytes != 0 || requestBytes_ <= kRequestNear) return;
  const double carried = sourceCount_ * kRequestsAtWork * kRequestNear * 1e6 /
                         std::max<uint64_t>(readLatencyUs_, 1);
  requestNow_ = carried >= kEnoughBytesPerSecond ? kRequestNear : requestBytes_;
}

// As many connections as it takes to have enough under way over this distance, by the size that reads
// have had so far; from there on it is measured.
unsigned Copier::sourcesForDistance() const {
  const double meanBytes = stats_.readBytes / std::max(1.0, double(stats_.reads));
  const double carried = kRequestsAtWork * meanBytes * 1e6 / std::max<uint64_t>(readLatencyUs_, 1);
  const double wanted = std::min(std::ceil(kEnoughBytesPerSecond / carried), double(kFarSources));
  return std::max(sourceCount_, std::min(static_cast<unsigned>(wanted), sourcesMaximum()));
}

void Copier::useSources(unsigned count, TimePoint now) {
  sourceCount_ = count;
  adaptive_.changedAt = now;
  adaptive_.waiting = true;
  adaptive_.agreeing = 0;
  setConnections(Side::source, count);
  wakeLoops();
}

// Called every tick. Starts with a connection for each core, which is enough for a source nearby; one
// further away gets more as soon as its first answers show that. Then climbs to 8 while that clearly
// helps, steps back at the first sample in which it does not, and settles. Climbs again when the
// flow thins (a source that caps each connection may let a first burst pass), and from time to time,
// because networks change their mind.
void Copier::adapt(TimePoint now) {
  Adaptive& a = adaptive_;
  const bool known = readLatencyUs_ != UINT64_MAX;
  if (a.enabled && !a.sized && known) {
    if (a.firstAnswer == TimePoint{}) a.firstAnswer = now;
    a.sized = sourceIsNear() || now - a.firstAnswer >= kLook;
    const unsigned far = sourcesForDistance();
    if (a.sized && !sourceIsNear() && sourceCount_ < far) useSources(far, now);
  }
  if (known) sizeRequests();
  if (options_.gapBytes >= 0) gapBytes_ = options_.gapBytes;
  else gapBytes_ = known && readLatencyUs_ >= kSlowReadUs && sourceCount_ <= kFewConnections ? kGap : 0;
  if (options_.mode == Mode::compare) gapBytes_ = 0;
  if (!a.enabled || shared_->rate.limited()) return;

  const uint64_t bytes = stats_.readBytes;
  auto measureFromHere = [&] {
    a.since = now;
    a.bytesAtStart = bytes;
    return a.idle.share();
  };
  // Connections that are still being made, or that the server does not grant, are not measured.
  if (a.waiting) {
    if (ready_[0] < static_cast<int>(sourceCount_) && now - a.changedAt < kConnectPatience) return;
    a.waiting = false;
    if (ready_[0] > 0 && ready_[0] < static_cast<int>(sourceCount_)) {
      sourceCount_ = std::max<unsigned>(ready_[0], loops_.size());
      setConnections(Side::source, sourceCount_);
      a.settled = true;
    }
    measureFromHere();
    return;
  }
  const bool near = sourceIsNear();
  if (now - a.since < (near ? kMeasureNear : kMeasure) ||
      bytes - a.bytesAtStart < (near ? kMeasureNearBytes : kMeasureBytes))
    return;
  const double rate =
      (bytes - a.bytesAtStart) / std::chrono::duration<double>(now - a.since).count();
  const bool busy = measureFromHere() < kIdleWanted;
  if (a.settled) {
    a.agreeing = rate < a.settledRate * kThinned ? a.agreeing + 1 : 0;
    if (a.agreeing < kAgreeing && now - a.changedAt < kSettled) return;
    a.settled = false;
  } else if (a.previousCount != 0) {
    if (rate < a.previousRate * kWorthMore) {
      a.settled = true;
      a.settledRate = a.previousRate = std::min(rate, a.previousRate);
      return useSources(std::exchange(a.previousCount, 0), now);
    }
    if (++a.agreeing < kAgreeing) return;
    a.gain = rate / a.previousRate;
  }
  a.agreeing = 0;
  unsigned most = sourcesMaximum();
  if (near && a.gain < kCapLifted) {
    const unsigned cores = std::max(std::thread::hardware_concurrency(), 1u);
    most = std::min(most, kNearSourcesPerCore * cores);
  }
  const unsigned next = busy ? sourceCount_ : std::min(sourceCount_ * 2, most);
  if (next <= sourceCount_) {
    a.settled = true;
    a.settledRate = rate;
    a.changedAt = now;
    a.previousCount = 0;
    return;
  }
  a.previousCount = sourceCount_;
  a.previousRate = rate;
  useSources(next, now);
}

void Copier::tuneWindow(Clock::duration answered) {
  if (answered < milliseconds{50}) windowBytes_ = std::min<uint64_t>(windowBytes_ * 2, kGiB);
  else if (answered > milliseconds{1000})
    windowBytes_ = std::max<uint64_t>(windowBytes_ / 2, 64 * kMiB);
}

// The quickest read says how far away the source is; the others also waited in queues.
void Copier::sawLatency(Clock::duration latency) {
  uint64_t us = std::chrono::duration_cast<std::chrono::microseconds>(latency).count();
  if (us < readLatencyUs_.load(std::memory_order_relaxed)) readLatencyUs_ = us;
}

}  // namespace engine
