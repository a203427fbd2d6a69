#include "work_list.h"

#include <algorithm>
#include <cassert>

namespace engine {

namespace {

constexpr size_t kWantedMaximum = 16 * 1024;       // extents held before JS has to wait
constexpr size_t kWindowExtentsMaximum = 16 * 1024;
constexpr unsigned kWindowsMaximum = 3;
constexpr size_t kReadyPiecesMaximum = 64 * 1024;
// A hole smaller than this costs more as a request than as bytes; the zero scan finds it anyway.
constexpr uint64_t kSmallHole = 64 * kKiB;
// Asking for extents pays only where much of the stretch is wanted.
constexpr uint64_t kAskMinimumBytes = 2 * kMiB;
constexpr uint64_t kAskDensity = 8;

// What extents say of one range after another, searched from `index` onwards.
struct ZeroCursor {
  const std::vector<Extent>& extents;
  const uint64_t blockBytes;
  size_t index = 0;

  // The end of the run that begins at `offset`, the beginning of a block, and whether it is zero: every
  // byte of its blocks. Ends with a block or at `end`.
  uint64_t run(uint64_t offset, uint64_t end, bool& zero) {
    const uint64_t stop = exactRun(offset, end, zero);
    if (stop == end) return end;
    if (zero && alignDown(stop, blockBytes) > offset) return alignDown(stop, blockBytes);
    zero = false;
    return std::min(alignUp(stop, blockBytes), end);
  }

