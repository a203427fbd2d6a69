// What was copied but may still be lost: unflushed work, the rounds of flushes that make it safe, and
// what a checkpoint may claim. A round is one flush of every connection to the target, answered once by
// every loop. It covers what was completed before it began, unless a connection was lost meanwhile.
//
// Used by all threads of a job. Whatever moves between here and the work list does so under this lock:
// every byte is in one of both at any time.
#pragma once

#include <atomic>
#include <mutex>
#include <vector>

#include "work_list.h"

namespace engine {

class Durability {
 public:
  struct Options {
    milliseconds interval{5000};      // from one round to the next, while there is anything to flush
    milliseconds stallTimeout{60000};
    milliseconds flushTimeout{600000};
  };
  Durability(WorkList& work, const Options& options) : work_(work), options_(options) {}

  // A piece was copied. `needsFlush`: the target may forget it until it was flushed. `writtenBytes`: it has
  // so many in its caches for it, which is nothing where it zeroes without writing.
  void complete(const Piece& piece, bool needsFlush, uint64_t writtenBytes);
  // A server that died may have forgotten what it acknowledged: all that is unflushed is copied again.
  void targetLost();
  // False: so much is unflushed that nothing more is written until a round has ended.
  bool hasRoom() const;
  // Each flush of a connection, of a round or not.
  void flushSent(TimePoint now);
  void flushAnswered(TimePoint now);
  // Beside a flush and just after it the target may leave anything unanswered until then: what it
  // writes from its caches comes first.
  TimePoint patientUntil() const { return patientUntil_.load(std::memory_order_relaxed); }

  // Whether a round should begin. `recovering`: soon, the less is in doubt, the less is copied twice.
  bool isDue(TimePoint now, bool recovering) const;
  void begin(TimePoint now, unsigned loops);
  // The number of the last round that began.
  uint64_t round() const { return round_; }
  // Once from each loop for each round.
  void answer(bool succeeded);
  // Ends the round when all loops have answered.
  enum class State { idle, flushing, flushed, failed };
  State end(TimePoint now);
  // How long rounds have taken so far, the running one included: time in which nobody had trouble.
  Clock::duration inRounds(TimePoint now) const;

  // All that JavaScript was told of before the last round began is safe.
  bool coversReported() const;
  // Nothing is left to copy, and all of it is safe.
  bool done() const;

 private:
  struct Unflushed {
    Range range;
    bool zero;
    bool again;  // JavaScript was told of it before
  };
  // In the order in which it was completed.
  struct Log {
    std::vector<Unflushed> ranges;
    uint64_t writtenBytes = 0;
    void add(const Unflushed& entry);
  };

  bool isDone() const;
  void copyAgain(Log& log);
  void fitLimit(Clock::duration took, bool succeeded);

  WorkList& work_;
  const Options options_;
  mutable std::mutex mutex_;
  Log log_;
  Log flushing_;
  uint64_t limitBytes_ = 64 * kMiB;
  uint64_t losses_ = 0;
  uint64_t lossesAtBegin_ = 0;
  uint64_t againBytes_ = 0;  // told of, lost, and not safe again yet
  bool everFlushed_ = false;

  std::atomic<uint64_t> round_{0};
  bool running_ = false;
  unsigned answersMissing_ = 0;
  bool failed_ = false;
  TimePoint began_{};
  TimePoint ended_ = Clock::now();
  Clock::duration inRounds_{};
  unsigned flushes_ = 0;  // in flight
  std::atomic<TimePoint> patientUntil_{TimePoint{}};
};

}  // namespace engine
