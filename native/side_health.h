// How well one side is doing: rounds of trouble since the last success, and when to try again; and
// whether it grants connections besides those that serve.
#pragma once

#include <mutex>
#include <optional>
#include <string>

#include "types.h"

namespace engine {

struct RetryPolicy {
  unsigned attempts = 10;
  milliseconds maxElapsed{300000};

  // 0.1 s, 0.2 s, 0.4 s … 10 s
  static milliseconds backoff(unsigned attempt);
};

class SideHealth {
 public:
  // Counts one more round of trouble and sets when the next try may be. Several connections that
  // break at the same moment count once (then the answer is empty).
  // `exhausted`: the policy allows no further try.
  struct Trouble {
    unsigned attempt;
    bool exhausted;
  };
  // `excused`: so much time has passed so far that does not count as trouble.
  std::optional<Trouble> trouble(const RetryPolicy& policy, TimePoint now,
                                 Clock::duration excused = {});
  void success();
  bool healthy() const;
  // From when on connecting is allowed.
  TimePoint nextAttempt() const;

  // Of connections besides those that are there, how many of `wanted` may be begun now: all, until one is
  // refused; from then on a single one, and ever more rarely, until one is granted.
  unsigned takeExtras(unsigned wanted, TimePoint now);
  void extraRefused(TimePoint now);
  void extraGranted();
  // From when on takeExtras() allows one.
  TimePoint nextExtra() const;

 private:
  mutable std::mutex mutex_;
  unsigned failures_ = 0;
  TimePoint firstFailure_{};
  Clock::duration excusedAtFirst_{};
  TimePoint nextAttempt_{};
  unsigned refusals_ = 0;
  TimePoint nextExtra_{};
};

}  // namespace engine
