// What the tuner is shown of a job, and how its plan is carried out.
#include <utility>

#include "copier.h"
#include "loop.h"

namespace engine {

namespace {

// src/migration/vm/host-connections.ts counts on these: ESXi's NFC service serves about 52 connections, and
// several disks share a part of them.
constexpr unsigned kConnectionsMaximum = 8;
constexpr unsigned kConnectionsOfRun = 16;
constexpr unsigned kFirstConnections = 4;
// Until the first answers have told how far away both sides are.
constexpr uint64_t kFirstRequestBytes = 512 * kKiB;
constexpr unsigned kFirstWrites = 4;
constexpr unsigned kReadsLeast = 32;
// On their way at first.
constexpr uint64_t kFirstBytes = 32 * kMiB;
// Who takes longer for a read that is to see zeroes is not on this machine.
constexpr uint64_t kFarTargetUs = 4000;
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

// Reading a snapshot over several connections is safe whatever the server says of multi-conn; writing is not:
// there it must be offered, or asked for by the operator. At first one connection for each core.
void Copier::planConnections() {
  const bool fewRequests = options_.capacityBytes <= 4 * Plan{}.requestBytes;
  const unsigned first = std::min(processors(), kFirstConnections);
  const unsigned sources = std::min(options_.source.connections, 64u);
  const unsigned targets = std::min(options_.target.connections, 64u);
  const bool several = target_.canMultiConn;
  Tuner::Free free;
  free.size = options_.requestBytes == 0;
  free.sources = sources == 0 && !fewRequests;
  free.targets = targets == 0 && several && options_.mode == Mode::copy;
  free.requestBytesMost = requestBytes_;
  plan_.requestBytes = free.size ? std::min(requestBytes_, kFirstRequestBytes) : requestBytes_;
  plan_.sources = sources != 0 ? sources : fewRequests ? 1 : first;
  plan_.targets = targets != 0 ? targets : several ? first : 1;
  plan_.depth = std::max<uint64_t>(kFirstBytes / (plan_.requestBytes * plan_.sources), 2);
  plan_.writes = kFirstWrites;
  tuner_.emplace(plan_, free);
}

// More may be wanted than the server grants.
unsigned Copier::sourcesReady() const { return std::max(ready_[0].load(), 1); }

// As far as the reads of it tell: most of them come when it has nothing else to do.
bool Copier::targetIsFar() const {
  const uint64_t us = proofLatencyUs_;
  return us != UINT64_MAX && us >= kFarTargetUs;
}

Tuner::Connections Copier::connectionsOf(Side side, TimePoint now) {
  const size_t which = side == Side::source ? 0 : 1;
  Tuner::Connections seen;
  seen.ready = std::max(ready_[which].load(), 0);
  for (const auto& loop : loops_) seen.connecting += loop->connecting(side);
  const unsigned fair = std::min(kConnectionsMaximum, kConnectionsOfRun / shared_->pool.jobs());
  seen.least = loops_.size();
  seen.most = std::max<unsigned>(loops_.size(), fair);
  seen.mayAsk = health_[which].nextExtra() <= now;
  return seen;
}

// Called every tick.
void Copier::tune(TimePoint now) {
  Tuner::Seen seen;
  seen.now = now;
  seen.delivered = stats_.delivered;
  seen.deliveredBytes = stats_.deliveredBytes;
  seen.readWaited = stats_.readWaited;
  seen.heldWaited = stats_.heldWaited;
  seen.writtenBytes = stats_.writtenBytes;
  seen.writeWaited = stats_.writeWaited;
  seen.quickestReadUs = readLatencyUs_;
  seen.meanReadBytes = stats_.readBytes / std::max<uint64_t>(stats_.reads, 1);
  seen.quickestWriteUs = writeLatencyUs_;
  seen.workWaits = work_->dataReady();
  seen.budgetBytes = shared_->pool.bytes() / shared_->pool.jobs();
  // What is compared is there twice.
  if (options_.mode == Mode::compare) seen.budgetBytes /= 2;
  seen.sources = connectionsOf(Side::source, now);
  seen.targets = connectionsOf(Side::target, now);
  seen.disturbed = disturbed_.exchange(false);
  seen.writesHeld = writesHeld_.exchange(false);
  const Plan plan = tuner_->look(seen);
  if (plan != plan_) use(plan);

  const bool slow = readLatencyUs_ != UINT64_MAX && readLatencyUs_ >= kSlowReadUs;
  if (options_.mode == Mode::compare) gapBytes_ = 0;
  else if (options_.gapBytes >= 0) gapBytes_ = options_.gapBytes;
  else gapBytes_ = slow && sourcesReady() <= kFewConnections ? kGap : 0;
}

void Copier::use(const Plan& plan) {
  plan_ = plan;
  planRequestBytes_ = plan.requestBytes;
  planReadBytes_ = plan.requestBytes * plan.depth;
  // Requests may be smaller than planned: then there are more of them, at least as many as nbdkit's threads for a
  // connection work on and have waiting.
  planReads_ = std::max(2 * plan.depth, kReadsLeast);
  planWrites_ = plan.writes;
  share_->limit(plan.bytes(UINT64_MAX) * (options_.mode == Mode::compare ? 2 : 1));
  setConnections(Side::source, plan.sources);
  setConnections(Side::target, plan.targets);
  for (auto& loop : loops_) loop->spare(plan.spare);
  wakeLoops();
}

void Copier::tuneWindow(Clock::duration answered) {
  if (answered < milliseconds{50}) windowBytes_ = std::min<uint64_t>(windowBytes_ * 2, kGiB);
  else if (answered > milliseconds{1000})
    windowBytes_ = std::max<uint64_t>(windowBytes_ / 2, 64 * kMiB);
}

void Copier::delivered(const Piece& piece, Clock::duration read, Clock::duration held) {
  const uint64_t kib = piece.range.length / kKiB;
  stats_.delivered++;
  stats_.deliveredBytes += piece.range.length;
  stats_.readWaited += microseconds(read) * kib;
  stats_.heldWaited += microseconds(held) * kib;
}

void Copier::sawReadLatency(Clock::duration latency) {
  lower(readLatencyUs_, microseconds(latency));
}

void Copier::sawWriteLatency(Clock::duration latency, uint64_t bytes) {
  lower(writeLatencyUs_, microseconds(latency));
  stats_.writeWaited += microseconds(latency) * (bytes / kKiB);
}

void Copier::sawProofLatency(Clock::duration latency) {
  lower(proofLatencyUs_, microseconds(latency));
}

}  // namespace engine
