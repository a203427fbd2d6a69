// Ten hours of a copy in a second: what the engine decides about connections to one side, without the
// side. ten-hours START USEFUL GRANTED OPEN_MS LIMIT: connections at first, how many of them carry
// 100 MB/s each, how many the server grants, how long an open takes, and the rate limit in MB/s (0: none).
// Prints what became of it as JSON.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <deque>

#include "climb.h"
#include "side_health.h"

using namespace engine;

namespace {

constexpr milliseconds kTick{20};
constexpr milliseconds kTenHours{36'000'000};
constexpr double kMB = 1e6;
constexpr unsigned kMost = 8;

// The same flow each time: its mean over a second lies within 20 % of what it should be.
double noise(uint64_t second) {
  uint64_t x = second * 0x9e3779b97f4a7c15u + 1;
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9u;
  x ^= x >> 27;
  return 0.8 + 0.4 * (x % 1000) / 1000.0;
}

}  // namespace

int main(int, char** argument) {
  const unsigned start = std::atoi(argument[1]), useful = std::atoi(argument[2]);
  const unsigned granted = std::atoi(argument[3]);
  const milliseconds openTime{std::atoi(argument[4])};
  const double limit = std::atof(argument[5]) * kMB;

  Climb climb(Climb::When::always, [] { return 1.0; });
  SideHealth health;
  const TimePoint begin = TimePoint{} + std::chrono::hours{1};
  std::deque<TimePoint> opening;  // when they will be there
  unsigned wanted = start, ready = 1, opens = 0, asks = 0;
  double bytes = 0, atMinute = 0;
  for (TimePoint now = begin; now < begin + kTenHours; now += kTick) {
    if (now - begin == std::chrono::minutes{1}) atMinute = bytes;
    for (; !opening.empty() && opening.front() <= now; opening.pop_front()) {
      if (ready < granted) {
        if (++ready > 1) health.extraGranted();
      } else {
        health.extraRefused(now);
      }
    }
    if (ready > wanted) ready = wanted;
    const unsigned there = ready + opening.size();
    if (there < wanted) {
      const unsigned more = health.takeExtras(wanted - there, now);
      if (more > 0) asks++;
      opens += more;
      for (unsigned i = 0; i < more; i++) opening.push_back(now + openTime);
    }
    const uint64_t second = (now - begin) / milliseconds{1000};
    double rate = std::min(ready, useful) * 100 * kMB * noise(second);
    if (limit > 0) rate = std::min(rate, limit);
    bytes += rate * std::chrono::duration<double>(kTick).count();

    Climb::Seen seen{};
    seen.now = now;
    seen.bytes = seen.runBytes = bytes;
    seen.waited = 1;
    seen.count = wanted;
    seen.ready = ready;
    seen.connecting = opening.size();
    seen.least = 1;
    seen.most = seen.mostNear = kMost;
    seen.runRateMaximum = limit;
    if (const auto count = climb.step(seen)) wanted = *count;
  }
  const double seconds = std::chrono::duration<double>(kTenHours).count();
  std::printf("{\"opens\":%u,\"asks\":%u,\"connections\":%u,\"megabytesInFirstMinute\":%.0f,"
              "\"megabytesPerSecond\":%.0f}\n",
              opens, asks, ready, atMinute / kMB, bytes / kMB / seconds);
}
