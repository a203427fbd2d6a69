// One thread with its own connections to both sides: takes ranges from the shared list, reads,
// looks for zeroes, writes, and sleeps in poll(). Nothing here needs a lock but what is shared.
#pragma once

#include <poll.h>

#include <deque>
#include <memory>
#include <thread>
#include <vector>

#include "copier.h"
#include "zero_scan.h"

namespace engine {

// A piece on its way. Owned by the loop's arena; ends in Loop::retire, nowhere else.
struct Task {
  enum class Stage : uint8_t { read, write, trim, readback };
  Piece piece;
  Stage stage = Stage::read;
  uint8_t* buffer = nullptr;
  size_t bufferBytes = 0;
  // In the buffer: the piece's range as the source has it, or as it is to be written, and, where the
  // target is read too, as that has it.
  uint8_t* data = nullptr;
  uint8_t* targetData = nullptr;
  TimePoint begunAt{}, readAt{};  // of a piece that is read: when it was asked for, and answered
  unsigned pending = 0;  // commands in flight
  size_t* counter = nullptr;  // of the loop: counts its kind of pieces on their way to the target
  bool trimFailed = false;
  uint64_t writtenBytes = 0;  // by the target, so far
  std::vector<Segment> segments;
  // The first thing that went wrong.
  bool failed = false;
  bool lost = false;
  Side side = Side::source;
  Op op = Op::read;
  int error = 0;
  Range failedRange;
  std::string message;
};

class Loop final : public Waker {
 public:
  Loop(Copier& job, unsigned index);
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  void adopt(std::unique_ptr<Connection> connection);
  void start();
  void join();
  void wake() override;
  // How many connections this loop should have, and how many it is making; from any thread.
  void want(Side side, unsigned count) { wanted_[index(side)] = count; }
  // And how many to the source it should not close.
  void spare(unsigned count) { spare_ = count; }
  unsigned connecting(Side side) const { return connecting_[index(side)]; }

 private:
  using Connections = std::vector<std::unique_ptr<Connection>>;
  static size_t index(Side side) { return side == Side::source ? 0 : 1; }
  Connections& connections(Side side) { return connections_[index(side)]; }

  void run();
  void step();
  void sleep();
  void finishUp();

  // Connections (loop.cc)
  void maintain(TimePoint now);
  void maintainSide(Side side, TimePoint now);
  void removeDead(TimePoint now);
  TimePoint deadlineOf(const Connection& connection) const;
  void checkStalls(TimePoint now);
  void waitForDeadline(TimePoint now);
  void retireIdle(Connection& connection);
  Connection* pick(Side side, size_t readsMaximum = SIZE_MAX, uint64_t readBytesMaximum = UINT64_MAX);
  bool hasReady(Side side);
  unsigned inUse(Side side);
  void sendFlush(Connection& connection, uint64_t round);
  void answerFlush();

  // Work (loop_tasks.cc)
  void issue(TimePoint now);
  void disturbed();
  void planAhead();
  void continueWindow(Window& window);
  void windowAnswer(Command& command);
  void issueZeroes(TimePoint now);
  bool takePending(TimePoint now);
  void startPending(uint8_t* buffer, size_t bytes);
  void reap();
  void finished(Command& command);
  void count(const Command& command);
  void advance(Task& task);
  void writeWaiting();
  void writeOut(Task& task);
  bool aloneWithZeroes() const;
  bool tryZeroesFirst(TimePoint now);
  using ZeroStep = ZeroProof::Choice;
  size_t proofsMaximum(bool alone);
  std::optional<ZeroStep> nextZeroStep(ZeroMethod method);
  Connection* targetFor(Task& task, const Range& range);
  void sendZero(Task& task, const Range& range);
  void prove(Task& task, const Range& range, uint8_t* buffer);
  void proofAnswer(Task& task, Command& command);
  bool zeroRefused(Task& task, Command& command);
  void startTrim(Task& task);
  void compare(Task& task);
  void complete(Task& task, bool needsFlush);
  void retire(Task& task);
  void putBack(Task& task);
  void lostWhileSending(Task& task, const Range& range);
  void flushAnswer(Command& command);
  void send(Connection& connection, Op op, const Range& range, uint8_t* buffer, Task* task);
  bool isTail(const Piece& piece) const;
  Range sourceRead(const Piece& piece) const;
  Range targetRead(const Piece& piece) const;
  size_t bufferBytesFor(const Piece& piece) const;

  Command& newCommand();
  Task& newTask();
  void giveBuffer(const Task& task);
  void release(Task& task);

  Copier& job_;
  const unsigned index_;
  int wakeFd_ = -1;
  std::thread thread_;
  std::array<std::atomic<unsigned>, 2> wanted_{}, connecting_{};
  std::atomic<unsigned> spare_{0};
  std::array<Connections, 2> connections_;
  // What sleep() polls: the wake-up first, then one for each of `polled_`.
  std::vector<pollfd> fds_;
  std::vector<Connection*> polled_;

  std::vector<Command*> completed_;
  std::vector<Command*> reaping_;
  std::deque<Command> commands_;
  std::vector<Command*> freeCommands_;
  std::deque<Task> tasks_;
  std::vector<Task*> freeTasks_;
  size_t activeTasks_ = 0;
  std::vector<std::unique_ptr<Window>> windows_;
  size_t zeroWrites_ = 0, proofs_ = 0;
  size_t zeroTasks() const { return zeroWrites_ + proofs_; }
  bool tryingZeroes_ = false;
  // Read, and to be written once fewer are being written.
  std::deque<Task*> waiting_;
  size_t writing_ = 0;

  std::optional<Piece> pending_;
  TimePoint pendingAt_{};

  uint64_t flushSeen_ = 0;
  unsigned flushPending_ = 0;
  bool flushFailed_ = false;
  TimePoint wakeAt_{};
};

}  // namespace engine
