// The one block of memory that all copies of a run read into. Its size is fixed at the start;
// what does not fit waits. Cut in 64 KiB units, so that many small requests can be in flight.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

#include "types.h"

namespace engine {

class BufferPool {
 public:
  explicit BufferPool(size_t bytes);
  ~BufferPool();
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;

  // A job's claim: while several jobs run, none holds more than its even part.
  class Share {
   public:
    explicit Share(BufferPool& pool);
    ~Share();
    Share(const Share&) = delete;
    Share& operator=(const Share&) = delete;

    // That it holds no more than this either, for what is planned; one request it may always have.
    void limit(uint64_t bytes);

   private:
    friend class BufferPool;
    BufferPool& pool_;
    size_t units_ = 0;    // all that it holds
    size_t planned_ = 0;  // of these, what the limit is about
    size_t limit_ = SIZE_MAX;
  };

  // Of what flows all the time, a plan says how much there is at once; what is needed beside it would find that
  // taken for good.
  enum class Use { planned, beside };

  // Null when there is no room now; then `waiter` is woken when something was given back.
  uint8_t* take(size_t length, Use use, Share& share, Waker& waiter);
  // Wakes those who wait, but for `giver`, which looks by itself.
  void give(uint8_t* buffer, size_t length, Use use, Share& share, const Waker* giver);
  // A waiter that goes away must say so.
  void forget(const Waker& waiter);

  size_t bytes() const { return units_.size() * kUnit; }
  // How many have a share now, at least one.
  unsigned jobs();

 private:
  static constexpr size_t kUnit = 64 * kKiB;

  size_t find(size_t count) const;
  void wakeAll(const Waker* giver);

  std::mutex mutex_;
  uint8_t* memory_ = nullptr;
  std::vector<uint8_t> units_;  // 1: taken
  unsigned jobs_ = 0;
  std::vector<Waker*> waiters_;
};

}  // namespace engine
