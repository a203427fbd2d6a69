#include "events.h"

namespace engine {

namespace {

constexpr size_t kValuesMaximum = 3 * 64 * 1024;
constexpr size_t kPublishValues = 3 * 4096;

void append(std::vector<double>& chunks, const Range& range, ChunkKind kind) {
  const double number = static_cast<double>(kind);
  if (!chunks.empty()) {
    double* last = chunks.data() + chunks.size() - 3;
    if (last[2] == number && last[0] + last[1] == static_cast<double>(range.offset)) {
      last[1] += static_cast<double>(range.length);
      return;
    }
  }
  chunks.push_back(static_cast<double>(range.offset));
  chunks.push_back(static_cast<double>(range.length));
  chunks.push_back(number);
}

}  // namespace

void EventQueue::chunk(const Range& range, ChunkKind kind) {
  bool many;
  {
    std::lock_guard lock(mutex_);
    std::vector<double>& list = holding_ ? held_ : gathering_;
    append(list, range, kind);
    many = !holding_ && list.size() >= kPublishValues;
  }
  if (many) publish();
}

void EventQueue::hold() {
  publish();
  std::lock_guard lock(mutex_);
  holding_ = true;
}

void EventQueue::release() {
  std::lock_guard lock(mutex_);
  holding_ = false;
  if (gathering_.empty()) gathering_.swap(held_);
  else gathering_.insert(gathering_.end(), held_.begin(), held_.end());
  held_.clear();
}

void EventQueue::publish() {
  std::unique_lock lock(mutex_);
  if (gathering_.empty()) return;
  Event event;
  event.chunks.swap(gathering_);
  queuedValues_ += event.chunks.size();
  events_.push_back(std::move(event));
  notifyOnce(lock);
}

void EventQueue::post(Event event) {
  std::unique_lock lock(mutex_);
  events_.push_back(std::move(event));
  notifyOnce(lock);
}

void EventQueue::notifyOnce(std::unique_lock<std::mutex>& lock) {
  if (notified_) return;
  notified_ = true;
  lock.unlock();
  notify_();
}

std::vector<Event> EventQueue::take() {
  std::lock_guard lock(mutex_);
  notified_ = false;
  queuedValues_ = 0;
  return std::move(events_);
}

bool EventQueue::full() const {
  std::lock_guard lock(mutex_);
  return queuedValues_ + gathering_.size() + held_.size() > kValuesMaximum;
}

}  // namespace engine
