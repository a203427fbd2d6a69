// Whether a range that must become zero is first read from the target: what is seen to be zero there
// needs no request that makes the server write it, and a thin volume stays thin. Found out by a few
// requests of each kind, while nothing else is on its way, and again now and then, at most every
// minute; not where the target is too far away to tell in time. Used by all loops.
#pragma once

#include <mutex>
#include <optional>

#include "types.h"

namespace engine {

class ZeroProof {
 public:
  enum class Way { read, write };
  struct Choice {
    Way way;
    uint64_t limit;  // the range should have at most so many bytes; 0: none now
  };
  // For the next range. `asData`: the server takes zeroes only as bytes, so reading costs no more.
  Choice choose(bool asData);
  // For a read while others write zeroes. Nothing where reading would not do now.
  std::optional<Choice> besideWrites();
  // True while both ways are tried: data waits for the few milliseconds that it takes. Ends by itself,
  // after less than half a second when the target is slow to answer.
  enum class Begin { no, yes };
  bool trying(TimePoint now, Begin begin);
  // There is nothing left to try it with.
  void abandon(TimePoint now);
  // The range was sent, so or so. True: it is part of the trial, and its answer is to be told.
  bool sent(Way way, uint64_t bytes);
  void answered(Way way, uint64_t bytes, TimePoint issued);
  // A read found the range to be zero, or not.
  void found(bool zero);
  // For good: the target is not read for this. True the first time.
  bool disable();

 private:
  // The requests of one way in a trial; the first ones meet cold paths and are not timed.
  struct Trial {
    unsigned sent = 0;
    unsigned answered = 0;
    Clock::duration quickest = Clock::duration::max();
    uint64_t bytes = 0;  // of those that are timed
    TimePoint from{};
    TimePoint to{};
  };
  void end(TimePoint now);
  void decide();

  std::mutex mutex_;
  bool enabled_ = true;
  bool trying_ = false;
  bool reads_ = false;  // what the trials say
  unsigned trials_ = 0, tooFar_ = 0;
  double readShare_ = 0;  // the mean of the last ones
  milliseconds pause_{0};
  TimePoint nextTrial_{};
  TimePoint trialEnd_{};
  Trial read_, write_;
  unsigned misses_ = 0;     // reads in a row that found something else than zero
  uint64_t owedBytes_ = 0;  // to be written before reading is tried again
};

}  // namespace engine
