#include "zero_proof.h"

#include <algorithm>
#include <utility>

namespace engine {

namespace {

// Small, because the bytes of a read are looked at while they are still in the processor's cache.
constexpr uint64_t kReadBytes = 256 * kKiB;
constexpr uint64_t kWriteBytes = kMiB;
constexpr uint64_t kNoLimit = UINT64_MAX;
constexpr milliseconds kTrialTime{400};
constexpr milliseconds kFirstPause{500};
constexpr milliseconds kLongestPause{60000};
constexpr unsigned kReads = 32, kReadsNotTimed = 12;
constexpr unsigned kWrites = 4, kWritesNotTimed = 1;
// Reading costs work at both ends of the line; through a TLS tunnel more than writing costs the
// server. So reading alone must be clearly faster than writing.
constexpr double kReadMustBeFaster = 1.4;
// Reading stays the way unless it is clearly slower: one trial may have been disturbed.
constexpr double kReadStays = 0.8;
// After a miss, what follows is likely to be old data too: 2 MiB are written, after the next 4 …
constexpr unsigned kMissesCounted = 10;

}  // namespace

bool ZeroProof::trying(TimePoint now, Begin begin) {
  std::lock_guard lock(mutex_);
  const bool wanted = enabled_ && owedBytes_ == 0;
  if (!trying_ && begin == Begin::yes && wanted && now >= nextTrial_) {
    trying_ = true;
    trialEnd_ = now + kTrialTime;
    read_ = write_ = {};
  }
  if (trying_ && (!wanted || write_.answered >= kWrites || now >= trialEnd_)) end(now);
  return trying_;
}

void ZeroProof::abandon(TimePoint now) {
  std::lock_guard lock(mutex_);
  if (trying_) end(now);
}

void ZeroProof::end(TimePoint now) {
  trying_ = false;
  pause_ = std::min(std::max(pause_ * 3, kFirstPause), kLongestPause);
  nextTrial_ = now + pause_;
  if (write_.answered >= kWrites) decide();
}

void ZeroProof::decide() {
  auto rate = [](const Trial& trial, uint64_t bytes) {
    return bytes / std::max(std::chrono::duration<double>(trial.to - trial.from).count(), 1e-6);
  };
  reads_ = rate(read_, (kReads - kReadsNotTimed) * kReadBytes) >=
           rate(write_, (kWrites - kWritesNotTimed) * kWriteBytes) *
               (reads_ ? kReadStays : kReadMustBeFaster);
}

ZeroProof::Choice ZeroProof::choose(bool asData) {
  std::lock_guard lock(mutex_);
  if (!enabled_) return {Way::write, kNoLimit};
  if (owedBytes_ > 0) return {Way::write, owedBytes_};
  if (trying_ && read_.sent < kReads) return {Way::read, kReadBytes};
  if (trying_) return {Way::write, write_.sent < kWrites ? kWriteBytes : 0};
  return reads_ || asData ? Choice{Way::read, kReadBytes} : Choice{Way::write, kNoLimit};
}

std::optional<ZeroProof::Choice> ZeroProof::besideWrites() {
  std::lock_guard lock(mutex_);
  if (!enabled_ || trying_ || owedBytes_ > 0) return std::nullopt;
  return Choice{Way::read, kReadBytes};
}

bool ZeroProof::sent(Way way, uint64_t bytes) {
  std::lock_guard lock(mutex_);
  if (way == Way::write) owedBytes_ -= std::min(owedBytes_, bytes);
  Trial& trial = way == Way::read ? read_ : write_;
  if (!trying_ || trial.sent >= (way == Way::read ? kReads : kWrites)) return false;
  trial.sent++;
  return true;
}

void ZeroProof::answered(Way way) {
  std::lock_guard lock(mutex_);
  Trial& trial = way == Way::read ? read_ : write_;
  trial.to = Clock::now();
  if (++trial.answered == (way == Way::read ? kReadsNotTimed : kWritesNotTimed)) trial.from = trial.to;
}

void ZeroProof::found(bool zero) {
  std::lock_guard lock(mutex_);
  misses_ = zero ? 0 : std::min(misses_ + 1, kMissesCounted);
  owedBytes_ = zero ? 0 : kMiB << misses_;
}

bool ZeroProof::disable() {
  std::lock_guard lock(mutex_);
  return std::exchange(enabled_, false);
}

}  // namespace engine
