// What a loop does with the data: windows of extents, pieces that are read and written, zeroes.
#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>

#include "loop.h"

namespace engine {

namespace {

constexpr size_t kReadsPerConnection = 32;
constexpr size_t kZeroTasksMaximum = 4;
constexpr uint64_t kZeroGranule = 4 * kKiB;
constexpr uint64_t kZeroRunMinimum = 16 * kKiB;
constexpr uint64_t kSkipLimit = kGiB;
constexpr uint64_t kFastZeroLimit = 128 * kMiB;
// nbd-server really writes the zeroes; measured, it does so faster in large requests.
constexpr uint64_t kWriteZeroesLimit = 128 * kMiB;
constexpr uint64_t kCompareGranule = 512;

bool isRefusal(int error) { return error == ENOTSUP || error == EINVAL || error == ENOSYS; }

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

void Loop::issue(TimePoint now) {
  if (job_.events_.full()) {
    wakeAt_ = std::min(wakeAt_, now + milliseconds{20});
    return;
  }
  // Without both sides here, another loop may have the work.
  if (!hasReady(Side::source) || !hasReady(Side::target)) {
    if (pending_) job_.work_->putBack(std::move(*pending_));
    pending_.reset();
    return;
  }
  planAhead();
  issueZeroes(now);
  // Each submission may find its connection dead, so both sides are looked at every time.
  while (pick(Side::source, kReadsPerConnection) != nullptr && hasReady(Side::target) &&
         takePending(now)) {
    size_t bytes = bufferBytesFor(*pending_);
    uint8_t* buffer = job_.shared_->pool.take(bytes, job_.share_, *this);
    if (buffer == nullptr) break;
    startPending(buffer, bytes);
  }
  wakeAt_ = std::min(wakeAt_, job_.work_->nextRetry());
}

void Loop::planAhead() {
  const bool copying = job_.options_.mode == Mode::copy;
  bool planned = false;
  for (int i = 0; i < 8; i++) {
    auto window = std::make_unique<Window>();
    auto answer = job_.work_->takeWindow(job_.useSourceExtents_, copying && job_.useTargetExtents_,
                                         job_.windowBytes_, *window);
    if (answer == WorkList::Planned::nothing) break;
    if (answer == WorkList::Planned::finished) {
      planned = true;
      continue;
    }
    Window& asked = *window;
    windows_.push_back(std::move(window));
    continueWindow(asked);
  }
  if (planned && job_.loops_.size() > 1) job_.wakeLoops();
}

// Asks for what the window does not know yet; when nothing is left to ask, hands out its pieces.
void Loop::continueWindow(Window& window) {
  for (Side side : {Side::source, Side::target}) {
    Window::Map& map = side == Side::source ? window.source : window.target;
    if (!map.ask || map.asking) continue;
    if (map.cursor >= window.span.end()) {
      map.ask = false;
      continue;
    }
    Connection* connection = pick(side, SIZE_MAX);
    if (connection == nullptr) {
      map.ask = false;  // the data is read instead
      continue;
    }
    map.asking = true;
    Command& command = newCommand();
    command.op = Op::status;
    command.offset = map.cursor;
    command.length = window.span.end() - map.cursor;
    command.window = &window;
    connection->submit(command);
  }
  if (window.source.ask || window.target.ask) return;
  job_.work_->finishWindow(window);
  std::erase_if(windows_, [&](auto& held) { return held.get() == &window; });
  if (job_.loops_.size() > 1) job_.wakeLoops();
}

void Loop::windowAnswer(Command& command) {
  Window& window = *command.window;
  const bool isSource = command.side == Side::source;
  Window::Map& map = isSource ? window.source : window.target;
  map.asking = false;
  uint64_t before = map.cursor;
  if (command.error == 0) {
    for (size_t i = 0; i + 1 < command.extents.size() && map.cursor < window.span.end(); i += 2) {
      uint64_t length = std::min(command.extents[i], window.span.end() - map.cursor);
      if (length == 0) break;
      bool zero = (command.extents[i + 1] & LIBNBD_STATE_ZERO) != 0;
      if (!map.extents.empty() && map.extents.back().zero == zero)
        map.extents.back().range.length += length;
      else
        map.extents.push_back({{map.cursor, length}, zero});
      map.cursor += length;
    }
    if (isSource) {
      job_.sourceExtentsUsed_ = true;
      job_.tuneWindow(Clock::now() - command.issuedAt);
    }
  }
  if (map.cursor == before) {
    map.ask = false;
    // A lost connection says nothing about extents; anything else means: do not ask again.
    auto& use = isSource ? job_.useSourceExtents_ : job_.useTargetExtents_;
    if (!command.lost && use.exchange(false))
      job_.note(command.side,
                command.error != 0
                    ? std::string("block status failed: ") + std::strerror(command.error)
                    : std::string("block status gave an empty answer"));
  }
  continueWindow(window);
}

// Zeroes that need no buffer: skipped, or written by the server.
void Loop::issueZeroes(TimePoint now) {
  if (job_.options_.mode == Mode::compare) return;
  for (int i = 0; i < 256; i++) {
    ZeroMethod method = job_.zeroMethod();
    if (method == ZeroMethod::trim || method == ZeroMethod::data) return;
    if (zeroTasks_ >= kZeroTasksMaximum) return;
    uint64_t limit = method == ZeroMethod::skip       ? kSkipLimit
                     : method == ZeroMethod::fastZero ? kFastZeroLimit
                                                      : kWriteZeroesLimit;
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
  task.buffer = buffer;
  task.bufferBytes = bytes;
  const Range& range = task.piece.range;
  task.stage = Task::Stage::read;
  Connection& source = *pick(Side::source, SIZE_MAX);
  Connection& target = *pick(Side::target, SIZE_MAX);
  if (job_.options_.mode == Mode::compare) {
    uint8_t* targetBuffer = buffer + (task.piece.zero ? 0 : range.length);
    if (!task.piece.zero) send(source, Op::read, range, buffer, &task);
    send(target, Op::read, range, targetBuffer, &task);
  } else if (isTail(task.piece)) {
    task.stage = Task::Stage::tail;
    send(target, Op::read, {job_.tailStart_, bytes}, buffer, &task);
  } else if (task.piece.zero) {
    startTrim(task);
  } else {
    send(source, Op::read, range, buffer, &task);
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
  }
}

void Loop::finished(Command& command) {
  if (command.window != nullptr) return windowAnswer(command);
  if (command.task == nullptr) return flushAnswer(command);
  Task& task = *command.task;
  if (command.error == 0) {
    if (command.op == Op::read && command.side == Side::source) {
      job_.stats_.readBytes += command.length;
      job_.health_[0].success();
      job_.sawLatency(Clock::now() - command.issuedAt);
    } else if (command.op == Op::write) {
      job_.stats_.writtenBytes += command.length;
    } else if (command.op == Op::zero) {
      job_.stats_.zeroedBytes += command.length;
    }
  } else if (command.op == Op::zero && !command.lost && isRefusal(command.error) &&
             zeroRefused(task, command)) {
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

// All requests of the task's stage have been answered.
void Loop::advance(Task& task) {
  if (task.failed) return retire(task);
  const Range& range = task.piece.range;
  switch (task.stage) {
    case Task::Stage::tail: {
      Connection* source = pick(Side::source, SIZE_MAX);
      if (source == nullptr) return putBack(task);
      task.stage = Task::Stage::read;
      send(*source, Op::read, range, task.buffer + (range.offset - job_.tailStart_), &task);
      return;
    }
    case Task::Stage::read:
      if (job_.options_.mode == Mode::compare) return compare(task);
      return writeOut(task);
    case Task::Stage::trim: {
      Connection* target = pick(Side::target, SIZE_MAX);
      if (target == nullptr) return putBack(task);
      task.stage = task.trimFailed ? Task::Stage::write : Task::Stage::readback;
      if (task.trimFailed) {
        std::memset(task.buffer, 0, range.length);
        send(*target, Op::write, range, task.buffer, &task);
      } else {
        send(*target, Op::read, range, task.buffer, &task);
      }
      return;
    }
    case Task::Stage::readback: {
      if (isZero(task.buffer, range.length)) {
        job_.stats_.zeroedBytes += range.length;
        return complete(task, true);
      }
      // This server's trim does not zero. It is not tried again.
      if (job_.canTrim_.exchange(false))
        job_.note(Side::target, "trimmed ranges do not read as zero; zeroes are written as data");
      Connection* target = pick(Side::target, SIZE_MAX);
      if (target == nullptr) return putBack(task);
      std::memset(task.buffer, 0, range.length);
      task.stage = Task::Stage::write;
      job_.lastZeroMethod_ = static_cast<int>(ZeroMethod::data);
      send(*target, Op::write, range, task.buffer, &task);
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
  const Piece& piece = task.piece;
  if (isTail(piece)) {
    task.segments.push_back({piece.range, false});
    send(*pick(Side::target, SIZE_MAX), Op::write, {job_.tailStart_, task.tailBytes()}, task.buffer,
         &task);
    return;
  }
  const ZeroMethod method = piece.targetZero ? ZeroMethod::skip : job_.zeroMethod();
  const bool cuts = method != ZeroMethod::trim && method != ZeroMethod::data;
  const uint64_t granule = std::max(kZeroGranule, job_.target_.minimumBlockBytes);
  const Range whole[] = {piece.range};
  const Range* parts = piece.wanted.empty() ? whole : piece.wanted.data();
  const size_t count = piece.wanted.empty() ? 1 : piece.wanted.size();
  for (size_t i = 0; i < count; i++) {
    const uint8_t* data = task.buffer + (parts[i].offset - piece.range.offset);
    if (cuts) splitZeroes(data, parts[i].offset, parts[i].length, granule, kZeroRunMinimum, task.segments);
    else task.segments.push_back({parts[i], isZero(data, parts[i].length)});
  }
  if (!cuts && count == 1 && task.segments[0].zero) return startTrim(task);
  task.pending = 1;  // held, so that the task cannot finish while it is being sent
  for (const Segment& segment : task.segments) {
    uint8_t* data = task.buffer + (segment.range.offset - piece.range.offset);
    if (segment.zero && method == ZeroMethod::skip) {
      job_.stats_.skippedBytes += segment.range.length;
      job_.lastZeroMethod_ = static_cast<int>(ZeroMethod::skip);
    } else if (segment.zero && cuts) {
      sendZero(task, segment.range);
    } else if (Connection* target = pick(Side::target, SIZE_MAX)) {
      send(*target, Op::write, segment.range, data, &task);
    } else {
      lostWhileSending(task, segment.range);
    }
  }
  if (--task.pending == 0) advance(task);
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
// range another way. False: count it as a failure.
bool Loop::zeroRefused(Task& task, Command& command) {
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

void Loop::compare(Task& task) {
  const Range& range = task.piece.range;
  const uint8_t* source = task.buffer;
  const uint8_t* target = task.buffer + (task.piece.zero ? 0 : range.length);
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
  job_.work_->complete(task.piece, needsFlush);
  if (!task.piece.reported) {
    for (const Segment& segment : task.segments)
      job_.events_.chunk(segment.range, task.piece.zero  ? ChunkKind::hole
                                        : segment.zero   ? ChunkKind::zero
                                                         : ChunkKind::data);
  }
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

// Failure of one piece: again later, or the end of the job.
void Loop::retire(Task& task) {
  Piece& piece = task.piece;
  const RetryPolicy& policy = job_.options_.retry;
  TimePoint now = Clock::now();
  if (piece.attempts == 0 && piece.losses == 0) piece.firstFailed = now;
  if (task.lost) piece.losses++;
  else piece.attempts++;
  std::string what = task.message;
  if (what.empty())
    what = std::string(sideName(task.side)) + " " + opName(task.op) + " of " +
           std::to_string(task.failedRange.length) + " bytes at " +
           std::to_string(task.failedRange.offset) + " failed: " + std::strerror(task.error);
  const bool exhausted = piece.attempts > policy.attempts ||
                         piece.losses > 3 * policy.attempts + 3 ||
                         now - piece.firstFailed > policy.maxElapsed;
  if ((!task.lost && isFinal(task.error)) || exhausted) {
    Failure failure;
    failure.code = task.side == Side::source ? "ENGINE_READ" : task.op == Op::read ? "ENGINE_READ" : "ENGINE_WRITE";
    failure.side = task.side;
    failure.error = task.error;
    failure.message = what;
    failure.hasRange = true;
    failure.range = task.failedRange;
    failure.attempts = piece.attempts + piece.losses;
    job_.fail(std::move(failure));
  } else if (!task.lost) {
    job_.stats_.retries++;
    job_.retryEvent(task.side, what, piece.attempts, &task.failedRange);
    piece.notBefore = now + RetryPolicy::backoff(piece.attempts);
  }
  job_.work_->requeue(std::move(piece));
  release(task);
}

void Loop::flushAnswer(Command& command) {
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

size_t Loop::bufferBytesFor(const Piece& piece) const {
  if (job_.options_.mode == Mode::compare) return piece.range.length * (piece.zero ? 1 : 2);
  if (isTail(piece)) return job_.target_.minimumBlockBytes;
  return piece.range.length;
}

Command& Loop::newCommand() {
  if (freeCommands_.empty()) {
    commands_.emplace_back();
    return commands_.back();
  }
  Command& command = *freeCommands_.back();
  freeCommands_.pop_back();
  command.fastZero = false;
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

// The one place where a task ends and its memory goes back.
void Loop::release(Task& task) {
  assert(task.pending == 0);
  if (task.buffer != nullptr) job_.shared_->pool.give(task.buffer, task.bufferBytes, job_.share_, this);
  if (task.countsAsZero) zeroTasks_--;
  std::vector<Segment> segments = std::move(task.segments);
  segments.clear();
  task = Task();
  task.segments = std::move(segments);
  activeTasks_--;
  freeTasks_.push_back(&task);
}

}  // namespace engine
