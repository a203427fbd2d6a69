// The tuner on traces made by hand: traces NAME plays one and says what was not as it should be; without a
// name it lists them.
#include <cstdio>
#include <cstring>
#include <functional>
#include <map>
#include <string>

#include "tuner.h"
#include "zero_proof.h"

using namespace engine;

namespace {

int failures = 0;

void check(bool good, const char* text, double found) {
  if (good) return;
  failures++;
  std::printf("%s: %g\n", text, found);
}

// A copy whose rate, in MB/s, follows from the plan without noise.
struct Copy {
  explicit Copy(std::function<double(const Plan&)> rate, const Plan& start = {}, Tuner::Free free = {true, true, true, 2 * kMiB})
      : rate(std::move(rate)), tuner(start, free) {
    seen.now = TimePoint{} + std::chrono::hours{1};
    seen.budgetBytes = 256 * kMiB;
    seen.quickestReadUs = 1000;
    seen.sources.most = seen.targets.most = 8;
  }

  // Each connection of the plan is there at once, but where `granted` or `opens` say otherwise.
  void tick() {
    const Plan plan = tuner.plan();
    if (plan.sources > seen.sources.ready && openedAt == TimePoint{}) openedAt = seen.now + opens;
    const unsigned sources = std::min(plan.sources, granted);
    const bool awaited = openedAt != TimePoint{} && seen.now < openedAt;
    seen.sources.connecting = awaited ? plan.sources - seen.sources.ready : 0;
    if (!awaited) {
      seen.sources.ready = sources;
      openedAt = TimePoint{};
    }
    seen.targets.ready = plan.targets;
    const double bytes = rate(plan) * 1e6 * 0.02;
    seen.now += milliseconds{20};
    whole += bytes;
    seen.deliveredBytes = whole;
    seen.delivered = whole / plan.requestBytes;
    seen.writtenBytes = whole;
    seen.writeWaited += bytes / kKiB * writeUs;
    seen.heldWaited += bytes / kKiB * 10000;
    seen.readWaited += bytes / kKiB * 10000 * readShare;
    const Plan next = tuner.look(seen);
    if (next != plan) changes.push_back({seconds(), next});
  }
  void play(double length) {
    for (const double end = seconds() + length; seconds() < end;) tick();
  }
  double seconds() const { return std::chrono::duration<double>(seen.now - TimePoint{}).count() - 3600; }
  const Plan& plan() const { return tuner.plan(); }
  // When this first held of a plan, and how often it began to.
  template <typename Is> double first(Is is) const {
    for (const auto& [at, plan] : changes)
      if (is(plan)) return at;
    return 1e9;
  }
  template <typename Is> std::vector<double> begins(Is is) const {
    std::vector<double> found;
    bool was = false;
    for (const auto& [at, plan] : changes) {
      if (is(plan) && !was) found.push_back(at);
      was = is(plan);
    }
    return found;
  }

