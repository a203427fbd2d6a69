// The job's own thread: connect, supervise, settle. See copier_tune.cc for how it is tuned.
#include "copier.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "loop.h"

namespace engine {

namespace {

constexpr milliseconds kTick{20};
constexpr milliseconds kPublish{50};
constexpr unsigned kLoopsMaximum = 4;
constexpr milliseconds kConnectTimeout{60000};
constexpr unsigned kFirstAttempts = 4;

}  // namespace

const char* zeroMethodName(ZeroMethod method) {
  switch (method) {
    case ZeroMethod::skip: return "skip";
    case ZeroMethod::fastZero: return "fast-zero";
    case ZeroMethod::read: return "read";
    case ZeroMethod::writeZeroes: return "write-zeroes";
    case ZeroMethod::trim: return "trim";
    case ZeroMethod::data: return "data";
  }
  return "none";
}

Copier::Copier(JobOptions options, std::shared_ptr<Shared> shared, std::function<void()> onEvents)
    : options_(std::move(options)),
      shared_(std::move(shared)),
      events_(std::move(onEvents)) {}

Copier::~Copier() = default;

JobResult Copier::run() {
  JobResult result;
  if (connectFirst() && checkSizes()) {
    planConnections();
    startLoops();
    supervise();
    stopLoops();
  }
  release();
  events_.release();
  events_.publish();
  std::lock_guard lock(mutex_);
  result.aborted = aborted_;
  result.succeeded = !aborted_ && !failure_;
  if (failure_) result.failure = *failure_;
  result.sourceConnections = mostReady_[0];
  result.targetConnections = mostReady_[1];
  if (lastZeroMethod_ >= 0)
    result.zeroMethod = zeroMethodName(static_cast<ZeroMethod>(lastZeroMethod_.load()));
  result.sourceExtentsUsed = sourceExtentsUsed_;
  result.differences = differences_;
  result.differingBytes = differingBytes_;
  result.differencesTruncated = differencesTruncated_;
  return result;
}

void Copier::release() {
  firstSource_.reset();
  firstTarget_.reset();
  share_.reset();
  std::lock_guard lock(mutex_);
  released_ = true;
  loopsRun_ = false;
  loops_.clear();
  durability_.reset();
  work_.reset();
  earlyExtents_ = {};
}

// The first connections. A server that refuses us is a mistake and told at once; one that cannot be
// reached may just be coming up again, but not for long.
bool Copier::connectFirst() {
  Failure failure;
  firstSource_ = connectOne(Side::source, failure);
  if (firstSource_) firstTarget_ = connectOne(Side::target, failure);
  if (firstSource_ && firstTarget_) return true;
  if (firstSource_) firstSource_->startDisconnect();
  fail(std::move(failure));
  return false;
}

std::unique_ptr<Connection> Copier::connectOne(Side side, Failure& failure) {
  const Endpoint& endpoint = side == Side::source ? options_.source : options_.target;
  const milliseconds timeout = std::min(kConnectTimeout, options_.durability.stallTimeout);
  for (unsigned attempt = 1;; attempt++) {
    while (held() && !aborted_) std::this_thread::sleep_for(kTick);
    auto connection = connectAndWait(side, endpoint, noCommands_, timeout, aborted_, failure,
                                     deadlineFor(side));
    failure.attempts = attempt;
    const bool again = attempt < kFirstAttempts && attempt <= options_.retry.attempts;
    if (connection || failure.code != "ENGINE_CONNECT" || !again) return connection;
    retryEvent(side, failure.message, attempt, nullptr);
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, RetryPolicy::backoff(attempt), [this] { return aborted_.load(); });
  }
}

