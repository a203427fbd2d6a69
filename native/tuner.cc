#include "tuner.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

namespace engine {

namespace {

using std::chrono::minutes;
using std::chrono::seconds;

// A window: long enough to even out lumps, or so many answers that there are none; slow copies take longer.
constexpr milliseconds kWindow{250}, kQuickWindow{100}, kLongestWindow{4000};
constexpr uint64_t kAnswers = 8, kManyAnswers = 64;
// What is remembered of windows, and the least of them by which a plan is known.
constexpr size_t kRemembered = 40, kBase = 2, kTest = 2, kTestLong = 4;
// Of a source nearby: so long buffers, caches and servers are cold, and what is tried after it would look better for
// that. And a copy of which little is left then ends sooner without tries.
constexpr seconds kCold{1};
// An enlargement must bring so much, a give-back may cost so much.
constexpr double kWorthwhile = 1.08, kMissed = 0.96;
// How much the windows of one plan differ: at first, and what is believed.
constexpr double kSpreadFirst = 0.1, kSpreadLeast = 0.03, kSpreadMost = 0.5, kSpreadMemory = 10;
// Another flow: so many windows in a row are so far off.
constexpr size_t kOff = 4;
constexpr double kFarOff = 0.3;
// From one try to the next: first, and at most. Dear means wait longer; through VDDK to open a connection is
// a login.
constexpr Clock::duration kWaits[][2] = {{seconds{10}, minutes{10}}, {seconds{10}, minutes{10}},
                                         {seconds{10}, minutes{10}}, {seconds{15}, minutes{30}},
                                         {seconds{30}, minutes{120}}, {seconds{20}, minutes{10}},
                                         {seconds{30}, minutes{10}}, {seconds{30}, minutes{30}}, {minutes{2}, minutes{120}}};
constexpr unsigned kWaitAfterFailure = 2, kWaitAfterRefusal = 4;
// Source connections that may be opened for nothing: at first, and one more each so often. Those to the
// target stay open, so these are few in any case.
constexpr unsigned kOpensAtFirst = 12;
constexpr minutes kOneMoreOpenEach{60};
// For connections to be begun. One that is being made is awaited.
constexpr milliseconds kPatience{3000};
// The quickest of the first answers says how far away a side is; the others waited for each other. Close by, few and
// small pieces stay in the processor's cache between one program and the next. A target that takes this long for a
// piece, as over 3 Gbit/s, is behind a network or a tunnel, and likes larger ones and more of them at once. A side that is
// far away does too, and what is granted each connection there shows itself late, because caps let a first burst pass:
// a few are opened at once, and as many as there may be where extents are so small that a connection, on which a server
// works on so many requests, not bytes, carries little. Later answers say nothing more: of 48 copies from nearby one would
// have been judged otherwise.
constexpr uint64_t kLateWriteUs = 1500;
constexpr uint64_t kFarUs = 4000;
constexpr unsigned kFarConnections = 4;
constexpr uint64_t kSmall = 4;  // times smaller than requests
constexpr double kQueueing = 2;
constexpr unsigned kDepthLeast = 2, kWritesLeast = 4, kWritesMost = 64, kWritesStep = 4;

double mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / std::max<size_t>(values.size(), 1);
}

void remember(std::vector<double>& values, double value) {
  if (values.size() == kRemembered) values.erase(values.begin());
  values.push_back(value);
}

double secondsOf(Clock::duration time) { return std::chrono::duration<double>(time).count(); }

}  // namespace

Tuner::Tuner(const Plan& start, const Free& free)
    : plan_(start), free_(free), before_(start), variance_(kSpreadFirst * kSpreadFirst) {
  forgetFailures({});
  expectedSources_ = start.sources;
  expectedTargets_ = start.targets;
}

// What is not missed shows only after a while.
void Tuner::forgetFailures(TimePoint now) {
  for (size_t i = 0; i < kinds; i++)
    turns_[i] = {kWaits[i][0], i < lessDepth ? TimePoint{} : now + kWaits[i][0]};
  sourcesDouble_ = true;
}

