// How many connections a job has: planned from what the sides offer, then measured.
#include <algorithm>
#include <cmath>
#include <utility>

#include "copier.h"
#include "loop.h"
#include "machine_idle.h"

namespace engine {

namespace {

constexpr unsigned kConnectionsMaximum = 8;
// ESXi's NFC service serves about 52 connections; several disks share a part of them.
constexpr unsigned kConnectionsOfRun = 16;
constexpr unsigned kFarSources = 4;
// A source whose quickest answer comes later than this is far away. A busy machine delays answers
// too, so several are awaited before it is believed.
constexpr uint64_t kFarReadUs = 1500;
// From here on kFarSources cost nothing that could be measured, and what a distant service grants each
// connection shows itself late: caps let a first burst pass.
constexpr uint64_t kDistantReadUs = 4000;
constexpr milliseconds kLook{60};
// Nearby the cores are the limit.
constexpr unsigned kNearSourcesPerCore = 2;
// Writes take their time on a busy server too. Only one that is further away gets more connections.
constexpr uint64_t kFarWriteUs = 4000;
constexpr unsigned kFirstTargets = 4;
// nbdkit works on so many requests of each connection at once.
constexpr uint64_t kRequestsAtWork = 16;
// Reads across gaps pay where every request costs a round trip and few can be under way.
constexpr uint64_t kSlowReadUs = 800;
constexpr unsigned kFewConnections = 2;
constexpr uint64_t kGap = 64 * kKiB;

uint64_t microseconds(Clock::duration time) {
  return std::chrono::duration_cast<std::chrono::microseconds>(time).count();
}

void lower(std::atomic<uint64_t>& least, uint64_t us) {
  if (us < least.load(std::memory_order_relaxed)) least = us;
}

}  // namespace

// Reading a snapshot over several connections is safe whatever the server says of multi-conn;
// writing is not: there it must be offered, or asked for by the operator.
void Copier::planConnections() {
  const unsigned cores = processors();
  sourceCount_ = std::clamp(options_.source.connections, 0u, 64u);
  adaptSources_ = sourceCount_ == 0;
  if (sourceCount_ == 0) sourceCount_ = std::min(cores, kFarSources);
  targetCount_ = std::clamp(options_.target.connections, 0u, 64u);
  adaptTargets_ = targetCount_ == 0 && target_.canMultiConn && options_.mode == Mode::copy;
  if (targetCount_ == 0) targetCount_ = target_.canMultiConn ? std::min(cores, kFirstTargets) : 1;
  // A small disk is copied before further connections are made.
  if (adaptSources_ && options_.capacityBytes <= 4 * requestSize_.now()) {
    sourceCount_ = 1;
    sourcesSized_ = true;
  }
}

bool Copier::sourceIsNear() const { return readLatencyUs_ < kFarReadUs; }

// As far as the reads of it tell: most of them come when it has nothing else to do.
bool Copier::targetIsFar() const {
  const uint64_t us = proofLatencyUs_;
  return us != UINT64_MAX && us >= kFarWriteUs;
}

// More may be wanted than the server grants.
unsigned Copier::sourcesReady() const { return std::max(ready_[0].load(), 1); }

unsigned Copier::connecting(Side side) const {
  unsigned count = 0;
  for (const auto& loop : loops_) count += loop->connecting(side);
  return count;
}

// Of one side.
unsigned Copier::connectionsMaximum() const {
  const unsigned fair =
      std::min(kConnectionsMaximum, kConnectionsOfRun / shared_->pool.jobs());
  return std::max<unsigned>(loops_.size(), fair);
}

void Copier::sizeRequests(TimePoint now) {
  RequestSize::Seen seen;
  seen.now = now;
  seen.atWork = sourcesReady() * kRequestsAtWork;
  seen.latencyUs = readLatencyUs_;
  seen.memoryBytes = shared_->pool.bytes() / shared_->pool.jobs();
  // What is compared is there twice.
  if (options_.mode == Mode::compare) seen.memoryBytes /= 2;
  seen.writtenBytes = stats_.writtenBytes;
  seen.writeWaited = stats_.writeWaited;
  requestSize_.look(seen);
}

// As many connections as it takes to have enough under way over this distance, by the size that reads
// have had so far; from there on it is measured.
unsigned Copier::sourcesForDistance() const {
  const double meanBytes = stats_.readBytes / std::max(1.0, double(stats_.reads));
  const double carried = kRequestsAtWork * meanBytes * 1e6 / std::max<uint64_t>(readLatencyUs_, 1);
  const double asked = std::ceil(RequestSize::kEnough / carried);
  const double wanted =
      readLatencyUs_ >= kDistantReadUs ? kFarSources : std::min(asked, double(kFarSources));
  return std::max(sourceCount_, std::min(static_cast<unsigned>(wanted), connectionsMaximum()));
}

void Copier::use(Side side, unsigned count) {
  (side == Side::source ? sourceCount_ : targetCount_) = count;
  setConnections(side, count);
  wakeLoops();
}

// Called every tick. A source starts with a connection for each core, which is enough for one nearby;
// one further away gets more as soon as its first answers show that. From there on it climbs.
void Copier::adapt(TimePoint now) {
  const bool known = readLatencyUs_ != UINT64_MAX;
  if (adaptSources_ && !sourcesSized_ && known) {
    if (firstAnswer_ == TimePoint{}) firstAnswer_ = now;
    sourcesSized_ = sourceIsNear() || now - firstAnswer_ >= kLook;
    const unsigned far = sourcesForDistance();
    if (sourcesSized_ && !sourceIsNear() && sourceCount_ < far) {
      use(Side::source, far);
      sourceClimb_.restart(now);
    }
  }
  if (known && options_.requestBytes == 0) sizeRequests(now);
  if (options_.gapBytes >= 0) gapBytes_ = options_.gapBytes;
  else gapBytes_ = known && readLatencyUs_ >= kSlowReadUs && sourcesReady() <= kFewConnections ? kGap : 0;
  if (options_.mode == Mode::compare) gapBytes_ = 0;
  writeDepth_.look(now);
  climb(now);
}

// One side at a time, the target when the source has what it needs.
void Copier::climb(TimePoint now) {
  Climb::Seen seen;
  seen.now = now;
  seen.least = loops_.size();
  seen.most = connectionsMaximum();

  seen.runBytes = shared_->rate.passedBytes();
  seen.runRateMaximum = shared_->rate.bytesPerSecond();
  seen.bytes = stats_.readBytes;
  seen.waited = stats_.readWaited;
  seen.otherWaited = stats_.writeWaited;
  seen.count = sourceCount_;
  seen.ready = ready_[0];
  seen.connecting = connecting(Side::source);
  seen.mostNear = kNearSourcesPerCore * processors();
  seen.near = sourceIsNear();
  if (adaptSources_ && !targetClimb_.trying()) {
    if (const auto count = sourceClimb_.step(seen)) use(Side::source, *count);
  } else {
    sourceClimb_.rest();
  }

  seen.bytes = stats_.writtenBytes;
  std::swap(seen.waited, seen.otherWaited);
  seen.count = targetCount_;
  seen.ready = ready_[1];
  seen.connecting = connecting(Side::target);
  seen.mostNear = kFirstTargets;
  seen.near = writeLatencyUs_ < kFarWriteUs;
  const bool turn = !adaptSources_ || sourceClimb_.settled();
  if (adaptTargets_ && (targetClimb_.trying() || (turn && !seen.near))) {
    if (const auto count = targetClimb_.step(seen)) use(Side::target, *count);
  } else {
    targetClimb_.rest();
  }
}

void Copier::tuneWindow(Clock::duration answered) {
  if (answered < milliseconds{50}) windowBytes_ = std::min<uint64_t>(windowBytes_ * 2, kGiB);
  else if (answered > milliseconds{1000})
    windowBytes_ = std::max<uint64_t>(windowBytes_ / 2, 64 * kMiB);
}

// The quickest answer says how far away a side is; the others also waited in queues.
void Copier::sawLatency(Side side, Clock::duration latency, uint64_t bytes) {
  const uint64_t us = microseconds(latency);
  lower(side == Side::source ? readLatencyUs_ : writeLatencyUs_, us);
  (side == Side::source ? stats_.readWaited : stats_.writeWaited) += us * (bytes / kKiB);
}

void Copier::sawProofLatency(Clock::duration latency) {
  lower(proofLatencyUs_, microseconds(latency));
}

}  // namespace engine
