// The types that every part of the engine uses: ranges of a disk, sides, failures, time, wakers.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>
#include <thread>

namespace engine {

using Clock = std::chrono::steady_clock;
using TimePoint = Clock::time_point;
using std::chrono::milliseconds;

constexpr uint64_t kKiB = 1024;
constexpr uint64_t kMiB = 1024 * kKiB;
constexpr uint64_t kGiB = 1024 * kMiB;

enum class Side { source, target };

inline const char* sideName(Side side) { return side == Side::source ? "source" : "target"; }

struct Range {
  uint64_t offset = 0;
  uint64_t length = 0;

  uint64_t end() const { return offset + length; }
};

inline uint64_t alignDown(uint64_t value, uint64_t unit) { return value - value % unit; }
inline uint64_t alignUp(uint64_t value, uint64_t unit) { return alignDown(value + unit - 1, unit); }
// How many this machine has, at least one.
inline unsigned processors() { return std::max(std::thread::hardware_concurrency(), 1u); }
// The whole blocks around a range; the last block of an export may be a partial one.
inline Range wholeBlocks(const Range& range, uint64_t blockBytes, uint64_t sizeBytes) {
  const uint64_t start = alignDown(range.offset, blockBytes);
  return {start, std::min(alignUp(range.end(), blockBytes), sizeBytes) - start};
}

// What a chunk event says about a finished range; the numbers are part of the interface to JS.
enum class ChunkKind : uint8_t { data = 0, zero = 1, hole = 2 };

// Why a job ended without success. `code` is one of the closed set in src/nbd/copy-engine/errors.ts.
struct Failure {
  std::string code;
  Side side = Side::source;
  int error = 0;  // errno, 0 when there is none
  std::string message;
  bool hasRange = false;
  Range range;
  unsigned attempts = 0;
};

// Something that sleeps and can be woken from any thread.
class Waker {
 public:
  virtual void wake() = 0;

 protected:
  ~Waker() = default;
};

}  // namespace engine
