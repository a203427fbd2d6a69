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
constexpr unsigned kReads = 48, kReadsNotTimed = 12;
constexpr unsigned kWrites = 6, kWritesNotTimed = 1;
// Turns of the line that a trial takes: four reads at once, one write.
constexpr unsigned kFarTrials = 2;
constexpr unsigned kTurns = kReads / 4 + kWrites;
// What is remembered of a trial is the rate of reading as a share of both rates together: 0.5 where
// both are as fast. Reading costs work at both ends of the line, through a TLS tunnel more than writing
// costs the server. So reading alone must be 1.4 times as fast as writing, and stays the way unless it
// is slower.
constexpr double kReadMustBeFaster = 1.4 / 2.4;
constexpr double kReadStays = 0.5;
// A trial takes a few milliseconds, so a single one is easily disturbed, the later ones more than the
// first, which has the servers for itself: the mean counts, and nothing beyond half or four times as
// fast is believed.
constexpr unsigned kTrialsRemembered = 4;
constexpr double kShareLowest = 0.5 / 1.5, kShareHighest = 4.0 / 5.0;
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
  auto rate = [](const Trial& trial) {
    return trial.bytes / std::max(std::chrono::duration<double>(trial.to - trial.from).count(), 1e-6);
  };
  const double both = std::max(rate(read_) + rate(write_), 1.0);
  const double seen = std::clamp(rate(read_) / both, kShareLowest, kShareHighest);
  trials_ = std::min(trials_ + 1, kTrialsRemembered);
  readShare_ += (seen - readShare_) / trials_;
  reads_ = readShare_ >= (reads_ ? kReadStays : kReadMustBeFaster);
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

void ZeroProof::answered(Way way, uint64_t bytes, TimePoint issued) {
  std::lock_guard lock(mutex_);
  Trial& trial = way == Way::read ? read_ : write_;
  trial.to = Clock::now();
  trial.quickest = std::min(trial.quickest, trial.to - issued);
  const unsigned notTimed = way == Way::read ? kReadsNotTimed : kWritesNotTimed;
  if (++trial.answered == notTimed) trial.from = trial.to;
  if (trial.answered > notTimed) trial.bytes += bytes;
  if (!trying_ || way != Way::read || trial.answered != notTimed) return;
  if (trial.quickest < kTrialTime / kTurns) return;
  end(trial.to);
  // A machine may have been busy for a moment; a line stays as it is.
  if (++tooFar_ == kFarTrials) nextTrial_ = TimePoint::max();
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
