#include "request_size.h"

namespace engine {

namespace {

constexpr milliseconds kLook{200};
constexpr uint64_t kBytesLookedAt = 8 * kMiB;
// The mean of all writes. Where this was measured, nbd-server and qemu-nbd answered within 1 to 8 ms,
// through a TLS tunnel within 9 to 40 ms.
constexpr double kSlowUs = 8000;
// A larger request takes longer in itself. A quick target that was taken for a slow one stays below.
constexpr double kSlowStillUs = 4000.0 * RequestSize::kUsual / RequestSize::kNear;

}  // namespace

void RequestSize::look(const Seen& seen) {
  if (most_ <= kNear) return;
  slow_ = targetIsSlow(seen);
  now_ = seen.carried >= kEnough && !slow_ ? kNear : most_;
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