bool Copier::checkSizes() {
  source_ = firstSource_->info();
  target_ = firstTarget_->info();
  auto refuse = [this](Side side, const char* code, int error, const std::string& message) {
    fail({.code = code, .side = side, .error = error, .message = message});
    return false;
  };
  for (Side side : {Side::source, Side::target}) {
    uint64_t size = (side == Side::source ? source_ : target_).sizeBytes;
    if (size < options_.capacityBytes)
      return refuse(side, "ENGINE_SIZE", 0,
                    std::string("the ") + sideName(side) + " has " + std::to_string(size) +
                        " bytes, fewer than the disk's " + std::to_string(options_.capacityBytes));
  }
  const bool copying = options_.mode == Mode::copy;
  if (copying && target_.readOnly)
    return refuse(Side::target, "ENGINE_READ_ONLY", EROFS, "the target is read-only");

  requestBytes_ = kRequestBytesMost;
  if (options_.requestBytes != 0) requestBytes_ = std::min(requestBytes_, options_.requestBytes);
  for (uint64_t maximum : {source_.maximumBlockBytes, target_.maximumBlockBytes})
    if (maximum != 0) requestBytes_ = std::min(requestBytes_, maximum);
  if (2 * requestBytes_ > shared_->pool.bytes()) requestBytes_ = shared_->pool.bytes() / 2;

  WorkList::Options work;
  work.capacityBytes = options_.capacityBytes;
  work.blockBytes = std::max<uint64_t>({512, source_.minimumBlockBytes, target_.minimumBlockBytes});
  requestBytes_ = std::max(alignDown(requestBytes_, work.blockBytes), work.blockBytes);
  // A target that takes only whole blocks gets the disk's last, partial one by read, patch, write.
  work.tailStart = options_.capacityBytes;
  uint64_t tail = alignDown(options_.capacityBytes, target_.minimumBlockBytes);
  if (copying && tail + target_.minimumBlockBytes <= target_.sizeBytes) work.tailStart = tail;
  tailStart_ = work.tailStart;

  useSourceExtents_ = options_.sourceExtents && source_.canExtents;
  useTargetExtents_ = copying && !options_.targetIsZero && target_.canExtents;
  canFastZero_ = target_.canZero && target_.canFastZero;
  canZero_ = target_.canZero;
  canTrim_ = target_.canTrim;

  std::lock_guard lock(mutex_);
  work_ = std::make_unique<WorkList>(work);
  durability_ = std::make_unique<Durability>(*work_, options_.durability);
  if (options_.wholeDisk) {
    work_->add({{0, options_.capacityBytes}});
    work_->end();
  } else {
    work_->add(earlyExtents_);
    if (earlyEnd_) work_->end();
  }
  earlyExtents_ = {};
  return true;
}

void Copier::startLoops() {
  share_.emplace(shared_->pool);
  unsigned count = std::min({processors(), kLoopsMaximum, plan_.sources, plan_.targets});
  for (unsigned i = 0; i < count; i++) loops_.push_back(std::make_unique<Loop>(*this, i));
  use(plan_);
  loops_[0]->adopt(std::move(firstSource_));
  loops_[0]->adopt(std::move(firstTarget_));
  {
    std::lock_guard lock(mutex_);
    loopsRun_ = true;
  }
  for (auto& loop : loops_) loop->start();
}

void Copier::stopLoops() {
  stopping_ = true;
  wakeLoops();
  for (auto& loop : loops_) loop->join();
}

void Copier::setConnections(Side side, unsigned count) {
  const unsigned loops = loops_.size();
  for (unsigned i = 0; i < loops; i++)
    loops_[i]->want(side, std::max(count / loops + (i < count % loops ? 1 : 0), 1u));
}

void Copier::supervise() {
  TimePoint lastPublish = Clock::now();
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      changed_.wait_for(lock, kTick, [this] { return poked_ || failure_ || aborted_; });
      poked_ = false;
      if (failure_ || aborted_) return;
    }
    TimePoint now = Clock::now();
    if (now - lastPublish >= kPublish) {
      lastPublish = now;
      events_.publish();
    }
    feedIfHungry();
    tune(now);
    if (options_.mode == Mode::copy) flush(now);
    if (options_.mode == Mode::copy ? durability_->done() : work_->drained()) return;
  }
}

// Ends the round of flushes that all loops have answered, and begins the next one when it is due.
void Copier::flush(TimePoint now) {
  using State = Durability::State;
  const State state = durability_->end(now);
  if (state == State::flushing) return;
  if (state == State::flushed) {
    health_[1].success();
    if (options_.checkpoints && durability_->coversReported()) {
      events_.post({.type = Event::Type::checkpoint});
    }
  }
  if (state != State::idle) {
    if (options_.checkpoints) events_.release();
    wakeLoops();
  }
  // Without a connection there is nothing to flush; one is being made.
  if (ready_[1] <= 0 || !durability_->isDue(now, !health_[1].healthy())) return;
  if (options_.checkpoints) events_.hold();
  durability_->begin(now, loops_.size());
  wakeLoops();
}

void Copier::flushDone(bool succeeded) {
  durability_->answer(succeeded);
  poke();
}

std::optional<SideHealth::Trouble> Copier::trouble(Side side) {
  const TimePoint now = Clock::now();
  return health_[side == Side::source ? 0 : 1].trouble(options_.retry, now, excused(now));
}

// Time so far in which nobody had trouble: flushes took long, or nothing might be written.
Clock::duration Copier::excused(TimePoint now) const {
  return durability_->inRounds(now) + shared_->deadline.passedFor();
}

const WriteDeadline* Copier::deadlineFor(Side side) const {
  const bool writes = side == Side::target && options_.mode == Mode::copy;
  return writes && shared_->deadline.isSet() ? &shared_->deadline : nullptr;
}

bool Copier::held() const { return shared_->deadline.passed(); }

void Copier::flushTrouble(int error) {
  const auto trouble = this->trouble(Side::target);
  std::string message = std::string("target flush failed: ") + std::strerror(error);
  if (trouble && !trouble->exhausted && error != ENOSPC) {
    stats_.retries++;
    return retryEvent(Side::target, message, trouble->attempt, nullptr);
  }
  if (!trouble && error != ENOSPC) return;
  const unsigned attempts = trouble ? trouble->attempt : 1;
  fail({.code = "ENGINE_FLUSH", .side = Side::target, .error = error, .message = message, .attempts = attempts});
}

