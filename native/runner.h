// The bridge between a job's threads and JavaScript: one promise-like callback, events, abort.
// Together with addon.cc the only code that knows Node-API.
#pragma once

#include <napi.h>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>

#include "copier.h"

namespace addon {

// Runs `work` on a thread of its own and calls `deliver` on the JS thread whenever work asked for
// it, and `settle` there once at the end. Survives the environment: after that nothing is delivered.
//
// The thread holds the Runner alive; the JS object that JS got holds it too, and drops it with the
// garbage collector. When the environment goes away, work is asked to stop and waited for, at most
// a second.
class Runner : public std::enable_shared_from_this<Runner> {
 public:
  using OnThread = std::function<void(Runner&)>;
  // False: JavaScript may not run any more.
  using OnJs = std::function<bool(Napi::Env, Napi::Function)>;

  static std::shared_ptr<Runner> start(Napi::Env env, Napi::Function callback, OnThread work,
                                       std::function<void()> stop, OnJs deliver, OnJs settle);

  // Not in a Worker that is ending: there nothing may be made for JavaScript, let alone called.
  static bool mayRun(napi_env env);

  // From the work's threads: have deliver called soon.
  void ask();
  void stop();
  // For a process that exits: stop, and wait for the threads, at most a second.
  void stopAndWait();
  const std::atomic<bool>& stopped() const { return stopped_; }

 private:
  void call(bool last);
  void leaveEnvironment();
  static void onJs(napi_env env, napi_value callback, void* context, void* data);

  std::mutex mutex_;
  std::condition_variable ended_;
  bool hasEnded_ = false;
  bool detached_ = false;  // the environment is gone
  bool released_ = false;  // the thread may not touch the function any more
  napi_threadsafe_function function_ = nullptr;
  std::atomic<bool> stopped_{false};
  std::function<void()> stop_;
  OnJs deliver_;
  OnJs settle_;
};

}  // namespace addon
