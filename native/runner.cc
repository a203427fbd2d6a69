#include "runner.h"

#include <thread>

namespace addon {

namespace {
// How long an environment that goes away waits for the threads: they drain within this time.
constexpr std::chrono::milliseconds kFarewell{1000};
}  // namespace

std::shared_ptr<Runner> Runner::start(Napi::Env env, Napi::Function callback, OnThread work,
                                      std::function<void()> stop, OnJs deliver, OnJs settle) {
  auto runner = std::make_shared<Runner>();
  runner->stop_ = std::move(stop);
  runner->deliver_ = std::move(deliver);
  runner->settle_ = std::move(settle);
  // The thread-safe function keeps its own hold on the Runner until its finalizer has run.
  auto* hold = new std::shared_ptr<Runner>(runner);
  auto finalize = [](napi_env, void*, void* context) {
    auto* held = static_cast<std::shared_ptr<Runner>*>(context);
    (*held)->leaveEnvironment();
    delete held;
  };
  napi_status status = napi_create_threadsafe_function(
      env, callback, nullptr, Napi::String::New(env, "migratekit"), 0, 1, nullptr, finalize, hold,
      &Runner::onJs, &runner->function_);
  if (status != napi_ok) {
    delete hold;
    throw Napi::Error::New(env, "the copy engine could not create its thread-safe function");
  }
  std::thread([runner, work = std::move(work)] {
    work(*runner);
    runner->call(true);
    std::lock_guard lock(runner->mutex_);
    runner->hasEnded_ = true;
    runner->ended_.notify_all();
  }).detach();
  return runner;
}

void Runner::ask() { call(false); }

// Under the lock, so that it never races with the finalizer: after that nothing is delivered. The
// function itself lives until its only thread, this one, has released it.
void Runner::call(bool last) {
  std::lock_guard lock(mutex_);
  if (released_) return;
  if (!detached_) {
    napi_status status = napi_call_threadsafe_function(
        function_, reinterpret_cast<void*>(static_cast<uintptr_t>(last)), napi_tsfn_nonblocking);
    // This answer counts as the release.
    if (status == napi_closing) released_ = true;
  }
  if (!last || released_) return;
  released_ = true;
  napi_release_threadsafe_function(function_, napi_tsfn_release);
}

void Runner::stop() {
  if (stopped_.exchange(true)) return;
  if (stop_) stop_();
}

void Runner::leaveEnvironment() {
  {
    std::lock_guard lock(mutex_);
    detached_ = true;
  }
  stopAndWait();
}

void Runner::stopAndWait() {
  stop();
  std::unique_lock lock(mutex_);
  ended_.wait_for(lock, kFarewell, [this] { return hasEnded_; });
}

// Any call that could run JavaScript says so; this one does nothing else.
bool Runner::mayRun(napi_env env) {
  napi_value value;
  return napi_get_undefined(env, &value) == napi_ok &&
         napi_coerce_to_bool(env, value, &value) == napi_ok;
}

void Runner::onJs(napi_env rawEnv, napi_value rawCallback, void* context, void* data) {
  // The environment is going away, or about to.
  if (rawEnv == nullptr || rawCallback == nullptr || !mayRun(rawEnv)) return;
  auto runner = *static_cast<std::shared_ptr<Runner>*>(context);
  Napi::Env env(rawEnv);
  Napi::Function callback(env, rawCallback);
  const bool last = data != nullptr;
  const bool goesOn = !runner->deliver_ || runner->deliver_(env, callback);
  if (last && goesOn) runner->settle_(env, callback);
}

}  // namespace addon