  std::function<double(const Plan&)> rate;
  Tuner tuner;
  Tuner::Seen seen;
  double whole = 0, readShare = 0.9, writeUs = 0;
  unsigned granted = 64;
  milliseconds opens{0};
  TimePoint openedAt{};
  std::vector<std::pair<double, Plan>> changes;
};

bool large(const Plan& plan) { return plan.requestBytes == 2 * kMiB; }
bool deep(const Plan& plan) { return plan.depth > 16; }
bool four(const Plan& plan) { return plan.sources >= 4; }

const std::map<std::string, std::function<void()>> traces = {
    {"a larger request that carries more is kept", [] {
       Copy copy([](const Plan& plan) { return large(plan) ? 380 : 200; });
       copy.play(3);
       check(large(copy.plan()), "request size after 3 s", copy.plan().requestBytes);
       check(copy.first(large) < 1.5, "first tried after", copy.first(large));
     }},
    {"what brings nothing is taken back and tried again after ever longer waits", [] {
       Copy copy([](const Plan&) { return 200; });
       copy.play(120);
       const std::vector<double> tries = copy.begins(large);
       check(tries.size() >= 3 && tries.size() <= 5, "tries", tries.size());
       for (size_t i = 1; i < tries.size(); i++)
         check(tries[i] - tries[i - 1] >= 10 * (1 << (i - 1)), "from one try to the next", tries[i] - tries[i - 1]);
     }},
    {"of a source that is waited for, the cheap means come before connections", [] {
       Copy copy([](const Plan& plan) { return 100 * std::min(plan.sources, 4u); });
       copy.play(20);
       check(copy.plan().sources >= 4, "source connections", copy.plan().sources);
       auto two = [](const Plan& plan) { return plan.sources > 1; };
       check(copy.first(large) < copy.first(deep) && copy.first(deep) < copy.first(two), "sources first at", copy.first(two));
     }},
    {"where a target is waited for, it gets more writes, then more connections", [] {
       Copy copy([](const Plan& plan) { return plan.targets > 1 ? 400 : 200; });
       copy.readShare = 0.2;
       copy.seen.writesHeld = true;
       copy.play(10);
       auto writes = [](const Plan& plan) { return plan.writes > Plan{}.writes; };
       auto targets = [](const Plan& plan) { return plan.targets > 1; };
       check(copy.first(writes) < copy.first(targets), "writes first at", copy.first(writes));
       check(copy.first(targets) < copy.first(large), "targets first at", copy.first(targets));
       check(targets(copy.plan()), "target connections", copy.plan().targets);
     }},
    {"where writes already wait in the target, no more of them are sent before all else was tried", [] {
       Copy copy([](const Plan&) { return 200; });
       copy.readShare = 0.2;
       copy.seen.writesHeld = true;
       copy.seen.quickestWriteUs = 500;
       copy.writeUs = 5000;
       copy.play(60);
       auto writes = [](const Plan& plan) { return plan.writes > Plan{}.writes; };
       auto sources = [](const Plan& plan) { return plan.sources > 1; };
       check(copy.first(large) < copy.first(sources) && copy.first(sources) < copy.first(writes), "writes first at", copy.first(writes));
     }},
    {"more writes are tried only where writes are held back", [] {
       Copy copy([](const Plan&) { return 200; });
       copy.readShare = 0.2;
       copy.play(60);
       check(copy.first([](const Plan& plan) { return plan.writes > Plan{}.writes; }) == 1e9, "writes", 1);
     }},
    {"a target for which hardly anything waits is left alone until the source has all its connections", [] {
       Copy copy([](const Plan&) { return 200; });
       copy.readShare = 0.95;
       copy.seen.writesHeld = true;
       copy.play(60);
       auto targetAlone = [](const Plan& plan) { return plan.sources == 1 && (plan.targets > 1 || plan.writes > Plan{}.writes); };
       check(copy.first(targetAlone) == 1e9, "more for the target after", copy.first(targetAlone));
       const double sources = copy.first([](const Plan& plan) { return plan.sources > 1; });
       check(sources < 5, "sources after", sources);
     }},
    {"a source that is far away begins with four connections, a near one does not", [] {
       Copy far([](const Plan&) { return 200; }), near([](const Plan&) { return 200; });
       far.seen.quickestReadUs = 5000;
       far.play(0.05);
       near.play(0.2);
       check(far.plan().sources == 4, "from afar", far.plan().sources);
       check(near.plan().sources == 1, "from nearby", near.plan().sources);
     }},
    {"a source that is far away gets all connections at once where extents are small", [] {
       Copy small([](const Plan&) { return 200; }), large([](const Plan&) { return 200; }), near([](const Plan&) { return 200; });
       small.seen.quickestReadUs = large.seen.quickestReadUs = 5000;
       small.seen.meanReadBytes = near.seen.meanReadBytes = 64 * kKiB;
       large.seen.meanReadBytes = 512 * kKiB;
       for (Copy* copy : {&small, &large, &near}) copy->play(0.05);
       check(small.plan().sources == 8, "small", small.plan().sources);
       check(large.plan().sources == 4, "large", large.plan().sources);
       check(near.plan().sources == 1, "from nearby", near.plan().sources);
     }},
    {"a target that is far away gets four connections at once, one that is only slow does not", [] {
       Copy far([](const Plan&) { return 200; }), slow([](const Plan&) { return 200; });
       far.seen.quickestWriteUs = 50000;
       slow.seen.quickestWriteUs = 2000;
       far.play(0.05);
       slow.play(0.2);
       check(far.plan().targets == 4, "far away", far.plan().targets);
       check(slow.plan().targets == 1, "slow", slow.plan().targets);
     }},
    {"close by a copy begins with small pieces and few writes, else with the usual ones", [] {
       Plan small;
       small.requestBytes = 512 * kKiB;
       small.depth = 32;
       small.writes = 4;
       auto begun = [&](uint64_t readUs, uint64_t writeUs) {
         Copy copy([](const Plan&) { return 200; }, small);
         copy.seen.quickestReadUs = readUs;
         copy.seen.quickestWriteUs = writeUs;
         copy.play(0.2);
         return copy.plan();
       };
       check(begun(200, 150) == small, "both close by", begun(200, 150).requestBytes);
       check(begun(200, 1500) == Plan{}, "target behind a line", begun(200, 1500).requestBytes);
       Plan late;
       late.writes = small.writes;
       check(begun(1500, 150) == small, "source at work", begun(1500, 150).requestBytes);
       late.sources = 4;
       late.depth = 4;
       check(begun(5000, 150) == late, "source far away", begun(5000, 150).requestBytes);
     }},
    {"one quick answer at first does not count against more later", [] {
       Copy copy([](const Plan& plan) { return 100 * std::min(plan.sources, 6u); });
       copy.play(0.3);
       copy.seen.quickestReadUs = 100;
       copy.play(30);
       check(copy.plan().sources >= 6, "source connections", copy.plan().sources);
     }},
    {"a source that refuses more is left with what works, and asked ever more rarely", [] {
       Copy copy([](const Plan&) { return 200; });
       copy.granted = 1;
       copy.play(3600);
       const std::vector<double> asks = copy.begins([](const Plan& plan) { return plan.sources > 1; });
       check(asks.size() >= 2 && asks.size() <= 4, "asks in an hour", asks.size());
       check(asks.size() < 2 || asks[1] - asks[0] > 120, "second ask after", asks[1] - asks[0]);
       check(copy.plan().sources == 1, "source connections", copy.plan().sources);
     }},
    {"a connection of the first plan that is refused is not awaited", [] {
       Plan two;
       two.sources = 2;
       Copy copy([](const Plan& plan) { return large(plan) ? 380 : 200; }, two);
       copy.granted = 1;
       copy.seen.sources.mayAsk = false;
       copy.play(2);
       check(large(copy.plan()), "request size after 2 s", copy.plan().requestBytes);
       check(copy.plan().sources == 1, "source connections", copy.plan().sources);
     }},
    {"connections that take long to open are judged once they are there", [] {
       Copy* self = nullptr;
       Copy copy([&self](const Plan&) { return 100 * std::min(std::max(self->seen.sources.ready, 1u), 4u); });
       self = &copy;
       copy.opens = milliseconds{8000};
       copy.play(60);
       check(copy.seen.sources.ready >= 4, "source connections", copy.seen.sources.ready);
     }},
    {"depth that is not missed is given back", [] {
       Copy copy([](const Plan& plan) { return plan.depth >= 8 ? 200 : 100; });
       copy.play(200);
       check(copy.plan().depth == 8, "depth", copy.plan().depth);
     }},
    {"connections that are not missed are closed, after a trial in which they stay open", [] {
       Copy copy([](const Plan& plan) { return 100 * std::min(plan.sources, 3u); }, {kMiB, 8, 4, 6, 4});
       copy.play(1500);
       check(copy.plan().sources == 3, "source connections", copy.plan().sources);
       check(copy.plan().targets == 1, "target connections", copy.plan().targets);
       const auto [at, trial] = *std::find_if(copy.changes.begin(), copy.changes.end(), [](const auto& change) { return change.second.sources < 6; });
       check(trial.sources + trial.spare == 6, "open while it is tried", trial.sources + trial.spare);
       check(copy.plan().spare == 0, "spare", copy.plan().spare);
     }},
    {"time in which something else held the flow up teaches nothing", [] {
       Copy copy([](const Plan& plan) { return 100 * plan.sources; });
       copy.seen.disturbed = true;
       copy.play(60);
       check(copy.changes.empty(), "changes", copy.changes.size());
     }},
    {"another flow opens again what failed before", [] {
       bool later = false;
       Copy copy([&later](const Plan& plan) { return later ? 25 * std::min(plan.sources, 8u) : 200; });
       copy.play(400);
       later = true;
       const size_t before = copy.changes.size();
       copy.play(30);
       check(copy.changes.size() > before && four(copy.plan()), "source connections", copy.plan().sources);
     }},
    {"what is fixed stays", [] {
       Copy copy([](const Plan& plan) { return double(plan.bytes(UINT64_MAX)) / kMiB * plan.targets; }, {kMiB, 16, 4, 3, 2},
                 {false, false, false, 2 * kMiB});
       copy.seen.quickestReadUs = 50000;
       copy.play(100);
       for (const auto& [at, plan] : copy.changes)
         check(plan.requestBytes == kMiB && plan.sources == 3 && plan.targets == 2, "changed at", at);
     }},
    {"buffers grow to the budget where they carry more, and not beyond", [] {
       Copy copy([](const Plan& plan) { return double(plan.bytes(64 * kMiB)) / kMiB * 10; });
       copy.seen.budgetBytes = 64 * kMiB;
       copy.play(20);
       check(copy.plan().bytes(copy.seen.budgetBytes) == 64 * kMiB, "bytes", copy.plan().bytes(copy.seen.budgetBytes));
       check(copy.plan().bytes(UINT64_MAX) <= 128 * kMiB, "planned", copy.plan().bytes(UINT64_MAX));
     }},
    {"zeroes are tried both ways nearby, and left alone over a line on which that takes too long", [] {
       for (const int ms : {1, 60}) {
         ZeroProof proof;
         TimePoint now = Clock::now();
         for (int trial = 0; trial < 2; trial++, now += std::chrono::hours{1}) {
           check(proof.trying(now, ZeroProof::Begin::yes), "begins", ms);
           for (int i = 0; i < 12; i++) {
             proof.sent(ZeroProof::Way::read, 1);
             proof.answered(ZeroProof::Way::read, 1, Clock::now() - milliseconds{ms});
           }
           check(proof.trying(now, ZeroProof::Begin::no) == (ms < 10), "goes on", ms);
           proof.abandon(now);
         }
         check(proof.trying(now, ZeroProof::Begin::yes) == (ms < 10), "a third time", ms);
       }
     }},
};

}  // namespace

int main(int count, char** argument) {
  if (count < 2) {
    for (const auto& [name, play] : traces) std::printf("%s\n", name.c_str());
    return 0;
  }
  traces.at(argument[1])();
  return failures == 0 ? 0 : 1;
}
