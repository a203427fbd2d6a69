// Zeroes, the cheapest way that the target honours: skip, fast zero, write-zeroes, trim where reading
// back proves it, data.
#include <algorithm>
#include <cerrno>
#include <cstring>

#include "loop.h"

namespace engine {

namespace {

constexpr size_t kFastZeroTasksMaximum = 4;
constexpr size_t kZeroTasksMaximum = 2;
constexpr uint64_t kSkipLimit = kGiB;
constexpr uint64_t kFastZeroLimit = 128 * kMiB;
// A server that really writes the zeroes, as nbd-server does, lets data wait behind them: beside data
// they go in requests that take no longer than data does. Where nothing waits, large ones save
// round trips.
constexpr uint64_t kZeroesBesideData = kMiB;
constexpr uint64_t kZeroesAlone = 32 * kMiB;

bool isRefusal(int error) { return error == ENOTSUP || error == EINVAL || error == ENOSYS; }

}  // namespace

// Zeroes that need no buffer: skipped, or written by the server.
void Loop::issueZeroes(TimePoint now) {
  if (job_.options_.mode == Mode::compare) return;
  for (int i = 0; i < 256; i++) {
    ZeroMethod method = job_.zeroMethod();
    if (method == ZeroMethod::trim || method == ZeroMethod::data) return;
    const bool fast = method == ZeroMethod::fastZero;
    if (zeroTasks_ >= (fast ? kFastZeroTasksMaximum : kZeroTasksMaximum)) return;
    const bool besideData = pending_ || activeTasks_ > zeroTasks_;
    uint64_t limit = method == ZeroMethod::skip ? kSkipLimit
                     : fast                     ? kFastZeroLimit
                     : besideData               ? kZeroesBesideData
                                                : kZeroesAlone;
    Piece piece;
    if (!job_.work_->takeZero(limit, now, piece)) return;
    Task& task = newTask();
    task.piece = std::move(piece);
    task.stage = Task::Stage::write;
    task.segments.push_back({task.piece.range, true});
    if (method == ZeroMethod::skip || task.piece.targetZero) {
      job_.stats_.skippedBytes += task.piece.range.length;
      job_.lastZeroMethod_ = static_cast<int>(ZeroMethod::skip);
      complete(task, task.piece.targetZero);
      continue;
    }
    zeroTasks_++;
    task.countsAsZero = true;
    sendZero(task, task.piece.range);
  }
  wakeAt_ = now;
}

void Loop::sendZero(Task& task, const Range& range) {
  Connection* target = pick(Side::target, SIZE_MAX);
  if (target == nullptr) {
    lostWhileSending(task, range);
    if (task.pending == 0) retire(task);
    return;
  }
  Command& command = newCommand();
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
  Connection* target = pick(Side::target, SIZE_MAX);
  if (target == nullptr) return false;
  task.pending--;
  send(*target, Op::write, range, task.buffer + (range.offset - task.piece.range.offset), &task);
  return true;
}

// A whole piece of zeroes where the server has no write-zeroes.
void Loop::startTrim(Task& task) {
  Connection* target = pick(Side::target, SIZE_MAX);
  const Range& range = task.piece.range;
  task.segments.assign(1, {range, true});
  if (target == nullptr) return putBack(task);
  if (task.piece.targetZero) {
    job_.stats_.skippedBytes += range.length;
    return complete(task, true);
  }
  const bool trim = job_.canTrim_;
  job_.lastZeroMethod_ = static_cast<int>(trim ? ZeroMethod::trim : ZeroMethod::data);
  if (!trim) std::memset(task.buffer, 0, range.length);
  task.stage = trim ? Task::Stage::trim : Task::Stage::write;
  send(*target, trim ? Op::trim : Op::write, range, task.buffer, &task);
}

}  // namespace engine