 private:
  // What the extents do not cover is not zero.
  uint64_t exactRun(uint64_t offset, uint64_t end, bool& zero) {
    while (index < extents.size() && extents[index].range.end() <= offset) index++;
    if (index == extents.size() || extents[index].range.offset > offset) {
      zero = false;
      return index == extents.size() ? end : std::min(end, extents[index].range.offset);
    }
    zero = extents[index].zero;
    uint64_t stop = extents[index].range.end();
    for (size_t next = index + 1; stop < end && next < extents.size(); next++) {
      if (extents[next].zero != zero || extents[next].range.offset != stop) break;
      stop = extents[next].range.end();
    }
    return std::min(stop, end);
  }
};

}  // namespace

uint64_t Piece::wantedBytes() const {
  if (wanted.empty()) return range.length;
  uint64_t sum = 0;
  for (const Range& part : wanted) sum += part.length;
  return sum;
}

void WorkList::add(const std::vector<Range>& extents) {
  std::lock_guard lock(mutex_);
  const uint64_t unit = options_.blockBytes;
  for (const Range& extent : extents) {
    if (extent.length == 0 || extent.offset >= options_.capacityBytes) continue;
    uint64_t start = std::max(alignDown(extent.offset, unit), plannedEnd_);
    uint64_t stop = std::min(alignUp(extent.end(), unit), options_.capacityBytes);
    if (start >= stop) continue;
    plannedEnd_ = stop;
    if (!wanted_.empty() && wanted_.back().end() == start) wanted_.back().length += stop - start;
    else wanted_.push_back({start, stop - start});
  }
}

void WorkList::end() {
  std::lock_guard lock(mutex_);
  ended_ = true;
}

bool WorkList::hungry() const {
  std::lock_guard lock(mutex_);
  return !ended_ && wanted_.size() < kWantedMaximum / 2;
}

WorkList::Planned WorkList::takeWindow(bool askSource, bool askTarget, uint64_t windowBytes,
                                       Window& window) {
  {
    std::lock_guard lock(mutex_);
    if (wanted_.empty() || windows_ >= kWindowsMaximum) return Planned::nothing;
    if (readyDataBytes_ >= options_.readyBytesMaximum) return Planned::nothing;
    if (data_.size() + zero_.size() >= kReadyPiecesMaximum) return Planned::nothing;
    window = Window();
    uint64_t stop = alignDown(wanted_.front().offset, windowBytes) + windowBytes;
    uint64_t bytes = 0;
    while (!wanted_.empty() && wanted_.front().offset < stop &&
           window.wanted.size() < kWindowExtentsMaximum) {
      Range& first = wanted_.front();
      Range part = {first.offset, std::min(first.end(), stop) - first.offset};
      window.wanted.push_back(part);
      bytes += part.length;
      if (part.length == first.length) {
        wanted_.pop_front();
      } else {
        first.offset += part.length;
        first.length -= part.length;
      }
    }
    window.span.offset = window.wanted.front().offset;
    window.span.length = window.wanted.back().end() - window.span.offset;
    bool worthwhile = bytes >= kAskMinimumBytes && bytes >= window.span.length / kAskDensity;
    window.source.ask = askSource && worthwhile;
    window.target.ask = askTarget && worthwhile;
    window.source.cursor = window.target.cursor = window.span.offset;
    windows_++;
  }
  if (window.source.ask || window.target.ask) return Planned::window;
  finishWindow(window);
  return Planned::finished;
}

void WorkList::finishWindow(const Window& window) {
  std::lock_guard lock(mutex_);
  assert(windows_ > 0);
  windows_--;
  ZeroCursor source{window.source.extents, options_.blockBytes};
  ZeroCursor target{window.target.extents, options_.blockBytes};
  for (const Range& wanted : window.wanted) {
    uint64_t at = wanted.offset;
    while (at < wanted.end()) {
      bool zero = false;
      uint64_t stop = source.run(at, wanted.end(), zero);
      if (zero && stop - at < kSmallHole && wanted.length > stop - at) zero = false;
      while (at < stop) {
        bool targetZero = false;
        uint64_t targetStop = target.run(at, stop, targetZero);
        // Small proofs are not worth cutting requests for.
        if (targetZero && targetStop - at < kSmallHole && targetStop != stop) targetZero = false;
        pushReady({at, targetStop - at}, zero, targetZero);
        at = targetStop;
      }
    }
  }
}

void WorkList::pushReady(Range range, bool zero, bool targetZero) {
  // The tail is read, patched and written; a hole there is no exception.
  if (zero && range.end() > options_.tailStart) {
    uint64_t cut = std::max(range.offset, options_.tailStart);
    if (cut > range.offset) pushReady({range.offset, cut - range.offset}, true, targetZero);
    pushReady({cut, range.end() - cut}, false, false);
    return;
  }
  std::deque<Piece>& list = zero ? zero_ : data_;
  (zero ? readyZeroBytes_ : readyDataBytes_) += range.length;
  if (!list.empty()) {
    Piece& last = list.back();
    if (last.range.end() == range.offset && last.targetZero == targetZero && !last.reported &&
        last.attempts == 0 && last.losses == 0) {
      last.range.length += range.length;
      return;
    }
  }
  Piece piece;
  piece.range = range;
  piece.zero = zero;
  piece.targetZero = targetZero;
  list.push_back(std::move(piece));
}

uint64_t WorkList::inBlocks(uint64_t limit) const {
  return std::max(alignDown(limit, options_.blockBytes), options_.blockBytes);
}

// A piece that was taken for a server that zeroes by itself may now have to fit in a buffer.
bool WorkList::takeRetry(bool zero, uint64_t limit, TimePoint now, Piece& piece) {
  for (size_t i = 0; i < retry_.size(); i++) {
    Piece& waiting = retry_[i];
    if (waiting.zero != zero || waiting.notBefore > now) continue;
    outstanding_++;
    if (waiting.range.length > limit && waiting.wanted.empty()) {
      piece = waiting;
      piece.range.length = limit;
      waiting.range.offset += limit;
      waiting.range.length -= limit;
      return true;
    }
    piece = std::move(waiting);
    retry_.erase(retry_.begin() + i);
    return true;
  }
  return false;
}

bool WorkList::takeData(uint64_t limit, uint64_t gap, TimePoint now, Piece& piece) {
  std::lock_guard lock(mutex_);
  limit = inBlocks(limit);
  if (takeRetry(false, limit, now, piece)) return true;
  if (data_.empty()) return false;
  Piece& first = data_.front();
  piece = Piece();
  piece.targetZero = first.targetZero;
  piece.reported = first.reported;
  piece.attempts = first.attempts;
  piece.losses = first.losses;
  uint64_t start = first.range.offset;
  uint64_t stop = first.range.end();
  if (start < options_.tailStart) stop = std::min(stop, options_.tailStart);
  // Cut on multiples of the limit, so that later pieces are aligned.
  if (stop - start > limit) stop = alignDown(start, limit) + limit;
  piece.range = {start, stop - start};
  readyDataBytes_ -= stop - start;
  if (stop < first.range.end()) {
    first.range.length = first.range.end() - stop;
    first.range.offset = stop;
  } else {
    data_.pop_front();
    while (!data_.empty() && start < options_.tailStart) {
      Piece& next = data_.front();
      bool alike = next.targetZero == piece.targetZero && next.reported == piece.reported &&
                   next.attempts == piece.attempts && next.losses == piece.losses;
      if (!alike || next.range.offset < stop || next.range.offset - stop > gap) break;
      if (next.range.end() - start > limit || next.range.end() > options_.tailStart) break;
      if (next.range.offset == stop) {
        if (!piece.wanted.empty()) piece.wanted.back().length += next.range.length;
      } else {
        if (piece.wanted.empty()) piece.wanted.push_back({start, stop - start});
        piece.wanted.push_back(next.range);
      }
      stop = next.range.end();
      readyDataBytes_ -= next.range.length;
      data_.pop_front();
    }
    piece.range.length = stop - start;
  }
  outstanding_++;
  return true;
}

bool WorkList::takeZero(uint64_t limit, TimePoint now, Piece& piece) {
  std::lock_guard lock(mutex_);
  limit = inBlocks(limit);
  if (takeRetry(true, limit, now, piece)) return true;
  if (zero_.empty()) return false;
  Piece& first = zero_.front();
  if (first.range.length <= limit) {
    piece = std::move(first);
    zero_.pop_front();
  } else {
    uint64_t stop = alignDown(first.range.offset, limit) + limit;
    piece = first;
    piece.range.length = stop - first.range.offset;
    first.range.length = first.range.end() - stop;
    first.range.offset = stop;
  }
  readyZeroBytes_ -= piece.range.length;
  outstanding_++;
  return true;
}

bool WorkList::dataReady() const {
  std::lock_guard lock(mutex_);
  return !data_.empty();
}

uint64_t WorkList::zeroBytesReady() const {
  std::lock_guard lock(mutex_);
  return readyZeroBytes_;
}

uint64_t WorkList::outstanding() const {
  std::lock_guard lock(mutex_);
  return outstanding_;
}

TimePoint WorkList::nextRetry(TimePoint now) const {
  std::lock_guard lock(mutex_);
  TimePoint first = TimePoint::max();
  for (const Piece& piece : retry_)
    if (piece.notBefore > now) first = std::min(first, piece.notBefore);
  return first;
}

void WorkList::complete() {
  std::lock_guard lock(mutex_);
  assert(outstanding_ > 0);
  outstanding_--;
}

void WorkList::requeue(Piece&& piece) {
  std::lock_guard lock(mutex_);
  assert(outstanding_ > 0);
  outstanding_--;
  retry_.push_back(std::move(piece));
}

void WorkList::putBack(Piece&& piece) {
  piece.notBefore = TimePoint{};
  requeue(std::move(piece));
}

void WorkList::copyAgain(const Range& range, bool zero) {
  std::lock_guard lock(mutex_);
  Piece piece;
  piece.range = range;
  piece.zero = zero;
  piece.reported = true;
  (zero ? readyZeroBytes_ : readyDataBytes_) += range.length;
  (zero ? zero_ : data_).push_front(std::move(piece));
}

bool WorkList::drained() const {
  std::lock_guard lock(mutex_);
  return ended_ && wanted_.empty() && windows_ == 0 && data_.empty() && zero_.empty() &&
         retry_.empty() && outstanding_ == 0;
}

}  // namespace engine
