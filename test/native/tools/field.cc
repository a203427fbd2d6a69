// The tuner against sources and targets of the field, played in a fluid model: what a plan carries follows from
// latency, requests at work, caps and buffers. field SECONDS CORES BUDGET_MIB [NAME]: plays the cells whose
// name contains NAME and prints one JSON object a line.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "side_health.h"
#include "tuner.h"

using namespace engine;

namespace {

constexpr milliseconds kTick{20};
constexpr double kTickSeconds = 0.02, kMB = 1e6, kMachine = 2500 * kMB, kNone = 1e15;
constexpr double kServiceBytes = 1e9, kTargetSeconds = 0.0005;
constexpr unsigned kMost = 8;

struct World {
  unsigned atWork = 16;  // requests of each connection that the source works on at once
  double latency = 0.01, capEach = kNone, capAll = kNone;
  double open = 0, rtt = 0, targetAll = kNone, limit = kNone;
  unsigned granted = 64;
};

struct Cell {
  std::string name;
  World world;
  double changesAt = 1e9;
  World after{};
  double cacheBytes = 0;  // of the target, which then takes 100 MB/s
  double quickUntil = 0;  // the source answers from a cache at first
};

struct Flow {
  double rate, readSeconds, writeSeconds;
  bool writesHeld;
};

Flow flowOf(const Plan& plan, unsigned sources, unsigned targets, const World& world, double budget) {
  const double bytes = plan.bytes(budget), size = plan.requestBytes;
  const double read = world.latency + size / kServiceBytes, write = world.rtt + kTargetSeconds;
  const double perSource = std::min(world.capEach, std::min<double>(world.atWork, 2.0 * plan.depth) * size / read);
  const double fromSource = std::min(world.capAll, sources * perSource);
  const double toTarget = std::min(targets * plan.writes * size / write, world.targetAll);
  const double buffers = bytes / (read + write);
  const double rate = std::min({fromSource, toTarget, buffers, kMachine, world.limit});
  // What is not on its way queues where the bottleneck is.
  double reading = rate * read;
  if (fromSource <= std::min(toTarget, buffers)) reading = std::max(reading, bytes - rate * write);
  const double writing = std::min<double>(targets * plan.writes * size, bytes - reading);
  return {rate, reading / rate, std::max(writing / rate, write),
          toTarget < std::min(fromSource, buffers) && targets * plan.writes * size < bytes - reading};
}

double bestOf(const World& world, double budget) {
  double best = 0;
  Plan plan;
  for (plan.requestBytes = kMiB; plan.requestBytes <= 2 * kMiB; plan.requestBytes *= 2)
    for (plan.depth = 2; plan.depth <= 512; plan.depth *= 2)
      for (plan.writes = 4; plan.writes <= 64; plan.writes *= 4)
        for (plan.sources = 1; plan.sources <= std::min(kMost, world.granted); plan.sources++)
          for (plan.targets = 1; plan.targets <= kMost; plan.targets++)
            best = std::max(best, flowOf(plan, plan.sources, plan.targets, world, budget).rate);
  return best;
}

// A repeatable number in 0..1.
double random(uint64_t x) {
  x = (x + 1) * 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return ((x ^ (x >> 31)) >> 11) * 0x1p-53;
}

struct Side {
  unsigned open = 1;
  std::vector<double> opening;
};

class Play {
 public:
  Play(const Cell& cell, double seconds, unsigned cores, double budget)
      : cell_(cell), seconds_(seconds), cores_(cores), budget_(budget) {}
  void run();

 private:
  void connections(double now, const Plan& plan);