const Plan& Tuner::look(const Seen& seen) {
  if (startedAt_ == TimePoint{}) {
    startedAt_ = missingSince_ = seen.now;
    settledAt_ = seen.now + kQuickWindow;
    forgetFailures(seen.now);
    restart(seen);
  }
  writesHeld_ |= seen.writesHeld;
  if (!sourcePlaced_) placeSource(seen);
  if (!targetPlaced_) placeTarget(seen);
  if (!sourcePlaced_ || !allOpen(seen) || seen.disturbed || seen.now < settledAt_) {
    restart(seen);
    return plan_;
  }
  const Clock::duration took = seen.now - mark_.now;
  const uint64_t pieces = seen.delivered - mark_.delivered;
  const bool full = (took >= kWindow && pieces >= kAnswers) ||
                    (took >= kQuickWindow && pieces >= kManyAnswers) ||
                    (took >= kLongestWindow && pieces > 0);
  if (!full) return plan_;
  const uint64_t bytes = seen.deliveredBytes - mark_.deliveredBytes;
  const double read = seen.readWaited - mark_.readWaited, held = seen.heldWaited - mark_.heldWaited;
  readShare_ = read / std::max(held, 1.0);
  remember(latencies_, read / std::max<double>(bytes / kKiB, 1));
  const double writtenKiB = (seen.writtenBytes - mark_.writtenBytes) / double(kKiB);
  writesQueue_ = seen.writeWaited - mark_.writeWaited > kQueueing * writtenKiB * seen.quickestWriteUs;
  restart(seen);
  measured(bytes / secondsOf(took), seen);
  writesHeld_ = false;
  return plan_;
}

// A new window begins.
void Tuner::restart(const Seen& seen) { mark_ = seen; }

void Tuner::placeSource(const Seen& seen) {
  if (seen.quickestReadUs == UINT64_MAX) return;
  const bool far = seen.quickestReadUs >= kFarUs;
  // What is all on its way already needs no further login.
  sourcePlaced_ = !far || seen.workWaits;
  if (!far || !sourcePlaced_) return;
  Plan plan = larger(plan_);
  if (free_.sources && seen.sources.mayAsk) {
    const bool small = seen.meanReadBytes > 0 && seen.meanReadBytes * kSmall <= plan_.requestBytes;
    plan.sources = std::max(plan_.sources, small ? seen.sources.most : std::min(kFarConnections, seen.sources.most));
    plan.depth = std::max(plan.depth * plan_.sources / plan.sources, kDepthLeast);
  }
  if (plan != plan_) use(plan, seen);
}

void Tuner::placeTarget(const Seen& seen) {
  targetPlaced_ = seen.quickestWriteUs != UINT64_MAX;
  if (!targetPlaced_ || seen.quickestWriteUs < kLateWriteUs) return;
  Plan plan = larger(plan_);
  plan.writes = std::max(plan_.writes, Plan{}.writes);
  if (free_.targets && seen.quickestWriteUs >= kFarUs)
    plan.targets = std::max(plan_.targets, std::min(kFarConnections, seen.targets.most));
  if (plan != plan_) use(plan, seen);
}

// As many bytes at once in pieces of the usual size.
Plan Tuner::larger(const Plan& plan) const {
  Plan larger = plan;
  const uint64_t usual = std::min(Plan{}.requestBytes, free_.requestBytesMost);
  if (!free_.size || plan.requestBytes >= usual) return larger;
  larger.requestBytes = usual;
  larger.depth = std::max<uint64_t>(plan.depth * plan.requestBytes / usual, kDepthLeast);
  return larger;
}

// All connections of the plan are there, or will not be.
bool Tuner::allOpen(const Seen& seen) {
  const bool missing =
      seen.sources.ready < expectedSources_ || seen.targets.ready < expectedTargets_;
  if (!missing) missingSince_ = seen.now;
  if (!missing) return true;
  const bool begun = seen.sources.connecting > 0 || seen.targets.connecting > 0;
  const bool refused = !seen.sources.mayAsk || !seen.targets.mayAsk;
  const bool awaited = begun || (!refused && seen.now - missingSince_ < kPatience);
  if (awaited || seen.sources.ready == 0 || seen.targets.ready == 0) return false;
  // Refused: what works is kept.
  const bool more = seen.sources.ready > before_.sources || seen.targets.ready > before_.targets;
  if (trying_ && !more) {
    drop(seen, kWaitAfterRefusal);
  } else {
    turns_[sources].wait = std::min(turns_[sources].wait * kWaitAfterRefusal, kWaits[sources][1]);
    turns_[sources].next = seen.now + turns_[sources].wait;
  }
  plan_.sources = expectedSources_ = std::min(expectedSources_, seen.sources.ready);
  plan_.targets = expectedTargets_ = std::min(expectedTargets_, seen.targets.ready);
  return true;
}

