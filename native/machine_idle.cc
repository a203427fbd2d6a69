#include "machine_idle.h"

#include <algorithm>
#include <cstdio>
#include <thread>
#include <utility>

namespace engine {

unsigned processors() { return std::max(std::thread::hardware_concurrency(), 1u); }

double MachineIdle::share() {
  unsigned long long user, nice, system, idle, wait, irq, softirq, stolen;
  FILE* file = std::fopen("/proc/stat", "re");
  if (file == nullptr) return 1;
  const int fields = std::fscanf(file, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &user, &nice,
                                 &system, &idle, &wait, &irq, &softirq, &stolen);
  std::fclose(file);
  if (fields != 8) return 1;
  const uint64_t idleNow = idle + wait;
  const uint64_t allNow = idleNow + user + nice + system + irq + softirq + stolen;
  const uint64_t idleSince = idleNow - std::exchange(idle_, idleNow);
  const uint64_t allSince = allNow - std::exchange(all_, allNow);
  return allSince == 0 ? 1 : static_cast<double>(idleSince) / allSince;
}

}  // namespace engine
