// What becomes of a piece that failed, and the arena in which tasks and commands live.
#include <cassert>
#include <cerrno>
#include <cstring>

#include "loop.h"

namespace engine {

namespace {

// Trying again cannot help.
bool isFinal(int error) { return error == ENOSPC || error == EPERM || error == EROFS; }

const char* opName(Op op) {
  switch (op) {
    case Op::read: return "read";
    case Op::write: return "write";
    case Op::zero: return "write-zeroes";
    case Op::trim: return "trim";
    case Op::flush: return "flush";
    case Op::status: return "block status";
  }
  return "request";
}

}  // namespace

// Failure of one piece: again later, or the end of the job.
void Loop::retire(Task& task) {
  Piece& piece = task.piece;
  const RetryPolicy& policy = job_.options_.retry;
  TimePoint now = Clock::now();
  // What holds all pieces up is no fault of theirs.
  const TimePoint worked = now - job_.excused(now);
  if (piece.attempts == 0 && piece.losses == 0) piece.firstFailed = worked;
  if (task.lost) piece.losses++;
  else piece.attempts++;
  std::string what = task.message;
  if (what.empty())
    what = std::string(sideName(task.side)) + " " + opName(task.op) + " of " +
           std::to_string(task.failedRange.length) + " bytes at " +
           std::to_string(task.failedRange.offset) + " failed: " + std::strerror(task.error);
  const bool exhausted = piece.attempts > policy.attempts ||
                         piece.losses > 3 * policy.attempts + 3 ||
                         worked - piece.firstFailed > policy.maxElapsed;
  if ((!task.lost && isFinal(task.error)) || exhausted) {
    const bool reading = task.side == Side::source || task.op == Op::read;
    job_.fail({.code = reading ? "ENGINE_READ" : "ENGINE_WRITE", .side = task.side, .error = task.error,
               .message = what, .hasRange = true, .range = task.failedRange,
               .attempts = piece.attempts + piece.losses});
  } else if (!task.lost) {
    job_.stats_.retries++;
    job_.retryEvent(task.side, what, piece.attempts, &task.failedRange);
    piece.notBefore = now + RetryPolicy::backoff(piece.attempts);
  }
  job_.work_->requeue(std::move(piece));
  release(task);
}

Command& Loop::newCommand() {
  if (freeCommands_.empty()) {
    commands_.emplace_back();
    return commands_.back();
  }
  Command& command = *freeCommands_.back();
  freeCommands_.pop_back();
  command.fastZero = command.proof = command.trial = false;
  command.offset = command.length = 0;
  command.buffer = nullptr;
  command.task = nullptr;
  command.window = nullptr;
  return command;
}

Task& Loop::newTask() {
  activeTasks_++;
  if (freeTasks_.empty()) {
    tasks_.emplace_back();
    return tasks_.back();
  }
  Task& task = *freeTasks_.back();
  freeTasks_.pop_back();
  return task;
}

void Loop::giveBuffer(const Task& task) {
  if (task.buffer == nullptr) return;
  const auto use = task.counter == &proofs_ ? BufferPool::Use::beside : BufferPool::Use::planned;
  job_.shared_->pool.give(task.buffer, task.bufferBytes, use, *job_.share_, this);
}

// The one place where a task ends and its memory goes back.
void Loop::release(Task& task) {
  assert(task.pending == 0);
  giveBuffer(task);
  if (task.counter != nullptr) --*task.counter;
  std::vector<Segment> segments = std::move(task.segments);
  segments.clear();
  task = Task();
  task.segments = std::move(segments);
  activeTasks_--;
  freeTasks_.push_back(&task);
}

}  // namespace engine
