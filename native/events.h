// What a job tells the outside, in order. Filled by the job's threads, emptied by whoever listens.
#pragma once

#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "types.h"

namespace engine {

struct Event {
  enum class Type { chunks, checkpoint, retry, note, hungry };
  Type type = Type::chunks;
  std::vector<double> chunks;  // offset, length, kind, …
  Side side = Side::source;
  std::string message;
  unsigned attempt = 0;
  bool hasRange = false;
  Range range;
};

class EventQueue {
 public:
  // `notify` is called, from any thread, when the queue stops being empty.
  explicit EventQueue(std::function<void()> notify) : notify_(std::move(notify)) {}

  // Chunks gather until publish(): one call to JS for many of them. Between hold() and release()
  // they wait, so that a checkpoint is never behind chunks that it does not cover.
  void chunk(const Range& range, ChunkKind kind);
  void hold();
  void release();
  void publish();

  void post(Event event);
  std::vector<Event> take();
  // The listener does not keep up: produce no more for now.
  bool full() const;

 private:
  void notifyOnce(std::unique_lock<std::mutex>& lock);

  mutable std::mutex mutex_;
  std::function<void()> notify_;
  bool notified_ = false;
  bool holding_ = false;
  std::vector<double> gathering_;
  std::vector<double> held_;
  std::vector<Event> events_;
  size_t queuedValues_ = 0;
};

}  // namespace engine
