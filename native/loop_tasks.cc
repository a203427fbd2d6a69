// The way of a piece: read, looked at, written. Extents: loop_windows.cc; zeroes: loop_zeroes.cc;
// failure: loop_failures.cc.
#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>

#include "loop.h"

namespace engine {

namespace {

constexpr uint64_t kZeroGranule = 4 * kKiB;
constexpr uint64_t kZeroRunMinimum = 16 * kKiB;
constexpr uint64_t kCompareGranule = 512;

}  // namespace

void Loop::issue(TimePoint now) {
  if (job_.events_.full()) {
    wakeAt_ = std::min(wakeAt_, now + milliseconds{20});
    return;
  }
  // Without both sides here, another loop may have the work. Zeroes need the target alone.
  const bool reads = hasReady(Side::source);
  const bool writes = hasReady(Side::target);
  if (pending_ && (!reads || !writes)) {
    job_.work_->putBack(std::move(*pending_));
    pending_.reset();
  }
  if (!writes) return;
  if (reads) planAhead();
  // The end of the flush wakes the loop.
  if (job_.options_.mode == Mode::copy && !job_.durability_->hasRoom()) return disturbed();
  if (tryZeroesFirst(now)) return disturbed();
  issueZeroes(now);
  // Each submission may find its connection dead, so both sides are looked at every time.
  while (pick(Side::source, job_.planReads_, job_.planReadBytes_) != nullptr && hasReady(Side::target)) {
    if (!takePending(now)) {
      disturbed();
      break;
    }
    size_t bytes = bufferBytesFor(*pending_);
    uint8_t* buffer = job_.shared_->pool.take(bytes, BufferPool::Use::planned, *job_.share_, *this);
    if (buffer == nullptr) break;
    startPending(buffer, bytes);
  }
  wakeAt_ = std::min(wakeAt_, job_.work_->nextRetry(now));
}

// The flow is not as the plan has it just now.
void Loop::disturbed() { job_.disturbed_.store(true, std::memory_order_relaxed); }

// Has a piece that may be read now. It stays with this loop until memory is free for it.
bool Loop::takePending(TimePoint now) {
  if (!pending_) {
    const uint64_t limit = job_.readLimit();
    Piece piece;
    ZeroMethod method = job_.zeroMethod();
    bool zeroesNeedBuffers = job_.options_.mode == Mode::compare || method == ZeroMethod::trim ||
                             method == ZeroMethod::data;
    bool taken = zeroesNeedBuffers && job_.work_->takeZero(limit, now, piece);
    if (!taken) taken = job_.work_->takeData(limit, job_.gapBytes_, now, piece);
    if (!taken) return false;
    pendingAt_ = job_.shared_->rate.reserve(piece.range.length);
    pending_ = std::move(piece);
  }
  if (now >= pendingAt_) return true;
  wakeAt_ = std::min(wakeAt_, pendingAt_);
  return false;
}

void Loop::startPending(uint8_t* buffer, size_t bytes) {
  Task& task = newTask();
  task.piece = std::move(*pending_);
  pending_.reset();
  task.buffer = task.data = buffer;
  task.bufferBytes = bytes;
  task.stage = Task::Stage::read;
  task.begunAt = Clock::now();
  const Range source = sourceRead(task.piece), target = targetRead(task.piece);
  if (source.length == 0 && target.length == 0) return startTrim(task);
  const uint64_t offset = task.piece.range.offset;
  if (source.length > 0) {
    task.data = buffer + (offset - source.offset);
    send(*pick(Side::source), Op::read, source, buffer, &task);
  }
  if (target.length > 0) {
    uint8_t* targetBuffer = buffer + source.length;
    task.targetData = targetBuffer + (offset - target.offset);
    send(*pick(Side::target), Op::read, target, targetBuffer, &task);
  }
}

void Loop::reap() {
  while (!completed_.empty()) {
    reaping_.swap(completed_);
    for (Command* command : reaping_) {
      finished(*command);
      freeCommands_.push_back(command);
    }
    reaping_.clear();
    writeWaiting();
  }
}

void Loop::writeWaiting() {
  const size_t limit = job_.planWrites_ * std::max(inUse(Side::target), 1u);
  while (!waiting_.empty() && writing_ < limit) {
    Task& task = *waiting_.front();
    waiting_.pop_front();
    writeOut(task);
  }
  if (!waiting_.empty()) job_.writesHeld_.store(true, std::memory_order_relaxed);
}

void Loop::finished(Command& command) {
  if (command.window != nullptr) return windowAnswer(command);
  if (command.task == nullptr) return flushAnswer(command);
  Task& task = *command.task;
  if (command.trial)
    job_.zeroProof_.answered(command.proof ? ZeroProof::Way::read : ZeroProof::Way::write,
                             command.length, command.issuedAt);
  count(command);
  if (command.proof && !command.lost) {
    proofAnswer(task, command);
  } else if (command.error == 0) {
    if (command.op == Op::read && command.side == Side::source) {
      job_.health_[0].success();
      task.readAt = Clock::now();
      job_.sawReadLatency(task.readAt - command.issuedAt);
    } else if (command.op == Op::write) {
      task.writtenBytes += command.length;
      job_.sawWriteLatency(Clock::now() - command.issuedAt, command.length);
    } else if (command.op == Op::zero && !command.fastZero) {
      task.writtenBytes += command.length;
    }
  } else if (command.op == Op::zero && !command.lost && zeroRefused(task, command)) {
    return;
  } else if (command.op == Op::trim && !command.lost) {
    // A failed trim is no failure: the zeroes are written.
    job_.canTrim_ = false;
    task.trimFailed = true;
  } else if (!task.failed) {
    task.failed = true;
    task.lost = command.lost;
    task.side = command.side;
    task.op = command.op;
    task.error = command.error;
    task.failedRange = {command.offset, command.length};
    task.message = !command.message.empty() ? command.message
                   : command.lost           ? command.connection->message()
                                            : std::string();
    // The next try goes over a fresh connection, but not a new one for every request.
    if (!command.lost && Clock::now() - command.connection->startedAt() > milliseconds{1000})
      command.connection->retiring = true;
  }
  assert(task.pending > 0);
  if (--task.pending == 0) advance(task);
}

// Every request that a server has carried out counts, once, whatever becomes of its piece: of a job that
// fails or is aborted, too.
void Loop::count(const Command& command) {
  if (command.error != 0) return;
  Stats& stats = job_.stats_;
  if (command.op == Op::read && command.side == Side::source) {
    stats.readBytes += command.length;
    stats.reads++;
  } else if (command.op == Op::read) {
    stats.targetReadBytes += command.length;
  } else if (command.op == Op::write) {
    stats.writtenBytes += command.length;
  } else if (command.op == Op::zero) {
    stats.zeroedBytes += command.length;
  }
}

// All requests of the task's stage have been answered.
void Loop::advance(Task& task) {
  if (task.failed) return retire(task);
  const Range& range = task.piece.range;
  switch (task.stage) {
    case Task::Stage::read:
      if (job_.options_.mode == Mode::compare) return compare(task);
      waiting_.push_back(&task);
      return;
    case Task::Stage::trim: {
      Connection* target = pick(Side::target);
      if (target == nullptr) return putBack(task);
      task.stage = task.trimFailed ? Task::Stage::write : Task::Stage::readback;
      if (task.trimFailed) {
        std::memset(task.data, 0, range.length);
        send(*target, Op::write, range, task.data, &task);
      } else {
        send(*target, Op::read, range, task.data, &task);
      }
      return;
    }
    case Task::Stage::readback: {
      if (isZero(task.data, range.length)) {
        job_.stats_.zeroedBytes += range.length;
        return complete(task, true);
      }
      // This server's trim does not zero. It is not tried again.
      if (job_.canTrim_.exchange(false))
        job_.note(Side::target, "trimmed ranges do not read as zero; zeroes are written as data");
      Connection* target = pick(Side::target);
      if (target == nullptr) return putBack(task);
      std::memset(task.data, 0, range.length);
      task.stage = Task::Stage::write;
      job_.lastZeroMethod_ = static_cast<int>(ZeroMethod::data);
      send(*target, Op::write, range, task.data, &task);
      return;
    }
    case Task::Stage::write:
      return complete(task, true);
  }
}

// The data was read: zeroes the cheapest way, the rest as it is.
void Loop::writeOut(Task& task) {
  if (!hasReady(Side::target)) return putBack(task);
  task.stage = Task::Stage::write;
  task.counter = &writing_;
  ++writing_;
  const Piece& piece = task.piece;
  if (isTail(piece)) {
    task.segments.push_back({piece.range, false});
    std::memcpy(task.targetData, task.data, piece.range.length);
    const Range block = targetRead(piece);
    send(*pick(Side::target), Op::write, block,
         task.targetData - (piece.range.offset - block.offset), &task);
    return;
  }
  const ZeroMethod method = piece.targetZero ? ZeroMethod::skip : job_.zeroMethod();
  const bool cuts = method != ZeroMethod::trim && method != ZeroMethod::data;
  const uint64_t granule = std::max(kZeroGranule, job_.target_.minimumBlockBytes);
  const Range whole[] = {piece.range};
  const Range* parts = piece.wanted.empty() ? whole : piece.wanted.data();
  const size_t count = piece.wanted.empty() ? 1 : piece.wanted.size();
  for (size_t i = 0; i < count; i++) {
    const uint8_t* data = task.data + (parts[i].offset - piece.range.offset);
    if (cuts) splitZeroes(data, parts[i].offset, parts[i].length, granule, kZeroRunMinimum, task.segments);
    else task.segments.push_back({parts[i], isZero(data, parts[i].length)});
  }
  if (!cuts && count == 1 && task.segments[0].zero) return startTrim(task);
  task.pending = 1;  // held, so that the task cannot finish while it is being sent
  for (const Segment& segment : task.segments) {
    uint8_t* data = task.data + (segment.range.offset - piece.range.offset);
    if (segment.zero && method == ZeroMethod::skip) {
      job_.stats_.skippedBytes += segment.range.length;
      job_.lastZeroMethod_ = static_cast<int>(ZeroMethod::skip);
    } else if (segment.zero && cuts) {
      if (job_.mayProve() && job_.zeroProof_.choose(false).way == ZeroProof::Way::read)
        prove(task, segment.range, data);
      else sendZero(task, segment.range);
    } else if (Connection* target = pick(Side::target)) {
      send(*target, Op::write, segment.range, data, &task);
    } else {
      lostWhileSending(task, segment.range);
    }
  }
  if (--task.pending == 0) advance(task);
}

void Loop::compare(Task& task) {
  const Range& range = task.piece.range;
  const uint8_t* source = task.data;
  const uint8_t* target = task.targetData;
  bool equal = task.piece.zero ? isZero(target, range.length)
                               : std::memcmp(source, target, range.length) == 0;
  for (uint64_t at = 0; !equal && at < range.length; at += kCompareGranule) {
    uint64_t length = std::min(kCompareGranule, range.length - at);
    bool same = task.piece.zero ? isZero(target + at, length)
                                : std::memcmp(source + at, target + at, length) == 0;
    if (!same) job_.difference({range.offset + at, length});
  }
  job_.stats_.comparedBytes += range.length;
  task.segments.assign(1, {range, task.piece.zero});
  complete(task, false);
}

// Success of one piece: told to JS, and remembered until a flush has made it durable.
void Loop::complete(Task& task, bool needsFlush) {
  // Logged before it is told: a checkpoint must cover all that was told before it.
  job_.durability_->complete(task.piece, needsFlush, task.writtenBytes);
  if (!task.piece.reported) {
    for (const Segment& segment : task.segments)
      job_.events_.chunk(segment.range, task.piece.zero  ? ChunkKind::hole
                                        : segment.zero   ? ChunkKind::zero
                                                         : ChunkKind::data);
  }
  if (task.readAt != TimePoint{})
    job_.delivered(task.piece, task.readAt - task.begunAt, Clock::now() - task.begunAt);
  release(task);
  if (activeTasks_ == 0 && job_.work_->drained()) job_.poke();
}

// A piece that could not go on for want of a connection: taken again later, nothing counted.
void Loop::putBack(Task& task) {
  job_.work_->putBack(std::move(task.piece));
  release(task);
  if (job_.loops_.size() > 1) job_.wakeLoops();
}

void Loop::lostWhileSending(Task& task, const Range& range) {
  if (task.failed) return;
  task.failed = task.lost = true;
  task.side = Side::target;
  task.op = Op::write;
  task.error = ENOTCONN;
  task.failedRange = range;
  task.message = "no connection to the target";
}

void Loop::flushAnswer(Command& command) {
  job_.durability_->flushAnswered(Clock::now());
  const bool retirement = command.offset == 0;
  if (retirement) {
    if (command.error == 0) command.connection->retireFlushed = true;
    else if (!command.lost) command.connection->close(command.error, "the flush before closing failed");
    return;
  }
  if (command.error != 0) flushFailed_ = true;
  if (command.error != 0 && !command.lost) job_.flushTrouble(command.error);
  if (--flushPending_ == 0) job_.flushDone(!flushFailed_);
}

void Loop::send(Connection& connection, Op op, const Range& range, uint8_t* buffer, Task* task) {
  Command& command = newCommand();
  command.op = op;
  command.offset = range.offset;
  command.length = range.length;
  command.buffer = buffer;
  command.task = task;
  if (task != nullptr) task->pending++;
  connection.submit(command);
}

bool Loop::isTail(const Piece& piece) const { return piece.range.offset >= job_.tailStart_; }

// What is read of the source for a piece; empty: nothing.
Range Loop::sourceRead(const Piece& piece) const {
  if (piece.zero) return {};
  return wholeBlocks(piece.range, job_.source_.minimumBlockBytes, job_.source_.sizeBytes);
}

// The same of the target: to compare, and what lies behind the disk in the disk's last block.
Range Loop::targetRead(const Piece& piece) const {
  if (job_.options_.mode == Mode::copy && !isTail(piece)) return {};
  return wholeBlocks(piece.range, job_.target_.minimumBlockBytes, job_.target_.sizeBytes);
}

size_t Loop::bufferBytesFor(const Piece& piece) const {
  return std::max(sourceRead(piece).length + targetRead(piece).length, piece.range.length);
}

}  // namespace engine
