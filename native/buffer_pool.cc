#include "buffer_pool.h"

#include <sys/mman.h>

#include <algorithm>
#include <new>

namespace engine {

BufferPool::BufferPool(size_t bytes) {
  size_t count = std::max<size_t>(alignUp(bytes, kUnit) / kUnit, 4 * kMiB / kUnit);
  // Mapped, not allocated: pages that were never needed are never resident.
  void* memory = mmap(nullptr, count * kUnit, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  memory_ = static_cast<uint8_t*>(memory);
  units_.assign(count, 0);
}

BufferPool::~BufferPool() { munmap(memory_, units_.size() * kUnit); }

BufferPool::Share::Share(BufferPool& pool) : pool_(pool) {
  std::lock_guard lock(pool_.mutex_);
  pool_.jobs_++;
}

BufferPool::Share::~Share() {
  std::lock_guard lock(pool_.mutex_);
  pool_.jobs_--;
  pool_.wakeAll(nullptr);
}

void BufferPool::Share::limit(uint64_t bytes) {
  std::lock_guard lock(pool_.mutex_);
  limit_ = std::max<size_t>(bytes / kUnit, 1);
  pool_.wakeAll(nullptr);
}

unsigned BufferPool::jobs() {
  std::lock_guard lock(mutex_);
  return std::max(jobs_, 1u);
}

uint8_t* BufferPool::take(size_t length, Use use, Share& share, Waker& waiter) {
  size_t count = alignUp(length, kUnit) / kUnit;
  std::lock_guard lock(mutex_);
  // A job alone with one request too large for its part still gets it: nobody may starve.
  bool inPart = share.units_ + count <= units_.size() / jobs_;
  bool inLimit = use == Use::beside || share.planned_ + count <= share.limit_;
  bool allowed = share.units_ == 0 || (inPart && inLimit);
  size_t first = allowed ? find(count) : units_.size();
  if (first == units_.size()) {
    if (std::find(waiters_.begin(), waiters_.end(), &waiter) == waiters_.end())
      waiters_.push_back(&waiter);
    return nullptr;
  }
  std::fill_n(units_.begin() + first, count, 1);
  share.units_ += count;
  if (use == Use::planned) share.planned_ += count;
  return memory_ + first * kUnit;
}

// Large requests from the bottom, small ones from the top: so the middle stays whole. The lowest
// free place first also means that the same, cached memory is used again and again.
size_t BufferPool::find(size_t count) const {
  const size_t total = units_.size();
  size_t run = 0;
  if (count >= 8) {
    for (size_t i = 0; i < total; i++) {
      run = units_[i] ? 0 : run + 1;
      if (run == count) return i + 1 - count;
    }
  } else {
    for (size_t i = total; i-- > 0;) {
      run = units_[i] ? 0 : run + 1;
      if (run == count) return i;
    }
  }
  return total;
}

void BufferPool::give(uint8_t* buffer, size_t length, Use use, Share& share, const Waker* giver) {
  size_t count = alignUp(length, kUnit) / kUnit;
  std::lock_guard lock(mutex_);
  std::fill_n(units_.begin() + (buffer - memory_) / kUnit, count, 0);
  share.units_ -= count;
  if (use == Use::planned) share.planned_ -= count;
  wakeAll(giver);
}

void BufferPool::wakeAll(const Waker* giver) {
  for (Waker* waiter : waiters_)
    if (waiter != giver) waiter->wake();
  waiters_.clear();
}

void BufferPool::forget(const Waker& waiter) {
  std::lock_guard lock(mutex_);
  std::erase(waiters_, &waiter);
}

}  // namespace engine