double Tuner::spread() const {
  return std::clamp(std::sqrt(variance_), kSpreadLeast, kSpreadMost);
}

void Tuner::measured(double rate, const Seen& seen) {
  if (trying_) {
    learnSpread(rate);
    test_.push_back(rate);
    return judge(seen);
  }
  if (changed(rate, seen.now)) return;
  const bool cold = seen.quickestReadUs < kFarUs && seen.now - startedAt_ < kCold;
  if (!cold && base_.size() >= kBase) tryNext(seen);
}

// From one window to the next, so that a slow drift is no spread.
void Tuner::learnSpread(double rate) {
  const double last = std::exchange(lastRate_, rate);
  if (last == 0) return;
  const double step = 2 * (rate - last) / (rate + last);
  variance_ += (step * step / 2 - variance_) / kSpreadMemory;
}

// Whether the flow is another one, whatever the reason: then all is open again.
bool Tuner::changed(double rate, TimePoint now) {
  const double usual = mean(base_);
  const double limit = std::max(kFarOff, 2 * spread());
  if (base_.size() < kBase || std::abs(rate / usual - 1) <= limit) {
    off_.clear();
    learnSpread(rate);
    remember(base_, rate);
    return false;
  }
  if (!off_.empty() && (off_.back() > usual) != (rate > usual)) off_.clear();
  off_.push_back(rate);
  lastRate_ = 0;
  if (off_.size() < kOff) return true;
  base_ = std::move(off_);
  off_.clear();
  level_ = 0;
  forgetFailures(now);
  return false;
}

// As soon as the windows allow it.
void Tuner::judge(const Seen& seen) {
  const bool back = *trying_ >= lessDepth;
  const double k = test_.size(), n = base_.size();
  const double gain = mean(test_) / (back ? level_ : mean(base_));
  const double error = 2 * spread() * std::sqrt(1 / k + 1 / n);
  // To give back is never urgent.
  const double most = kRemembered;
  const double enough = back ? most : std::clamp(std::pow(2 * spread() / (kWorthwhile - 1), 2), double(kTestLong), most);
  if (k < kTest) return;
  if (back) {
    if (gain + error < kMissed || (k >= enough && gain < kMissed)) drop(seen, kWaitAfterFailure);
    else if (k >= enough) keep(seen);
    return;
  }
  if ((gain > kWorthwhile && gain - error > 1) || (k >= enough && gain > kWorthwhile)) keep(seen);
  else if (gain + error < kWorthwhile || k >= enough) drop(seen, kWaitAfterFailure);
}

void Tuner::keep(const Seen& seen) {
  const Means means = *trying_;
  trying_.reset();
  const bool back = means >= lessDepth;
  turns_[means] = {kWaits[means][0], back ? seen.now + kWaits[means][0] : TimePoint{}};
  // What is closed was opened for nothing.
  openedForNothing_ += std::exchange(plan_.spare, 0);
  openedByTry_ = 0;
  base_ = std::move(test_);
  test_.clear();
  if (!back) level_ = 0;
  tryNext(seen);
}

void Tuner::drop(const Seen& seen, unsigned factor) {
  const Means means = *trying_;
  trying_.reset();
  Turn& turn = turns_[means];
  turn.next = seen.now + turn.wait;
  turn.wait = std::min(turn.wait * factor, kWaits[means][1]);
  if (factor == kWaitAfterRefusal) turn.next = seen.now + turn.wait;
  if (means == sources) sourcesDouble_ = false;
  openedForNothing_ += std::exchange(openedByTry_, 0);
  test_.clear();
  use(before_, seen);
}

void Tuner::use(const Plan& plan, const Seen& seen) {
  plan_ = plan;
  expectedSources_ = plan.sources;
  expectedTargets_ = plan.targets;
  missingSince_ = seen.now;
  lastRate_ = 0;
  off_.clear();
  // What is under way was begun by the old plan: one turn of all buffers.
  const double turn = base_.empty() ? secondsOf(kQuickWindow)
                                    : std::min(plan.bytes(seen.budgetBytes) / std::max(mean(base_), 1.0),
                                               secondsOf(kLongestWindow));
  settledAt_ = seen.now + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(turn));
}

