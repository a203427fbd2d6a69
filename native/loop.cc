// The loop itself and its connections. What is done with the data: loop_tasks.cc.
#include "loop.h"

#include <sched.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace engine {

namespace {

// Long enough for a server under load to answer what it has begun, short enough for an abort
// within a second.
constexpr milliseconds kDrain{700};
constexpr milliseconds kDisconnect{100};
constexpr milliseconds kSleepMaximum{500};
// How late it is seen that writing may go on.
constexpr milliseconds kDeadlineLook{50};

bool takesWork(const Connection& connection) {
  return connection.state() == Connection::State::ready && !connection.retiring && !connection.parked;
}

}  // namespace

Loop::Loop(Copier& job, unsigned index) : job_(job), index_(index) {
  wakeFd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

Loop::~Loop() {
  join();
  if (wakeFd_ != -1) ::close(wakeFd_);
}

void Loop::adopt(std::unique_ptr<Connection> connection) {
  connection->moveTo(completed_);
  job_.connectionReady(connection->side());
  connections(connection->side()).push_back(std::move(connection));
}

void Loop::start() {
  thread_ = std::thread([this] { run(); });
}

void Loop::join() {
  if (thread_.joinable()) thread_.join();
}

void Loop::wake() {
  uint64_t one = 1;
  // A full counter means that it is awake already.
  [[maybe_unused]] ssize_t written = write(wakeFd_, &one, sizeof one);
}

void Loop::run() {
  // Bulk work: when an answer arrives, it does not interrupt a server that works on this processor, so
  // that more of them are seen to at once. Where that is not granted, nothing is lost.
  const sched_param none{};
  sched_setscheduler(0, SCHED_BATCH, &none);
  while (!job_.over()) step();
  finishUp();
}

void Loop::step() {
  TimePoint now = Clock::now();
  wakeAt_ = now + kSleepMaximum;
  reap();
  removeDead(now);
  if (job_.held()) {
    waitForDeadline(now);
  } else {
    maintain(now);
    answerFlush();
    issue(now);
  }
  // A submission may have failed at once: then there is something to do before sleeping.
  if (completed_.empty()) sleep();
  checkStalls(Clock::now());
}

// No reads, no writes, no new connections; what is on its way to a target stands still.
void Loop::waitForDeadline(TimePoint now) {
  disturbed();
  wakeAt_ = std::min(wakeAt_, now + kDeadlineLook);
  for (auto& connection : connections(Side::target)) connection->excuse(now);
}

void Loop::sleep() {
  polled_.clear();
  fds_.assign(1, {wakeFd_, POLLIN, 0});
  for (Connections& list : connections_) {
    for (auto& connection : list) {
      if (connection->fd() == -1) continue;
      fds_.push_back({connection->fd(), connection->pollEvents(), 0});
      polled_.push_back(connection.get());
      if (connection->relayFd() == -1) continue;
      fds_.push_back({connection->relayFd(), connection->relayEvents(), 0});
      polled_.push_back(connection.get());
    }
  }
  auto wait = std::chrono::ceil<milliseconds>(wakeAt_ - Clock::now()).count();
  int timeout = static_cast<int>(std::clamp<int64_t>(wait, 0, kSleepMaximum.count()));
  if (poll(fds_.data(), fds_.size(), timeout) <= 0) return;
  if (fds_[0].revents != 0) {
    uint64_t wakes;
    [[maybe_unused]] ssize_t got = read(wakeFd_, &wakes, sizeof wakes);
  }
  for (size_t i = 0; i < polled_.size(); i++) {
    const short revents = fds_[i + 1].revents;
    if (revents == 0) continue;
    Connection& connection = *polled_[i];
    if (fds_[i + 1].fd == connection.relayFd()) {
      connection.notifyRelay();
      continue;
    }
    bool wasReady = connection.state() != Connection::State::connecting;
    connection.notify(revents);
    if (!wasReady && connection.state() == Connection::State::ready)
      job_.connectionReady(connection.side());
  }
}

// The end of the loop, for whatever reason: let the servers answer what they have begun (nbdkit
// aborts when a client vanishes with reads in flight), then say goodbye, then close.
void Loop::finishUp() {
  auto pump = [this](milliseconds time, auto busy) {
    TimePoint deadline = Clock::now() + time;
    while (Clock::now() < deadline) {
      bool any = false;
      for (Connections& list : connections_)
        for (auto& connection : list) any |= busy(*connection);
      if (!any) return;
      wakeAt_ = Clock::now() + milliseconds{20};
      sleep();
    }
  };
  pump(kDrain, [](Connection& it) { return it.inFlight() > 0 && !it.held(); });
  for (const Command* command : completed_)
    if (command->window == nullptr) count(*command);
  completed_.clear();
  for (Connections& list : connections_)
    for (auto& connection : list)
      if (connection->inFlight() == 0 && connection->state() == Connection::State::ready)
        connection->startDisconnect();
  pump(kDisconnect,
       [](Connection& connection) { return connection.state() == Connection::State::closing; });
  for (Connections& list : connections_) {
    for (auto& connection : list) connection->close(ENOTCONN, "the job is over");
    list.clear();
  }
  for (Task& task : tasks_) giveBuffer(task);
  tasks_.clear();
  job_.shared_->pool.forget(*this);
}

void Loop::maintain(TimePoint now) {
  for (Side side : {Side::source, Side::target}) {
    maintainSide(side, now);
    const Connections& list = connections(side);
    connecting_[index(side)] = std::count_if(list.begin(), list.end(), [](const auto& connection) {
      return connection->state() == Connection::State::connecting;
    });
  }
}

// As many connections as wanted: new ones when the side may be tried. Surplus ones are parked, to the source
// only those that it may spare: each is a login there, and the others retire.
void Loop::maintainSide(Side side, TimePoint now) {
  Connections& list = connections(side);
  const unsigned wanted = wanted_[index(side)];
  unsigned live = 0;
  for (auto& connection : list) {
    if (connection->retiring) continue;
    connection->parked = ++live > wanted;
    if (side == Side::source && live > wanted + spare_ && connection->state() == Connection::State::ready)
      connection->retiring = true;
  }
  for (auto& connection : list)
    if (connection->retiring) retireIdle(*connection);
  if (live >= wanted) return;
  SideHealth& health = job_.health_[index(side)];
  const bool extra = job_.ready_[index(side)] > 0;
  TimePoint allowed = health.nextAttempt();
  if (extra) allowed = std::max(allowed, health.nextExtra());
  if (now < allowed) {
    wakeAt_ = std::min(wakeAt_, allowed);
    return;
  }
  const unsigned missing = wanted - live;
  const Endpoint& endpoint = side == Side::source ? job_.options_.source : job_.options_.target;
  for (unsigned left = extra ? health.takeExtras(missing, now) : missing; left > 0; left--) {
    auto connection =
        std::make_unique<Connection>(side, endpoint, completed_, job_.deadlineFor(side));
    if (connection->state() == Connection::State::ready) job_.connectionReady(side);
    bool dead = connection->state() == Connection::State::dead;
    list.push_back(std::move(connection));
    if (dead) {
      wakeAt_ = now;
      break;
    }
  }
}

// A retiring connection closes when it is drained; a target's only after a flush, because closing
// it would leave its writes in doubt.
void Loop::retireIdle(Connection& connection) {
  if (connection.inFlight() > 0 || connection.state() != Connection::State::ready) return;
  if (connection.side() == Side::source || connection.retireFlushed ||
      !connection.info().canFlush || job_.options_.mode == Mode::compare) {
    job_.ready_[index(connection.side())]--;
    connection.startDisconnect();
    return;
  }
  sendFlush(connection, 0);
}

void Loop::removeDead(TimePoint now) {
  for (Side side : {Side::source, Side::target}) {
    Connections& list = connections(side);
    for (size_t i = 0; i < list.size();) {
      Connection& connection = *list[i];
      if (connection.state() != Connection::State::dead) {
        i++;
        continue;
      }
      auto gone = std::move(list[i]);
      list.erase(list.begin() + i);
      if (gone->wasClosing()) continue;
      unsigned which = index(side);
      if (gone->wasReady()) {
        job_.ready_[which]--;
        job_.connectionLost(side, gone->error(), gone->message());
      } else if (job_.ready_[which] > 0) {
        // The server does not want one more; those that are there go on.
        job_.health_[which].extraRefused(now);
        job_.extraRefused(side, gone->message());
      } else {
        job_.connectionLost(side, gone->error(), gone->message());
      }
    }
  }
}

// When a request that is still unanswered is one too long. A flush takes as long as there is to write in
// the target's caches: it has a limit of its own, and what is sent beside it waits as long.
TimePoint Loop::deadlineOf(const Connection& connection) const {
  const Durability::Options& limits = job_.options_.durability;
  if (connection.flushes() > 0) return connection.flushSentAt() + limits.flushTimeout;
  const TimePoint deadline = connection.lastProgress() + limits.stallTimeout;
  if (connection.side() == Side::source) return deadline;
  return std::max(deadline, job_.durability_->patientUntil());
}

void Loop::checkStalls(TimePoint now) {
  const Durability::Options& limits = job_.options_.durability;
  for (Connections& list : connections_) {
    for (auto& connection : list) {
      bool waiting = connection->state() == Connection::State::connecting ||
                     connection->state() == Connection::State::closing || connection->inFlight() > 0;
      if (!waiting || connection->held() || now < deadlineOf(*connection)) continue;
      const bool flushes = connection->flushes() > 0;
      const milliseconds limit = flushes ? limits.flushTimeout : limits.stallTimeout;
      connection->close(ETIMEDOUT, std::string("the ") + sideName(connection->side()) +
                                       (flushes ? " did not finish a flush within "
                                                : " did not answer for ") +
                                       std::to_string(limit.count()) + " ms");
    }
  }
}

unsigned Loop::inUse(Side side) {
  const Connections& list = connections(side);
  return std::count_if(list.begin(), list.end(), [](const auto& it) { return takesWork(*it); });
}

Connection* Loop::pick(Side side, size_t readsMaximum, uint64_t readBytesMaximum) {
  Connection* best = nullptr;
  for (auto& connection : connections(side)) {
    if (!takesWork(*connection)) continue;
    if (connection->reads() >= readsMaximum || connection->readBytes() >= readBytesMaximum) continue;
    if (best == nullptr || connection->inFlight() < best->inFlight()) best = connection.get();
  }
  return best;
}

bool Loop::hasReady(Side side) { return pick(side) != nullptr; }

// `round` 0: only so that the connection may be closed.
void Loop::sendFlush(Connection& connection, uint64_t round) {
  Command& command = newCommand();
  command.op = Op::flush;
  command.offset = round;
  job_.durability_->flushSent(Clock::now());
  connection.submit(command);
}

// Each flush round is answered once, when all of this loop's target connections have flushed.
void Loop::answerFlush() {
  const uint64_t number = job_.durability_->round();
  if (flushSeen_ == number || flushPending_ > 0) return;
  flushSeen_ = number;
  flushFailed_ = false;
  flushPending_ = 1;  // held, so that a submission that fails at once does not answer early
  for (auto& connection : connections(Side::target)) {
    // Died since the last look: its writes are in doubt, which removeDead() has yet to say.
    if (connection->state() == Connection::State::dead && connection->wasReady() &&
        !connection->wasClosing())
      flushFailed_ = true;
    if (connection->state() != Connection::State::ready || !connection->info().canFlush) continue;
    flushPending_++;
    sendFlush(*connection, number);
  }
  if (--flushPending_ == 0) job_.flushDone(!flushFailed_);
}

}  // namespace engine
