// One job: copy or compare one export with another. run() is called on the job's own thread, which
// connects, starts the loops, decides how many connections are worth having, orders flushes, and
// decides when it is over. The loops (loop.h) do all input and output. Knows nothing of Node-API.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "buffer_pool.h"
#include "connection.h"
#include "durability.h"
#include "events.h"
#include "rate_limit.h"
#include "side_health.h"
#include "tuner.h"
#include "work_list.h"
#include "write_deadline.h"
#include "zero_proof.h"

namespace engine {

class Loop;

// More than this in one request can fail through VDDK.
constexpr uint64_t kRequestBytesMost = 2 * kMiB;

// What all jobs of a run share.
struct Shared {
  Shared(size_t memoryBytes, uint64_t bytesPerSecond) : pool(memoryBytes), rate(bytesPerSecond) {}
  BufferPool pool;
  RateLimit rate;
  WriteDeadline deadline;
};

enum class Mode { copy, compare };

struct JobOptions {
  Mode mode = Mode::copy;
  Endpoint source;
  Endpoint target;
  uint64_t capacityBytes = 0;
  bool wholeDisk = true;  // false: extents are fed with addExtents()
  bool sourceExtents = true;
  bool targetIsZero = false;
  uint64_t requestBytes = 0;  // 0: as measured
  int64_t gapBytes = -1;  // merge reads across gaps of up to this; negative: as measured
  RetryPolicy retry;
  Durability::Options durability;
  bool checkpoints = false;
  size_t differencesMaximum = 1000;
};

struct Stats {
  std::atomic<uint64_t> reads{0};
  std::atomic<uint64_t> readBytes{0};
  std::atomic<uint64_t> writtenBytes{0};
  std::atomic<uint64_t> zeroedBytes{0};
  std::atomic<uint64_t> skippedBytes{0};
  std::atomic<uint64_t> targetReadBytes{0};
  std::atomic<uint64_t> comparedBytes{0};
  std::atomic<uint64_t> retries{0};
  // Of the pieces that were read and are through: how many, their bytes, and in microseconds times KiB how
  // long they took, until the source's answer and until the end.
  std::atomic<uint64_t> delivered{0}, deliveredBytes{0}, readWaited{0}, heldWaited{0};
  std::atomic<uint64_t> writeWaited{0};  // the same of all writes: from request to answer
};

// How zeroes reach the target; found out while copying, and remembered for the job.
enum class ZeroMethod : uint8_t { skip, fastZero, read, writeZeroes, trim, data };
const char* zeroMethodName(ZeroMethod method);

struct JobResult {
  bool succeeded = false;
  bool aborted = false;
  Failure failure;
  uint64_t sourceConnections = 0;  // the most that were ready at any time
  uint64_t targetConnections = 0;
  std::string zeroMethod = "none";
  bool sourceExtentsUsed = false;
  std::map<uint64_t, uint64_t> differences;  // offset to length
  uint64_t differingBytes = 0;
  bool differencesTruncated = false;
};

class Copier {
 public:
  Copier(JobOptions options, std::shared_ptr<Shared> shared, std::function<void()> onEvents);
  ~Copier();

  // When it returns, nothing is held any more but what the result and events() say: JavaScript may
  // keep the job for long.
  JobResult run();

  // From any thread.
  void abort();
  void addExtents(const std::vector<Range>& extents);
  void endExtents();
  bool hungry() const;
  EventQueue& events() { return events_; }
  const Stats& stats() const { return stats_; }

 private:
  friend class Loop;

  void release();
  bool connectFirst();
  std::unique_ptr<Connection> connectOne(Side side, Failure& failure);
  bool checkSizes();
  void planConnections();
  void startLoops();
  void stopLoops();
  void supervise();
  void tune(TimePoint now);
  void use(const Plan& plan);
  Tuner::Connections connectionsOf(Side side, TimePoint now);
  unsigned sourcesReady() const;
  bool targetIsFar() const;
  void flush(TimePoint now);
  void feedIfHungry();
  void setConnections(Side side, unsigned count);