  const Cell& cell_;
  const double seconds_;
  const unsigned cores_;
  const double budget_;
  SideHealth health_;
  Side sources_, targets_;
  unsigned opens_ = 0, asks_ = 0;
};

void Play::connections(double now, const Plan& plan) {
  const TimePoint at = TimePoint{} + std::chrono::hours{1} +
                       std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(now));
  for (auto& [side, wanted, isSource] :
       {std::tuple<Side&, unsigned, bool>{sources_, plan.sources, true}, {targets_, plan.targets, false}}) {
    while (!side.opening.empty() && side.opening.front() <= now) {
      side.opening.erase(side.opening.begin());
      if (!isSource || side.open < cell_.world.granted) {
        side.open++;
        if (isSource) health_.extraGranted();
      } else {
        health_.extraRefused(at);
      }
    }
    if (isSource) side.open = std::min(side.open, wanted + plan.spare);  // target connections are parked
    const unsigned there = side.open + side.opening.size();
    if (there >= wanted) continue;
    const unsigned more = isSource ? health_.takeExtras(wanted - there, at) : wanted - there;
    if (isSource && more > 0) asks_++;
    opens_ += more;
    for (unsigned i = 0; i < more; i++) side.opening.push_back(now + cell_.world.open);
  }
}

void Play::run() {
  Plan start;
  start.sources = start.targets = std::min(cores_, 4u);
  start.requestBytes = 512 * kKiB;
  start.depth = 64 / start.sources;
  start.writes = 4;
  Tuner tuner(start, {true, true, true, 2 * kMiB});
  double bytes = 0, pieces = 0, readWaited = 0, heldWaited = 0, writeWaited = 0, rate = 0, late = 0, bestLate = 0;
  double smooth = 0, t90 = -1, best = 0, opening = 0, good = 0;
  World world = cell_.world;
  best = bestOf(world, budget_);
  bool changed = false;
  for (double now = 0; now < seconds_; now += kTickSeconds) {
    if (!changed && now >= cell_.changesAt) {
      world = cell_.after;
      best = bestOf(world, budget_);
      changed = true;
      t90 = -1;
      opening = good = 0;
    }
    World here = world;
    if (now < cell_.quickUntil) here.latency = 0.0005;
    double bestHere = best;
    if (cell_.cacheBytes > 0 && bytes > cell_.cacheBytes) bestHere = std::min(best, here.targetAll = 100 * kMB);
    connections(now, tuner.plan());
    const Plan& plan = tuner.plan();
    const Flow flow = flowOf(plan, std::min(sources_.open, plan.sources), std::min(targets_.open, plan.targets),
                             here, budget_);
    const double noise = (0.8 + 0.4 * random(now * 4)) * (1 + 0.05 * std::sin(now / 17));
    const double turn = plan.bytes(budget_) / flow.rate;
    rate += (flow.rate - rate) * std::min(1.0, kTickSeconds / std::max(turn, kTickSeconds));
    const double delivered = rate * noise * kTickSeconds;
    bytes += delivered;
    pieces += delivered / plan.requestBytes;
    readWaited += delivered / kKiB * flow.readSeconds * 1e6;
    writeWaited += delivered / kKiB * flow.writeSeconds * 1e6;
    heldWaited += delivered / kKiB * turn * 1e6;
    smooth = flow.rate / bestHere;
    const bool opens = !sources_.opening.empty() || !targets_.opening.empty();
    if (opens) opening += kTickSeconds;
    const double begun = changed ? cell_.changesAt : 0;
    // The first second that is wholly at 0.9 of the best.
    if (smooth < 0.9) good = 0;
    else if ((good += kTickSeconds) >= 1 && t90 < 0) t90 = std::max(now - begun - opening - 1, 0.0);
    if (now >= seconds_ / 2) late += rate, bestLate += bestHere;

    Tuner::Seen seen;
    seen.now = TimePoint{} + std::chrono::hours{1} +
               std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(now));
    seen.deliveredBytes = bytes;
    seen.delivered = pieces;
    seen.readWaited = readWaited;
    seen.heldWaited = heldWaited;
    seen.writtenBytes = bytes;
    seen.writeWaited = writeWaited;
    seen.quickestWriteUs = (here.rtt + kTargetSeconds) * 1e6;
    seen.quickestReadUs = here.latency * 1e6;
    seen.budgetBytes = budget_;
    seen.sources = {sources_.open, unsigned(sources_.opening.size()), start.sources, kMost, health_.nextExtra() <= seen.now};
    seen.targets = {targets_.open, unsigned(targets_.opening.size()), start.targets, kMost, true};
    seen.disturbed = flow.rate >= world.limit;
    seen.writesHeld = flow.writesHeld;
    tuner.look(seen);
  }
  const Plan& plan = tuner.plan();
  std::printf("{\"name\":\"%s\",\"ofBest\":%.3f,\"settledAfter\":%.2f,\"opens\":%u,\"asks\":%u,\"best\":%.0f,"
              "\"requestKiB\":%lu,\"depth\":%u,\"writes\":%u,\"sources\":%u,\"targets\":%u}\n",
              cell_.name.c_str(), late / bestLate, t90, opens_ - (plan.sources - 1) - (plan.targets - 1), asks_,
              best / kMB, plan.requestBytes / kKiB, plan.depth, plan.writes, plan.sources, plan.targets);
}

