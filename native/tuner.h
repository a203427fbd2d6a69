// How a copy is done, found by trying. The rule: enlarge one means at a time, the cheapest first on the side
// that holds the buffers, each dearer one carrying cheaper ones along; stay with what clearly raises the
// bytes delivered in a second, else step back and wait twice as long; give back what is not missed.
//
// Pure: it knows no clock, no thread and no server but what look() is shown. Every constant of it comes
// from a simulation of sources and targets (test/native/tools/field.cc plays it), not from a machine.
#pragma once

#include <array>
#include <optional>
#include <vector>

#include "types.h"

namespace engine {

// As it is where source and target are not close by.
struct Plan {
  uint64_t requestBytes = kMiB;
  unsigned depth = 16;  // requests of each source connection that have a buffer
  unsigned writes = 16;  // that each target connection has at once
  unsigned sources = 1, targets = 1;
  unsigned spare = 0;  // further source connections that stay open and get no work

  // In buffers at once, on their way from the source or to the target.
  uint64_t bytes(uint64_t budgetBytes) const {
    return std::min(requestBytes * depth * sources, budgetBytes);
  }
  bool operator==(const Plan&) const = default;
};

class Tuner {
 public:
  // What may be changed; the rest stays as it is in the first plan.
  struct Free {
    bool size = true, sources = true, targets = true;
    uint64_t requestBytesMost = kMiB;
  };
  Tuner(const Plan& start, const Free& free);

  struct Connections {
    unsigned ready = 0;
    unsigned connecting = 0;
    unsigned least = 1, most = 1;  // that there may be
    bool mayAsk = true;  // one more; not where the last one was refused a moment ago
  };
  // Sums are since the copy began; the flags concern the time since the last look.
  struct Seen {
    TimePoint now;
    // Of the data that was read: what has reached the target, in how many pieces, and how long these took,
    // in microseconds times KiB: until the source answered, and until they were through.
    uint64_t deliveredBytes = 0, delivered = 0, readWaited = 0, heldWaited = 0;
    // Of all writes: bytes, and from request to answer, in microseconds times KiB.
    uint64_t writtenBytes = 0, writeWaited = 0;
    uint64_t quickestReadUs = UINT64_MAX, quickestWriteUs = UINT64_MAX;
    uint64_t meanReadBytes = 0;  // 0: not known yet
    bool workWaits = true;  // not all that is known to be copied is on its way
    uint64_t budgetBytes = 0;
    Connections sources, targets;
    // Something else than the plan held the flow up: no work, a rate limit, a flush, a trial of zeroes.
    bool disturbed = false;
    // Pieces waited because the target already had as many writes as the plan allows.
    bool writesHeld = false;
  };
  // Every tick. The plan from now on.
  const Plan& look(const Seen& seen);
  const Plan& plan() const { return plan_; }

 private:
  // In the order of what it costs; then what is given back.
  enum Means { size, depth, writes, targets, sources, lessDepth, lessWrites, lessTargets, lessSources, kinds };
  struct Turn {
    Clock::duration wait{};
    TimePoint next{};
  };

  void placeSource(const Seen& seen);
  void placeTarget(const Seen& seen);
  Plan larger(const Plan& plan) const;
  bool allOpen(const Seen& seen);
  void measured(double rate, const Seen& seen);
  bool changed(double rate, TimePoint now);
  void learnSpread(double rate);
  void judge(const Seen& seen);
  void tryNext(const Seen& seen);
  std::vector<Means> order() const;
  bool mayHelp(Means means) const;
  std::optional<Plan> enlarged(Means means, const Seen& seen) const;
  std::optional<Plan> reduced(Means means, const Seen& seen) const;
  void begin(Means means, const Plan& plan, const Seen& seen);
  void keep(const Seen& seen);
  void drop(const Seen& seen, unsigned factor);
  void use(const Plan& plan, const Seen& seen);
  void restart(const Seen& seen);
  void forgetFailures(TimePoint now);
  unsigned opensLeft(TimePoint now) const;
  double spread() const;

  Plan plan_;
  const Free free_;
  Plan before_;  // the try that is under way
  std::optional<Means> trying_;
  std::array<Turn, kinds> turns_;

  TimePoint startedAt_{};
  bool sourcePlaced_ = false, targetPlaced_ = false;  // how far away it is, by its first answers
  Seen mark_;  // where the window began
  TimePoint settledAt_{};
  TimePoint missingSince_{};
  unsigned expectedSources_ = 0, expectedTargets_ = 0;

  std::vector<double> base_, test_, off_;
  double lastRate_ = 0, variance_;
  double level_ = 0;  // before the first giving back
  double readShare_ = 1;
  std::vector<double> latencies_;  // means of the last windows, µs
  bool writesHeld_ = false, writesQueue_ = false;
  bool sourcesDouble_ = true;
  unsigned openedForNothing_ = 0, openedByTry_ = 0;
};

}  // namespace engine