void Copier::connectionReady(Side side) {
  const size_t which = side == Side::source ? 0 : 1;
  const int ready = ++ready_[which];
  int most = mostReady_[which];
  while (ready > most && !mostReady_[which].compare_exchange_weak(most, ready)) {
  }
  if (ready > 1) health_[which].extraGranted();
}

void Copier::connectionLost(Side side, int error, const std::string& message) {
  if (side == Side::target && options_.mode == Mode::copy) {
    durability_->targetLost();
    // A trim that the old connection still carries out could come after our write of the same range.
    if (!canZero_) canTrim_ = false;
  }
  const auto trouble = this->trouble(side);
  wakeLoops();
  if (!trouble) return;
  stats_.retries++;
  if (!trouble->exhausted) return retryEvent(side, message, trouble->attempt, nullptr);
  fail({.code = "ENGINE_LOST", .side = side, .error = error, .message = message, .attempts = trouble->attempt});
}

void Copier::extraRefused(Side side, const std::string& message) {
  note(side, "one more connection was refused: " + message);
}

void Copier::feedIfHungry() {
  if (options_.wholeDisk) return;
  {
    std::lock_guard lock(mutex_);
    if (hungryPosted_ || !work_->hungry()) return;
    hungryPosted_ = true;
  }
  events_.post({.type = Event::Type::hungry});
}

void Copier::addExtents(const std::vector<Range>& extents) {
  {
    std::lock_guard lock(mutex_);
    hungryPosted_ = false;
    if (work_) work_->add(extents);
    else if (!released_) earlyExtents_.insert(earlyExtents_.end(), extents.begin(), extents.end());
  }
  wakeLoops();
}

void Copier::endExtents() {
  {
    std::lock_guard lock(mutex_);
    if (work_) work_->end();
    else earlyEnd_ = true;
    poked_ = true;
  }
  changed_.notify_one();
}

bool Copier::hungry() const {
  std::lock_guard lock(mutex_);
  return work_ && work_->hungry();
}

void Copier::abort() {
  aborted_ = true;
  std::lock_guard lock(mutex_);
  changed_.notify_one();
}

void Copier::fail(Failure failure) {
  std::lock_guard lock(mutex_);
  if (!failure_) failure_ = std::move(failure);
  changed_.notify_one();
}

void Copier::poke() {
  std::lock_guard lock(mutex_);
  poked_ = true;
  changed_.notify_one();
}

void Copier::wakeLoops() {
  std::lock_guard lock(mutex_);
  if (!loopsRun_) return;
  for (auto& loop : loops_) loop->wake();
}

void Copier::note(Side side, const std::string& message) {
  events_.post({.type = Event::Type::note, .side = side, .message = message});
}

void Copier::retryEvent(Side side, const std::string& message, unsigned attempt, const Range* range) {
  const bool hasRange = range != nullptr;
  events_.post({.type = Event::Type::retry, .side = side, .message = message, .attempt = attempt,
                .hasRange = hasRange, .range = hasRange ? *range : Range{}});
}

ZeroMethod Copier::zeroMethod() const {
  if (options_.targetIsZero) return ZeroMethod::skip;
  if (canFastZero_) return ZeroMethod::fastZero;
  if (canZero_) return ZeroMethod::writeZeroes;
  if (canTrim_) return ZeroMethod::trim;
  return ZeroMethod::data;
}

// A rate limit protects the line, on which a request to write zeroes takes no room but a read does.
bool Copier::mayProve() const {
  const ZeroMethod method = zeroMethod();
  return !shared_->rate.limited() &&
         (method == ZeroMethod::writeZeroes || method == ZeroMethod::data);
}

uint64_t Copier::readLimit() const {
  uint64_t limit = shared_->rate.smoothRequestBytes(planRequestBytes_);
  return std::max(alignDown(limit, 4 * kKiB), std::min<uint64_t>(requestBytes_, 4 * kKiB));
}

// Adjacent differences become one; the lowest are kept when there are too many.
void Copier::difference(const Range& range) {
  std::lock_guard lock(mutex_);
  differingBytes_ += range.length;
  uint64_t offset = range.offset, length = range.length;
  auto next = differences_.lower_bound(offset);
  if (next != differences_.end() && next->first == offset + length) {
    length += next->second;
    next = differences_.erase(next);
  }
  if (next != differences_.begin()) {
    auto before = std::prev(next);
    if (before->first + before->second == offset) {
      before->second += length;
      return;
    }
  }
  differences_.emplace(offset, length);
  if (differences_.size() > options_.differencesMaximum) {
    differences_.erase(std::prev(differences_.end()));
    differencesTruncated_ = true;
  }
}

}  // namespace engine
