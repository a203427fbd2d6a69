// How many connections one side should have, found by trying: twice as many while that is clearly
// faster, back at the first sample in which it is not, and again when the flow thins (a server that
// caps each connection may let a first burst pass) and from time to time, ever more rarely, because
// networks change their mind. To open one costs the server something, through VDDK a login: the number
// of those opened for nothing is bounded, however long the copy.
#pragma once

#include <functional>
#include <optional>

#include "machine_idle.h"
#include "types.h"

namespace engine {

class Climb {
 public:
  // always: whoever waits for whom. whereItWaits: only while requests to this side take more than
  // twice as long, all together, as those to the other side.
  enum class When { always, whereItWaits };
  // The share of the processors that was idle since the last call.
  using IdleShare = std::function<double()>;
  explicit Climb(When when);
  Climb(When when, IdleShare idleShare) : when_(when), idleShare_(std::move(idleShare)) {}

  struct Seen {
    TimePoint now;
    uint64_t bytes;        // that have passed so far
    uint64_t waited;       // sum over this side's requests: time to the answer, by size
    uint64_t otherWaited;  // the same of the other side
    unsigned count;        // connections wanted now
    int ready;             // of which so many are made
    unsigned connecting;   // and so many are being made
    unsigned least, most;
    unsigned mostNear;     // where no step helped as much as a cap on each connection explains
    bool near;
    // Of all copies of the run: bytes that have passed so far, and how many a second may; 0: any.
    uint64_t runBytes, runRateMaximum;
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
  void lookLater(TimePoint now, unsigned factor);
  // How many connections may still be opened for nothing.
  unsigned opensLeft(TimePoint now) const;

  const When when_;
  const IdleShare idleShare_;
  bool waiting_ = true;  // for connections, before measuring
  bool resting_ = false;
  bool settled_ = false;
  double settledRate_ = 0;
  unsigned previousCount_ = 0;
  double previousRate_ = 0;
  double gain_ = 0;        // of the last step up that was kept
  unsigned agreeing_ = 0;  // samples in a row that say the same
  TimePoint changedAt_{};
  milliseconds wait_{15000};  // from one look to the next
  unsigned wasted_ = 0;       // connections that were opened for nothing
  TimePoint startedAt_{};
  TimePoint since_;
  uint64_t bytesAtStart_ = 0, waitedAtStart_ = 0, otherWaitedAtStart_ = 0, runBytesAtStart_ = 0;
};

}  // namespace engine