void Tuner::begin(Means means, const Plan& plan, const Seen& seen) {
  before_ = plan_;
  trying_ = means;
  openedByTry_ = plan.sources - std::min(plan.sources, plan_.sources);
  use(plan, seen);
}

// Of the side that holds the buffers, the cheapest first; more at once is of no use where it already waits.
std::vector<Tuner::Means> Tuner::order() const {
  if (readShare_ < 0.5 && writesQueue_) return {size, targets, depth, sources, writes};
  if (readShare_ < 0.5) return {writes, targets, depth, size, sources};
  const double least = *std::min_element(latencies_.begin(), latencies_.end());
  if (latencies_.back() > kQueueing * least) return {size, writes, targets, sources, depth};
  return {size, depth, writes, targets, sources};
}

// More for the target alone lets the same buffers turn round sooner by no more than the time that they wait for it.
// Connections to the source carry all other means along.
bool Tuner::mayHelp(Means means) const {
  return (means != writes && means != targets) || readShare_ * kWorthwhile < 1;
}

void Tuner::tryNext(const Seen& seen) {
  for (const Means means : order()) {
    if (seen.now < turns_[means].next || !mayHelp(means)) continue;
    if (const auto plan = enlarged(means, seen)) return begin(means, *plan, seen);
  }
  for (const Means means : {lessDepth, lessWrites, lessTargets, lessSources}) {
    if (seen.now < turns_[means].next) continue;
    const auto plan = reduced(means, seen);
    if (!plan) continue;
    if (level_ == 0) level_ = mean(base_);
    return begin(means, *plan, seen);
  }
}

// Source connections stay open until it is clear that they are not missed.
std::optional<Plan> Tuner::reduced(Means means, const Seen& seen) const {
  Plan less = plan_;
  if (means == lessDepth) {
    // What is beyond the budget holds nothing.
    while (less.bytes(UINT64_MAX) / 2 >= seen.budgetBytes) less.depth /= 2;
    less.depth /= 2;
    if (less.depth < kDepthLeast) return std::nullopt;
  } else if (means == lessWrites) {
    less.writes /= kWritesStep;
    if (less.writes < kWritesLeast) return std::nullopt;
  } else if (means == lessTargets) {
    less.targets -= std::max(plan_.targets / 4, 1u);
    if (!free_.targets || less.targets < seen.targets.least) return std::nullopt;
  } else {
    less.spare = std::max(plan_.sources / 4, 1u);
    less.sources -= less.spare;
    if (!free_.sources || less.sources < seen.sources.least) return std::nullopt;
  }
  return less;
}

std::optional<Plan> Tuner::enlarged(Means means, const Seen& seen) const {
  Plan more = plan_;
  const bool room = plan_.bytes(UINT64_MAX) < seen.budgetBytes;
  auto beyond = [](unsigned count, unsigned most) { return std::max(count, std::min(2 * count, most)); };
  switch (means) {
    case size:
      if (!free_.size || 2 * plan_.requestBytes > free_.requestBytesMost) return std::nullopt;
      // As many bytes on their way as before: what these bring is another question.
      more.requestBytes *= 2;
      more.depth = std::max(plan_.depth / 2, kDepthLeast);
      break;
    case depth:
      if (!room) return std::nullopt;
      more.depth *= 2;
      break;
    case writes:
      if (!writesHeld_) return std::nullopt;
      more.writes = std::min(plan_.writes * kWritesStep, kWritesMost);
      break;
    case targets:
    case sources: {
      if (means == sources ? !free_.sources || !seen.sources.mayAsk : !free_.targets) return std::nullopt;
      if (free_.targets) more.targets = beyond(plan_.targets, seen.targets.most);
      if (means == targets && room) more.depth *= 2;
      if (means == targets) break;
      const unsigned step = sourcesDouble_ ? plan_.sources : std::max(plan_.sources / 4, 1u);
      more.sources = std::min({plan_.sources + step, seen.sources.most, plan_.sources + opensLeft(seen.now)});
      if (more.sources <= plan_.sources) return std::nullopt;
      return more;
    }
    default: return std::nullopt;
  }
  if (means == targets && more.targets <= plan_.targets) return std::nullopt;
  if (more == plan_) return std::nullopt;
  return more;
}

unsigned Tuner::opensLeft(TimePoint now) const {
  const unsigned allowed = kOpensAtFirst + (now - startedAt_) / kOneMoreOpenEach;
  return allowed - std::min(allowed, openedForNothing_);
}

}  // namespace engine