  // For the loops.
  void fail(Failure failure);
  void wakeLoops();
  void poke();
  void note(Side side, const std::string& message);
  void retryEvent(Side side, const std::string& message, unsigned attempt, const Range* range);
  void connectionReady(Side side);
  void connectionLost(Side side, int error, const std::string& message);
  void extraRefused(Side side, const std::string& message);
  void flushDone(bool succeeded);
  std::optional<SideHealth::Trouble> trouble(Side side);
  void flushTrouble(int error);
  void tuneWindow(Clock::duration answered);
  void delivered(const Piece& piece, Clock::duration read, Clock::duration held);
  void sawReadLatency(Clock::duration latency);
  void sawWriteLatency(Clock::duration latency, uint64_t bytes);
  void sawProofLatency(Clock::duration latency);
  void difference(const Range& range);
  ZeroMethod zeroMethod() const;
  bool mayProve() const;
  uint64_t readLimit() const;
  const WriteDeadline* deadlineFor(Side side) const;
  bool held() const;
  Clock::duration excused(TimePoint now) const;
  bool over() const { return stopping_.load(std::memory_order_relaxed); }

  const JobOptions options_;
  const std::shared_ptr<Shared> shared_;
  std::optional<BufferPool::Share> share_;  // from startLoops() to release()
  EventQueue events_;
  Stats stats_;

  std::vector<Command*> noCommands_;  // where the first connections complete to, before the loops
  std::unique_ptr<Connection> firstSource_;
  std::unique_ptr<Connection> firstTarget_;
  ExportInfo source_;
  ExportInfo target_;
  uint64_t requestBytes_ = kRequestBytesMost;  // at most
  uint64_t tailStart_ = 0;
  std::unique_ptr<WorkList> work_;
  std::unique_ptr<Durability> durability_;
  std::vector<std::unique_ptr<Loop>> loops_;

  std::atomic<bool> aborted_{false};
  std::atomic<bool> stopping_{false};
  std::atomic<bool> useSourceExtents_{false};
  std::atomic<bool> useTargetExtents_{false};
  std::atomic<bool> sourceExtentsUsed_{false};
  std::atomic<bool> canFastZero_{false};
  std::atomic<bool> canZero_{false};
  std::atomic<bool> canTrim_{false};
  std::atomic<int> lastZeroMethod_{-1};
  ZeroProof zeroProof_;
  std::atomic<uint64_t> windowBytes_{256 * kMiB};
  std::atomic<uint64_t> gapBytes_{0};
  std::atomic<uint64_t> readLatencyUs_{UINT64_MAX}, writeLatencyUs_{UINT64_MAX};  // the quickest
  std::atomic<uint64_t> proofLatencyUs_{UINT64_MAX};
  std::array<std::atomic<int>, 2> ready_{};  // connections that are ready, by side
  std::array<std::atomic<int>, 2> mostReady_{};
  std::array<SideHealth, 2> health_;

  std::optional<Tuner> tuner_;
  Plan plan_;  // that the loops keep to, by way of these
  std::atomic<uint64_t> planRequestBytes_{kMiB};
  // Of each source connection, so that no loop takes what those of another are to have.
  std::atomic<uint64_t> planReadBytes_{0};
  std::atomic<unsigned> planReads_{0}, planWrites_{0};
  std::atomic<bool> disturbed_{false}, writesHeld_{false};  // since the tuner's last look

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool loopsRun_ = false;  // the list does not change until release()
  bool released_ = false;
  bool poked_ = false;
  std::optional<Failure> failure_;
  std::vector<Range> earlyExtents_;
  bool earlyEnd_ = false;
  bool hungryPosted_ = false;
  std::map<uint64_t, uint64_t> differences_;
  uint64_t differingBytes_ = 0;
  bool differencesTruncated_ = false;
};

}  // namespace engine
