// How much of this machine's processor time is left over.
#pragma once

#include <cstdint>

namespace engine {

// How many there are, at least one.
unsigned processors();

// Where less than this share is idle, the processors are the limit: more connections or writes only cost.
constexpr double kIdleWanted = 0.12;

class MachineIdle {
 public:
  MachineIdle() { share(); }
  // The share of all cores' time since the last call that was idle, 0 to 1; 1 where that cannot be
  // told (/proc/stat, see proc(5), counts in ticks of 10 ms).
  double share();

 private:
  uint64_t idle_ = 0;
  uint64_t all_ = 0;
};

}  // namespace engine
