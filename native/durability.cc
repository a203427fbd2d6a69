#include "durability.h"

#include <algorithm>
#include <cassert>

namespace engine {

namespace {

constexpr milliseconds kFlushAfterTrouble{250};
// How much may be unflushed follows from how long its flush takes: half of it when that is longer than
// kLong, or a quarter of what a flush may take; twice as much when it is shorter than an eighth of that.
constexpr milliseconds kLong{10000};
constexpr uint64_t kLeastBytes = kMiB;
constexpr uint64_t kMostBytes = 4 * kGiB;
// The same in ranges: bounds the memory of the log.
constexpr size_t kMostRanges = 64 * 1024;

}  // namespace

void Durability::Log::add(const Unflushed& entry) {
  if (!ranges.empty()) {
    Unflushed& last = ranges.back();
    if (last.range.end() == entry.range.offset && last.zero == entry.zero &&
        last.again == entry.again) {
      last.range.length += entry.range.length;
      return;
    }
  }
  ranges.push_back(entry);
}

void Durability::complete(const Piece& piece, bool needsFlush, uint64_t writtenBytes) {
  std::lock_guard lock(mutex_);
  work_.complete();
  if (!needsFlush) {
    if (piece.reported) againBytes_ -= piece.wantedBytes();
    return;
  }
  log_.writtenBytes += writtenBytes;
  if (piece.wanted.empty()) log_.add({piece.range, piece.zero, piece.reported});
  else for (const Range& part : piece.wanted) log_.add({part, piece.zero, piece.reported});
}

void Durability::targetLost() {
  std::lock_guard lock(mutex_);
  losses_++;
  copyAgain(flushing_);
  copyAgain(log_);
}

void Durability::copyAgain(Log& log) {
  for (auto entry = log.ranges.rbegin(); entry != log.ranges.rend(); ++entry) {
    if (!entry->again) againBytes_ += entry->range.length;
    work_.copyAgain(entry->range, entry->zero);
  }
  log = {};
}

void Durability::flushSent(TimePoint now) {
  std::lock_guard lock(mutex_);
  flushes_++;
  patientUntil_ = now + options_.flushTimeout;
}

void Durability::flushAnswered(TimePoint now) {
  std::lock_guard lock(mutex_);
  if (--flushes_ == 0) patientUntil_ = now + options_.stallTimeout;
}

bool Durability::hasRoom() const {
  std::lock_guard lock(mutex_);
  return log_.writtenBytes + flushing_.writtenBytes < limitBytes_ &&
         log_.ranges.size() + flushing_.ranges.size() < kMostRanges;
}

// At half of the limit, so that writing goes on beside a flush that does not take long.
bool Durability::isDue(TimePoint now, bool recovering) const {
  std::lock_guard lock(mutex_);
  if (running_ || isDone()) return false;
  if (work_.drained() || log_.writtenBytes >= limitBytes_ / 2 || log_.ranges.size() >= kMostRanges / 2)
    return true;
  const milliseconds interval =
      recovering ? std::min(options_.interval, kFlushAfterTrouble) : options_.interval;
  return (recovering || !log_.ranges.empty()) && now - ended_ >= interval;
}

void Durability::begin(TimePoint now, unsigned loops) {
  std::lock_guard lock(mutex_);
  assert(!running_ && flushing_.ranges.empty());
  std::swap(flushing_, log_);
  lossesAtBegin_ = losses_;
  running_ = true;
  answersMissing_ = loops;
  failed_ = false;
  began_ = now;
  round_++;
}

void Durability::answer(bool succeeded) {
  std::lock_guard lock(mutex_);
  answersMissing_--;
  if (!succeeded) failed_ = true;
}

Durability::State Durability::end(TimePoint now) {
  std::lock_guard lock(mutex_);
  if (!running_) return State::idle;
  if (answersMissing_ > 0) return State::flushing;
  running_ = false;
  ended_ = now;
  inRounds_ += now - began_;
  const bool lost = losses_ != lossesAtBegin_;
  fitLimit(now - began_, !failed_ && !lost);
  if (lost) return State::failed;
  if (failed_) {
    // Not known to be lost, but not known to be safe either.
    losses_++;
    copyAgain(flushing_);
    copyAgain(log_);
    return State::failed;
  }
  for (const Unflushed& entry : flushing_.ranges)
    if (entry.again) againBytes_ -= entry.range.length;
  flushing_ = {};
  everFlushed_ = true;
  return State::flushed;
}

Clock::duration Durability::inRounds(TimePoint now) const {
  std::lock_guard lock(mutex_);
  return running_ ? inRounds_ + (now - began_) : inRounds_;
}

void Durability::fitLimit(Clock::duration took, bool succeeded) {
  const Clock::duration tooLong = std::min(kLong, options_.flushTimeout / 4);
  if (took > tooLong) limitBytes_ = std::max(limitBytes_ / 2, kLeastBytes);
  else if (succeeded && took < tooLong / 8 && flushing_.writtenBytes >= limitBytes_ / 2)
    limitBytes_ = std::min(limitBytes_ * 2, kMostBytes);
}

bool Durability::coversReported() const {
  std::lock_guard lock(mutex_);
  return againBytes_ == 0;
}

bool Durability::done() const {
  std::lock_guard lock(mutex_);
  return isDone();
}

// Also where nothing was written: what is on the target may be there for others not to be lost.
bool Durability::isDone() const {
  return everFlushed_ && log_.ranges.empty() && flushing_.ranges.empty() && work_.drained();
}

}  // namespace engine
