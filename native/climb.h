// How many connections one side should have, found by trying: twice as many while that is clearly
// faster, back at the first sample in which it is not, and again when the flow thins (a server that
// caps each connection may let a first burst pass) and from time to time, because networks change
// their mind.
#pragma once

#include <optional>

#include "machine_idle.h"
#include "types.h"

namespace engine {

class Climb {
 public:
  // always: whoever waits for whom. whereItWaits: only while requests to this side take more than
  // twice as long, all together, as those to the other side.
  enum class When { always, whereItWaits };
  explicit Climb(When when) : when_(when) {}

  struct Seen {
    TimePoint now;
    uint64_t bytes;        // that have passed so far
    uint64_t waited;       // sum over this side's requests: time to the answer, by size
    uint64_t otherWaited;  // the same of the other side
    unsigned count;        // connections wanted now
    int ready;             // of which so many are made
    unsigned least, most;
    unsigned mostNear;     // where no step helped as much as a cap on each connection explains
    bool near;
  };
  // Another count, if there should be one from now on.
  std::optional<unsigned> step(const Seen& seen);
  // The count was changed by somebody else: the new ones are waited for.
  void restart(TimePoint now);
  // Not measured for now; the next step() begins a new sample.
  void rest() { resting_ = true; }
  bool settled() const { return settled_; }
  // A larger number is being tried.
  bool trying() const { return previousCount_ != 0; }

 private:
  // Returns the share of the processors that was idle since the last time.
  double measureFrom(const Seen& seen);

  const When when_;
  bool waiting_ = true;  // for connections, before measuring
  bool resting_ = false;
  bool settled_ = false;
  double settledRate_ = 0;
  unsigned previousCount_ = 0;
  double previousRate_ = 0;
  double gain_ = 0;        // of the last step up that was kept
  unsigned agreeing_ = 0;  // samples in a row that say the same
  TimePoint changedAt_ = Clock::now();
  TimePoint since_;
  uint64_t bytesAtStart_ = 0, waitedAtStart_ = 0, otherWaitedAtStart_ = 0;
  MachineIdle idle_;
};

}  // namespace engine
