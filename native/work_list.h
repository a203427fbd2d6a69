// What is left to copy, shared by all loops of a job. Every byte of the job is in exactly one place at
// any time: wanted, in a window, ready, outstanding (taken by a loop), waiting to be tried again, or out
// of here: unflushed (durability.h) or done. Two requests that overlap can therefore never be in flight.
#pragma once

#include <deque>
#include <mutex>
#include <vector>

#include "types.h"

namespace engine {

// A part of the disk that is taken, copied and tried again as a whole.
struct Piece {
  Range range;
  bool zero = false;        // the source's extents said that it reads as zero
  bool targetZero = false;  // the target's extents proved that it is zero there
  bool reported = false;    // JS was told about it before; it is copied again after a loss
  unsigned attempts = 0;    // how often it failed by itself
  unsigned losses = 0;      // how often its connection went away
  TimePoint firstFailed{};
  TimePoint notBefore{};
  std::vector<Range> wanted;  // of a read across gaps: what is copied; empty: all of it

  uint64_t wantedBytes() const;
};

struct Extent {
  Range range;
  bool zero;
};

// A stretch whose extents are asked before it is read. Belongs to one loop until it is finished.
struct Window {
  struct Map {
    bool ask = false;     // there is more to ask
    bool asking = false;  // a request is in flight
    uint64_t cursor = 0;  // everything before it is known
    std::vector<Extent> extents;
  };
  Range span;
  std::vector<Range> wanted;
  Map source;
  Map target;
};

class WorkList {
 public:
  struct Options {
    uint64_t capacityBytes = 0;
    // The blocks that both sides take. Pieces consist of whole ones, but at the end of the disk: two in
    // one block would be in flight together, and a server that reads, patches and writes it loses one.
    uint64_t blockBytes = 512;
    // From here to the capacity is one piece, for which the target needs a wider write; equal to the
    // capacity if it does not.
    uint64_t tailStart = 0;
    uint64_t readyBytesMaximum = 64 * kMiB;
  };

  explicit WorkList(const Options& options) : options_(options) {}

  // Sorted, disjoint ranges after all earlier ones. What lies behind the capacity is dropped.
  void add(const std::vector<Range>& extents);
  void end();
  // Time to hand over more extents.
  bool hungry() const;

  // False: nothing to plan now. A window that asks nothing is already finished when this returns.
  enum class Planned { nothing, finished, window };
  Planned takeWindow(bool askSource, bool askTarget, uint64_t windowBytes, Window& window);
  void finishWindow(const Window& window);

  // Takes a piece of at most `limit` bytes or one block, merged across gaps of up to `gap` bytes.
  bool takeData(uint64_t limit, uint64_t gap, TimePoint now, Piece& piece);
  bool takeZero(uint64_t limit, TimePoint now, Piece& piece);
  // How many pieces are taken and neither done nor put back.
  uint64_t outstanding() const;
  // When the first piece that has to wait before it is tried again may go; TimePoint::max() if none
  // has to. What may go already waits for a connection or a buffer, and these wake the loop.
  TimePoint nextRetry(TimePoint now) const;

  // Whether data waits to be taken.
  bool dataReady() const;
  // How much waits to be taken as zeroes.
  uint64_t zeroBytesReady() const;

  // Each taken piece ends in exactly one of these.
  void complete();  // by way of Durability
  void requeue(Piece&& piece);
  void putBack(Piece&& piece);  // untouched, to the front

  // What was complete, and JavaScript was told of, is to be copied once more.
  void copyAgain(const Range& range, bool zero);

  // Nothing is left to copy.
  bool drained() const;

 private:
  uint64_t inBlocks(uint64_t limit) const;
  void pushReady(Range range, bool zero, bool targetZero);
  bool takeRetry(bool zero, uint64_t limit, TimePoint now, Piece& piece);

  const Options options_;
  mutable std::mutex mutex_;
  std::deque<Range> wanted_;
  bool ended_ = false;
  uint64_t plannedEnd_ = 0;
  unsigned windows_ = 0;
  std::deque<Piece> data_;
  std::deque<Piece> zero_;
  uint64_t readyDataBytes_ = 0;
  uint64_t readyZeroBytes_ = 0;
  std::vector<Piece> retry_;
  uint64_t outstanding_ = 0;
};

}  // namespace engine