std::vector<Cell> cells() {
  std::vector<Cell> all;
  for (unsigned atWork : {1, 2, 4, 16})
    for (double ms : {1.0, 10.0, 40.0})
      for (const char* caps : {"none", "each", "all", "both"})
        for (double open : {0.0, 1.0, 4.0})
          for (double rtt : {0.0, 20.0, 100.0}) {
            char name[100];
            std::snprintf(name, sizeof name, "steady/%u/%.0fms/%s/open%.0f/rtt%.0f", atWork, ms, caps, open, rtt);
            World world{atWork, ms / 1e3};
            if (*caps == 'e' || *caps == 'b') world.capEach = 100 * kMB;
            if (*caps == 'a' || *caps == 'b') world.capAll = 200 * kMB;
            world.open = open;
            world.rtt = rtt / 1e3;
            all.push_back({name, world});
          }
  const World usual{4, 0.005, 100 * kMB, 400 * kMB};
  auto change = [&](const char* name, auto make) {
    Cell cell{std::string("change/") + name, usual, 60};
    cell.after = usual;
    make(cell);
    all.push_back(cell);
  };
  change("halves", [](Cell& cell) { cell.after.capAll = 200 * kMB; });
  change("each-halves", [](Cell& cell) { cell.after.capEach = 50 * kMB; });
  change("doubles", [](Cell& cell) { cell.world.capAll = 200 * kMB, cell.world.capEach = 50 * kMB; });
  change("fewer-at-work", [](Cell& cell) {
    cell.world = cell.after = {16, 0.01};
    cell.after.atWork = 2;
  });
  change("latency", [](Cell& cell) {
    cell.world = cell.after = {4, 0.005};
    cell.after.latency = 0.04;
  });
  for (double open : {0.0, 4.0}) {
    Cell cell{"refused/" + std::to_string(int(open)), {4, 0.01, 100 * kMB}};
    cell.world.granted = 2;
    cell.world.open = open;
    all.push_back(cell);
  }
  for (double size : {1e9, 4e9, 2e10}) {
    Cell cell{"cache/" + std::to_string(int(size / 1e9)), {4, 0.005}};
    cell.cacheBytes = size;
    all.push_back(cell);
  }
  Cell quick{"quick-first-answer", {4, 0.01}};
  quick.quickUntil = 0.2;
  all.push_back(quick);
  Cell limited{"limit", {4, 0.01, 100 * kMB}};
  limited.world.limit = 180 * kMB;
  all.push_back(limited);
  return all;
}

}  // namespace

int main(int count, char** argument) {
  for (const Cell& cell : cells())
    if (count < 5 || cell.name.find(argument[4]) != std::string::npos)
      Play(cell, std::atof(argument[1]), std::atoi(argument[2]), std::atof(argument[3]) * kMiB).run();
}
