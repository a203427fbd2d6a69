// Zeroes, the cheapest way that the target honours: skip, fast zero, seeing that it is zero already,
// write-zeroes, trim where reading back proves it, data.
#include <algorithm>
#include <cerrno>
#include <cstring>

#include "loop.h"

namespace engine {

namespace {

constexpr size_t kFastZeroTasksMaximum = 4;
// A server that really writes the zeroes, as nbd-server does, holds the file's lock meanwhile: a second
// writer only spins on it.
constexpr size_t kZeroWrites = 1;
constexpr uint64_t kZeroWriteLimit = 32 * kMiB;
constexpr size_t kProofsBesideWritesAndData = 1;
constexpr size_t kProofsBesideWrites = 2;
constexpr size_t kProofsBesideDataNearby = 1;
constexpr size_t kProofsBesideData = 4;
constexpr size_t kProofsAlone = 16;
constexpr uint64_t kZeroesWorthTrying = 20 * kMiB;
constexpr uint64_t kSkipLimit = kGiB;
constexpr uint64_t kFastZeroLimit = 128 * kMiB;

bool isRefusal(int error) { return error == ENOTSUP || error == EINVAL || error == ENOSYS; }

}  // namespace

// No data is on its way, and none is there that would have to wait behind zeroes.
bool Loop::aloneWithZeroes() const {
  return !pending_ && activeTasks_ == zeroTasks() &&
         (tryingZeroes_ || !job_.work_->dataReady());
}

// While it is found out whether the target had better be read or made to write zeroes, data waits.
// Only where there are zeroes enough to make it worthwhile; by one loop, the others pause with it.
bool Loop::tryZeroesFirst(TimePoint now) {
  const bool before = tryingZeroes_;
  const bool leads = index_ == 0;
  tryingZeroes_ = false;
  if (job_.options_.mode != Mode::copy || !job_.mayProve() ||
      job_.zeroMethod() != ZeroMethod::writeZeroes)
    return false;
  const uint64_t ready = job_.work_->zeroBytesReady();
  if (before && leads && zeroTasks() == 0 && ready == 0) job_.zeroProof_.abandon(now);
  const bool begin = leads && ready >= kZeroesWorthTrying;
  tryingZeroes_ =
      job_.zeroProof_.trying(now, begin ? ZeroProof::Begin::yes : ZeroProof::Begin::no);
  if (tryingZeroes_ != before && job_.loops_.size() > 1) job_.wakeLoops();
  if (!tryingZeroes_) return false;
  if (pending_) {
    job_.work_->putBack(std::move(*pending_));
    pending_.reset();
  }
  // What other loops still have on its way would be measured too.
  const bool drains = leads && job_.work_->outstanding() != zeroTasks();
  if (leads && !drains) issueZeroes(now);
  wakeAt_ = std::min(wakeAt_, now + milliseconds{drains ? 1 : 20});
  return true;
}

// How many ranges this loop reads at once to see that they are zero. Beside data that is few: what is
// read is looked at while the processor's cache still has it, and data is not held up by what there is
// time for while its source is slow. A loop without a source can do nothing else, so the others leave
// it to that one.
size_t Loop::proofsMaximum(bool alone) {
  if (tryingZeroes_) return kProofsBesideData;
  if (alone) return kProofsAlone;
  if (hasReady(Side::source) && job_.sourcesReady() < job_.loops_.size()) return 0;
  return job_.targetIsFar() ? kProofsBesideData : kProofsBesideDataNearby;
}

// How this loop deals with its next zero range, by what it has on its way already. Nothing when it
// has enough.
std::optional<Loop::ZeroStep> Loop::nextZeroStep(ZeroMethod method) {
  if (method == ZeroMethod::skip) return ZeroStep{ZeroProof::Way::write, kSkipLimit};
  ZeroProof::Choice choice = {ZeroProof::Way::write, UINT64_MAX};
  if (job_.mayProve()) choice = job_.zeroProof_.choose(false);
  if (choice.limit == 0) return std::nullopt;
  const bool alone = aloneWithZeroes();
  if (choice.way == ZeroProof::Way::read) {
    if (proofs_ >= proofsMaximum(alone)) return std::nullopt;
    job_.lastZeroMethod_ = static_cast<int>(ZeroMethod::read);
    return choice;
  }
  if (method == ZeroMethod::fastZero) {
    if (zeroWrites_ >= kFastZeroTasksMaximum) return std::nullopt;
    return ZeroStep{choice.way, std::min(kFastZeroLimit, choice.limit)};
  }
  // One loop is enough. While the server writes, what it would write next is read.
  if (index_ != 0 && !alone) return std::nullopt;
  if (zeroWrites_ < kZeroWrites)
    return ZeroStep{choice.way, std::min(kZeroWriteLimit, choice.limit)};
  const size_t proofs = alone ? kProofsBesideWrites : kProofsBesideWritesAndData;
  if (proofs_ >= proofs || !job_.mayProve()) return std::nullopt;
  return job_.zeroProof_.besideWrites();
}

// Zeroes that the source's extents told of: skipped, seen to be there already, or written by the
// server. They go before the data, a few at a time, so that they do not remain to the end.
void Loop::issueZeroes(TimePoint now) {
  if (job_.options_.mode == Mode::compare) return;
  for (int i = 0; i < 256; i++) {
    ZeroMethod method = job_.zeroMethod();
    if (method == ZeroMethod::trim || method == ZeroMethod::data) return;
    const std::optional<ZeroStep> step = nextZeroStep(method);
    Piece piece;
    if (!step || !job_.work_->takeZero(step->limit, now, piece)) return;
    const bool read = step->way == ZeroProof::Way::read;
    if (method == ZeroMethod::skip || piece.targetZero) {
      Task& task = newTask();
      task.piece = std::move(piece);
      task.segments.push_back({task.piece.range, true});
      job_.stats_.skippedBytes += task.piece.range.length;
      job_.lastZeroMethod_ = static_cast<int>(ZeroMethod::skip);
      complete(task, task.piece.targetZero);
      continue;
    }
    uint8_t* buffer = nullptr;
    const size_t bytes = piece.range.length;
    if (read) {
      buffer = job_.shared_->pool.take(bytes, BufferPool::Use::beside, *job_.share_, *this);
      if (buffer == nullptr) return job_.work_->putBack(std::move(piece));
    }
    Task& task = newTask();
    task.piece = std::move(piece);
    task.stage = Task::Stage::write;
    task.segments.push_back({task.piece.range, true});
    task.buffer = task.data = buffer;
    task.bufferBytes = buffer != nullptr ? bytes : 0;
    task.counter = read ? &proofs_ : &zeroWrites_;
    ++*task.counter;
    if (read) prove(task, task.piece.range, buffer);
    else sendZero(task, task.piece.range);
  }
  wakeAt_ = now;
}

// Null when there is none: then the task has failed, and ends here if nothing of it is in flight.
Connection* Loop::targetFor(Task& task, const Range& range) {
  Connection* target = pick(Side::target);
  if (target != nullptr) return target;
  lostWhileSending(task, range);
  if (task.pending == 0) retire(task);
  return nullptr;
}

void Loop::sendZero(Task& task, const Range& range) {
  Connection* target = targetFor(task, range);
  if (target == nullptr) return;
  Command& command = newCommand();
  command.trial = job_.zeroProof_.sent(ZeroProof::Way::write, range.length);
  command.op = Op::zero;
  command.fastZero = job_.canFastZero_;
  command.offset = range.offset;
  command.length = range.length;
  command.task = &task;
  job_.lastZeroMethod_ =
      static_cast<int>(command.fastZero ? ZeroMethod::fastZero : ZeroMethod::writeZeroes);
  task.pending++;
  target->submit(command);
}

// Reads a range of the target that must become zero; see proofAnswer().
void Loop::prove(Task& task, const Range& range, uint8_t* buffer) {
  Connection* target = targetFor(task, range);
  if (target == nullptr) return;
  Command& command = newCommand();
  command.trial = job_.zeroProof_.sent(ZeroProof::Way::read, range.length);
  command.op = Op::read;
  command.proof = true;
  command.offset = range.offset;
  command.length = range.length;
  command.buffer = buffer;
  command.task = &task;
  task.pending++;
  target->submit(command);
}

// What the target holds is zero: nothing to do. Anything else, an error included: it is zeroed.
void Loop::proofAnswer(Task& task, Command& command) {
  const Range range = {command.offset, command.length};
  if (command.error == 0) {
    job_.sawProofLatency(Clock::now() - command.issuedAt);
    const bool zero = isZero(command.buffer, range.length);
    job_.zeroProof_.found(zero);
    if (zero) {
      job_.stats_.skippedBytes += range.length;
      return;
    }
  } else if (job_.zeroProof_.disable()) {
    job_.note(Side::target, std::string("the target cannot be read, so all zeroes are written: ") +
                                std::strerror(command.error));
  }
  // From here the buffer is what is written, should the server want zeroes as data.
  std::memset(command.buffer, 0, range.length);
  if (job_.canZero_) return sendZero(task, range);
  job_.lastZeroMethod_ = static_cast<int>(ZeroMethod::data);
  if (Connection* target = pick(Side::target)) send(*target, Op::write, range, command.buffer, &task);
  else lostWhileSending(task, range);
}

// The server offers write-zeroes but refused this one. Remembers that for the job and sends the
// range another way. False: it is a failure.
bool Loop::zeroRefused(Task& task, Command& command) {
  if (!isRefusal(command.error)) return false;
  if (command.fastZero) job_.canFastZero_ = false;
  else if (job_.canZero_.exchange(false)) job_.note(Side::target, "the server refused write-zeroes");
  Range range = {command.offset, command.length};
  if (job_.canZero_) {
    task.pending--;
    sendZero(task, range);
    return true;
  }
  if (task.buffer == nullptr) {
    // A piece without a buffer starts again, as one that needs a buffer.
    task.pending--;
    putBack(task);
    return true;
  }
  Connection* target = pick(Side::target);
  if (target == nullptr) return false;
  task.pending--;
  send(*target, Op::write, range, task.data + (range.offset - task.piece.range.offset), &task);
  return true;
}

// A whole piece of zeroes where the server has no write-zeroes.
void Loop::startTrim(Task& task) {
  Connection* target = pick(Side::target);
  const Range& range = task.piece.range;
  task.segments.assign(1, {range, true});
  if (target == nullptr) return putBack(task);
  if (task.piece.targetZero) {
    job_.stats_.skippedBytes += range.length;
    return complete(task, true);
  }
  if (job_.mayProve() && job_.zeroProof_.choose(true).way == ZeroProof::Way::read) {
    task.stage = Task::Stage::write;
    job_.lastZeroMethod_ = static_cast<int>(ZeroMethod::read);
    return prove(task, range, task.data);
  }
  job_.zeroProof_.sent(ZeroProof::Way::write, range.length);
  const bool trim = job_.canTrim_;
  job_.lastZeroMethod_ = static_cast<int>(trim ? ZeroMethod::trim : ZeroMethod::data);
  if (!trim) std::memset(task.data, 0, range.length);
  task.stage = trim ? Task::Stage::trim : Task::Stage::write;
  send(*target, trim ? Op::trim : Op::write, range, task.data, &task);
}

}  // namespace engine
