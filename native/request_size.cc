#include "request_size.h"

#include <algorithm>

namespace engine {

namespace {

constexpr milliseconds kLook{200};
constexpr uint64_t kBytesLookedAt = 8 * kMiB;
// The mean of all writes. Where this was measured, nbd-server and qemu-nbd answered within 1 to 8 ms,
// through a TLS tunnel within 9 to 40 ms.
constexpr double kSlowUs = 8000;
// A larger request takes longer in itself. A quick target that was taken for a slow one stays below.
constexpr double kSlowStillUs = 4000.0 * RequestSize::kUsual / RequestSize::kNear;
// Who takes longer for his quickest answer is not far away: the line is narrow, and more under way
// would only wait, in the end for so long that the server counts as lost.
constexpr uint64_t kFarthestUs = 50000;

}  // namespace

void RequestSize::look(const Seen& seen) {
  if (most_ <= kNear) return;
  slow_ = targetIsSlow(seen);
  auto carriesEnough = [&seen](uint64_t bytes) {
    return seen.atWork * bytes * 1e6 / std::max<uint64_t>(seen.latencyUs, 1) >= kEnough;
  };
  uint64_t bytes = kUsual;
  if (carriesEnough(kNear) && !slow_) bytes = kNear;
  else if (!carriesEnough(kUsual) && seen.atWork * kUsual < seen.memoryBytes &&
           seen.latencyUs < kFarthestUs)
    bytes = kFar;
  now_ = std::min(bytes, most_);
}

bool RequestSize::targetIsSlow(const Seen& seen) {
  const uint64_t bytes = seen.writtenBytes - writtenBytes_;
  if (seen.now - since_ < kLook || bytes < kBytesLookedAt) return slow_;
  const double meanUs = static_cast<double>(seen.writeWaited - writeWaited_) / (bytes / kKiB);
  since_ = seen.now;
  writtenBytes_ = seen.writtenBytes;
  writeWaited_ = seen.writeWaited;
  return meanUs >= (slow_ ? kSlowStillUs : kSlowUs);
}

}  // namespace engine
