// What JavaScript sees: probe, digest, read, copy, an Engine that holds what copies share. Arguments were
// checked in src/nbd/copy-engine/copy-engine.ts; here they are only unpacked.
#include <napi.h>

#include "copier.h"
#include "probe.h"
#include "runner.h"
#include "silence.h"

namespace addon {

using namespace engine;

namespace {

uint64_t bytesOf(const Napi::Value& value) {
  double number = value.As<Napi::Number>().DoubleValue();
  return number > 0 ? static_cast<uint64_t>(number) : 0;
}

double number(uint64_t value) { return static_cast<double>(value); }

std::string textOf(const Napi::Object& object, const char* key) {
  Napi::Value value = object.Get(key);
  return value.IsString() ? value.As<Napi::String>().Utf8Value() : std::string();
}

uint64_t bytesOf(const Napi::Object& object, const char* key, uint64_t fallback) {
  Napi::Value value = object.Get(key);
  return value.IsNumber() ? bytesOf(value) : fallback;
}

bool flagOf(const Napi::Object& object, const char* key, bool fallback) {
  Napi::Value value = object.Get(key);
  return value.IsBoolean() ? value.As<Napi::Boolean>().Value() : fallback;
}

Endpoint endpointOf(const Napi::Value& value) {
  Napi::Object object = value.As<Napi::Object>();
  Endpoint endpoint;
  endpoint.uri = textOf(object, "uri");
  endpoint.connections = bytesOf(object, "connections", 0);
  endpoint.tlsCertDir = textOf(object, "tlsCertDir");
  endpoint.tlsPskFile = textOf(object, "tlsPskFile");
  endpoint.tlsUsername = textOf(object, "tlsUsername");
  return endpoint;
}

std::vector<Range> rangesOf(const Napi::Value& value) {
  auto pairs = value.As<Napi::Float64Array>();
  std::vector<Range> ranges;
  ranges.reserve(pairs.ElementLength() / 2);
  for (size_t i = 0; i + 1 < pairs.ElementLength(); i += 2)
    ranges.push_back({static_cast<uint64_t>(pairs[i]), static_cast<uint64_t>(pairs[i + 1])});
  return ranges;
}

Napi::Float64Array arrayOf(Napi::Env env, const std::vector<double>& values) {
  auto array = Napi::Float64Array::New(env, values.size());
  std::copy(values.begin(), values.end(), array.Data());
  return array;
}

Napi::Object failureOf(Napi::Env env, const Failure& failure) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("code", failure.code);
  object.Set("side", sideName(failure.side));
  object.Set("errno", failure.error);
  object.Set("message", failure.message);
  if (failure.hasRange) {
    object.Set("offset", number(failure.range.offset));
    object.Set("length", number(failure.range.length));
  }
  object.Set("attempts", failure.attempts);
  return object;
}

Napi::Object infoOf(Napi::Env env, const ExportInfo& info) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("sizeBytes", number(info.sizeBytes));
  object.Set("minimumBlockBytes", number(info.minimumBlockBytes));
  object.Set("preferredBlockBytes", number(info.preferredBlockBytes));
  object.Set("maximumBlockBytes", number(info.maximumBlockBytes));
  object.Set("readOnly", info.readOnly);
  object.Set("canFlush", info.canFlush);
  object.Set("canFua", info.canFua);
  object.Set("canTrim", info.canTrim);
  object.Set("canZero", info.canZero);
  object.Set("canFastZero", info.canFastZero);
  object.Set("canMultiConn", info.canMultiConn);
  object.Set("canExtents", info.canExtents);
  object.Set("structuredReplies", info.structuredReplies);
  object.Set("tls", info.tls);
  object.Set("protocol", info.protocol);
  return object;
}

// callback(type, value): an event, or at the end "done" with the value or "failed" with a failure. False:
// JavaScript may not run any more, because the callback ended its thread. The callback's own exceptions
// are Node's to report.
bool tell(Napi::Env env, Napi::Function callback, const char* type, Napi::Value value) {
  const napi_value arguments[] = {Napi::String::New(env, type), value};
  if (napi_call_function(env, env.Undefined(), callback, 2, arguments, nullptr) == napi_ok)
    return true;
  napi_value exception;
  if (napi_get_and_clear_last_exception(env, &exception) == napi_ok)
    napi_fatal_exception(env, exception);
  return Runner::mayRun(env);
}

Napi::Object handleOf(Napi::Env env, std::shared_ptr<Runner> runner) {
  Napi::Object handle = Napi::Object::New(env);
  handle.Set("abort", Napi::Function::New(
                          env, [runner](const Napi::CallbackInfo&) { runner->stop(); }, "abort"));
  handle.Set("abortAndWait",
             Napi::Function::New(
                 env, [runner](const Napi::CallbackInfo&) { runner->stopAndWait(); }, "abortAndWait"));
  return handle;
}

// What a question to an export is asked with, on a thread of its own.
struct Asked {
  const Endpoint endpoint;
  const milliseconds timeout;
  const std::atomic<bool>& cancelled;
  Failure& failure;  // to be filled when there is no answer
};

// Of a call with endpoint, …, timeoutMs, callback. `valueOf` makes the answer one of JavaScript's.
template <typename Answer>
Napi::Value ask(const Napi::CallbackInfo& info, std::function<Answer(const Asked&)> question,
                std::function<Napi::Value(Napi::Env, const Answer&)> valueOf) {
  struct State {
    Failure failure;
    Answer answer;
  };
  auto state = std::make_shared<State>();
  const size_t last = info.Length() - 1;
  auto runner = Runner::start(
      info.Env(), info[last].As<Napi::Function>(),
      [=, endpoint = endpointOf(info[0]),
       timeout = milliseconds{bytesOf(info[last - 1])}](Runner& runner) {
        state->answer = question({endpoint, timeout, runner.stopped(), state->failure});
      },
      nullptr, nullptr,
      [=](Napi::Env env, Napi::Function callback) {
        if (!state->failure.code.empty())
          return tell(env, callback, "failed", failureOf(env, state->failure));
        return tell(env, callback, "done", valueOf(env, state->answer));
      });
  return handleOf(info.Env(), runner);
}

// Endpoint, timeoutMs, callback
Napi::Value probe(const Napi::CallbackInfo& info) {
  using Answer = std::optional<ExportInfo>;
  return ask<Answer>(
      info,
      [](const Asked& to) {
        return probeExport(to.endpoint, to.timeout, to.cancelled, to.failure);
      },
      [](Napi::Env env, const Answer& answer) { return infoOf(env, *answer); });
}

// Endpoint, ranges, timeoutMs, callback
Napi::Value digest(const Napi::CallbackInfo& info) {
  using Answer = std::vector<std::string>;
  return ask<Answer>(
      info,
      [ranges = rangesOf(info[1])](const Asked& to) {
        return digestRanges(to.endpoint, ranges, to.timeout, to.cancelled, to.failure);
      },
      [](Napi::Env env, const Answer& answer) {
        Napi::Array digests = Napi::Array::New(env, answer.size());
        for (size_t i = 0; i < answer.size(); i++)
          digests.Set(i, Napi::String::New(env, answer[i]));
        return digests;
      });
}

// Endpoint, offset, length, timeoutMs, callback
Napi::Value read(const Napi::CallbackInfo& info) {
  using Answer = std::vector<uint8_t>;
  return ask<Answer>(
      info,
      [range = Range{bytesOf(info[1]), bytesOf(info[2])}](const Asked& to) {
        return readRange(to.endpoint, range, to.timeout, to.cancelled, to.failure);
      },
      [](Napi::Env env, const Answer& answer) {
        auto bytes = Napi::Uint8Array::New(env, answer.size());
        std::copy(answer.begin(), answer.end(), bytes.Data());
        return bytes;
      });
}

// Endpoint, whether in the middle of an answer, limitMs, timeoutMs, callback
Napi::Value keepSilent(const Napi::CallbackInfo& info) {
  using Answer = std::optional<Silence>;
  const bool answering = info[1].As<Napi::Boolean>();
  return ask<Answer>(
      info,
      [when = answering ? SilentWhile::answering : SilentWhile::idle,
       limit = milliseconds{bytesOf(info[2])}](const Asked& to) {
        return engine::keepSilent(to.endpoint, when, limit, to.timeout, to.cancelled, to.failure);
      },
      [](Napi::Env env, const Answer& answer) {
        Napi::Object object = Napi::Object::New(env);
        object.Set("lastedMs", number(answer->lasted.count()));
        object.Set("dropped", answer->dropped);
        return object;
      });
}

JobOptions jobOptionsOf(const Napi::Object& object) {
  JobOptions options;
  options.mode = textOf(object, "mode") == "compare" ? Mode::compare : Mode::copy;
  options.source = endpointOf(object.Get("source"));
  options.target = endpointOf(object.Get("target"));
  options.capacityBytes = bytesOf(object, "capacityBytes", 0);
  options.wholeDisk = flagOf(object, "wholeDisk", true);
  options.sourceExtents = flagOf(object, "sourceExtents", true);
  options.targetIsZero = flagOf(object, "targetIsZero", false);
  options.requestBytes = bytesOf(object, "requestBytes", options.requestBytes);
  if (object.Get("gapBytes").IsNumber()) options.gapBytes = bytesOf(object, "gapBytes", 0);
  auto time = [&](const char* key, milliseconds fallback) {
    return milliseconds{bytesOf(object, key, fallback.count())};
  };
  Durability::Options& durability = options.durability;
  durability.stallTimeout = time("stallTimeoutMs", durability.stallTimeout);
  durability.flushTimeout = time("flushTimeoutMs", durability.flushTimeout);
  durability.interval = time("checkpointIntervalMs", durability.interval);
  options.retry.attempts = bytesOf(object, "retryAttempts", options.retry.attempts);
  options.retry.maxElapsed = time("retryMaxElapsedMs", options.retry.maxElapsed);
  options.checkpoints = flagOf(object, "checkpoints", false);
  options.differencesMaximum = bytesOf(object, "differencesMaximum", options.differencesMaximum);
  return options;
}

// What a job has done so far; all of it once it has ended, well or not.
Napi::Object figuresOf(Napi::Env env, const Stats& stats) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("readBytes", number(stats.readBytes));
  object.Set("writtenBytes", number(stats.writtenBytes));
  object.Set("zeroedBytes", number(stats.zeroedBytes));
  object.Set("skippedBytes", number(stats.skippedBytes));
  object.Set("targetReadBytes", number(stats.targetReadBytes));
  object.Set("comparedBytes", number(stats.comparedBytes));
  object.Set("retries", number(stats.retries));
  return object;
}

Napi::Object resultOf(Napi::Env env, const JobResult& result, const Stats& stats) {
  Napi::Object object = figuresOf(env, stats);
  object.Set("sourceConnections", number(result.sourceConnections));
  object.Set("targetConnections", number(result.targetConnections));
  object.Set("zeroMethod", result.zeroMethod);
  object.Set("sourceExtentsUsed", result.sourceExtentsUsed);
  std::vector<double> differences;
  for (auto [offset, length] : result.differences) {
    differences.push_back(number(offset));
    differences.push_back(number(length));
  }
  object.Set("differences", arrayOf(env, differences));
  object.Set("differingBytes", number(result.differingBytes));
  object.Set("truncated", result.differencesTruncated);
  return object;
}

Napi::Object troubleOf(Napi::Env env, const Event& event) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("side", sideName(event.side));
  object.Set("message", event.message);
  object.Set("attempt", event.attempt);
  if (event.hasRange) {
    object.Set("offset", number(event.range.offset));
    object.Set("length", number(event.range.length));
  }
  return object;
}

bool deliver(const Event& event, Napi::Env env, Napi::Function callback) {
  Napi::HandleScope scope(env);
  switch (event.type) {
    case Event::Type::chunks:
      return tell(env, callback, "chunks", arrayOf(env, event.chunks));
    case Event::Type::checkpoint:
      return tell(env, callback, "checkpoint", env.Undefined());
    case Event::Type::hungry:
      return tell(env, callback, "hungry", env.Undefined());
    case Event::Type::note:
      return tell(env, callback, "note", troubleOf(env, event));
    case Event::Type::retry:
      return tell(env, callback, "retry", troubleOf(env, event));
  }
  return true;
}

bool deliverEvents(Copier& copier, Napi::Env env, Napi::Function callback) {
  for (const Event& event : copier.events().take())
    if (!deliver(event, env, callback)) return false;
  return true;
}

}  // namespace

// What all copies of a run share: memory and rate.
class EngineObject : public Napi::ObjectWrap<EngineObject> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "Engine", {InstanceMethod("start", &EngineObject::start),
                                       InstanceMethod("limitRate", &EngineObject::limitRate),
                                       InstanceMethod("writeUntil", &EngineObject::writeUntil)});
  }

  // memoryBytes, maxBytesPerSecond (0: none)
  explicit EngineObject(const Napi::CallbackInfo& info)
      : ObjectWrap(info), shared_(std::make_shared<Shared>(bytesOf(info[0]), bytesOf(info[1]))) {}

 private:
  // maxBytesPerSecond (0: none), for what is under way too.
  Napi::Value limitRate(const Napi::CallbackInfo& info) {
    shared_->rate.change(bytesOf(info[0]));
    return info.Env().Undefined();
  }

  // bootMs, wallMs
  Napi::Value writeUntil(const Napi::CallbackInfo& info) {
    shared_->deadline.moveTo({static_cast<int64_t>(bytesOf(info[0])), static_cast<int64_t>(bytesOf(info[1]))});
    return info.Env().Undefined();
  }

  // options, callback(type, value). Gives { abort(), push(pairs): boolean, end(), figures() }.
  Napi::Value start(const Napi::CallbackInfo& info) {
    Napi::Env env = info.Env();
    struct State {
      std::shared_ptr<Copier> copier;
      std::weak_ptr<Runner> runner;
      std::mutex mutex;
      JobResult result;
    };
    auto state = std::make_shared<State>();
    // The copier's events ask the runner to deliver; the runner exists only a moment later.
    std::weak_ptr<State> weak = state;
    state->copier = std::make_shared<Copier>(jobOptionsOf(info[0].As<Napi::Object>()), shared_, [weak] {
      if (auto strong = weak.lock()) {
        std::shared_ptr<Runner> runner;
        {
          std::lock_guard lock(strong->mutex);
          runner = strong->runner.lock();
        }
        if (runner) runner->ask();
      }
    });
    auto copier = state->copier;
    auto runner = Runner::start(
        env, info[1].As<Napi::Function>(),
        [state](Runner& self) {
          {
            std::lock_guard lock(state->mutex);
            state->runner = self.weak_from_this();
          }
          state->result = state->copier->run();
        },
        [copier] { copier->abort(); },
        [copier](Napi::Env env, Napi::Function callback) {
          return deliverEvents(*copier, env, callback);
        },
        [state](Napi::Env env, Napi::Function callback) {
          if (!state->result.succeeded)
            return tell(env, callback, "failed", failureOf(env, state->result.failure));
          return tell(env, callback, "done",
                      resultOf(env, state->result, state->copier->stats()));
        });
    Napi::Object handle = handleOf(env, runner);
    handle.Set("push", Napi::Function::New(
                           env,
                           [copier](const Napi::CallbackInfo& info) {
                             copier->addExtents(rangesOf(info[0]));
                             return Napi::Boolean::New(info.Env(), copier->hungry());
                           },
                           "push"));
    handle.Set("figures", Napi::Function::New(
                              env,
                              [copier](const Napi::CallbackInfo& info) {
                                return figuresOf(info.Env(), copier->stats());
                              },
                              "figures"));
    handle.Set("end", Napi::Function::New(
                          env, [copier](const Napi::CallbackInfo&) { copier->endExtents(); }, "end"));
    return handle;
  }

  std::shared_ptr<Shared> shared_;
};

static Napi::Value libnbdVersion(const Napi::CallbackInfo& info) {
  nbd_handle* handle = nbd_create();
  std::string version = handle != nullptr ? nbd_get_version(handle) : "";
  nbd_close(handle);
  return Napi::String::New(info.Env(), version);
}

// [bootMs, wallMs]: what writeUntil() is told in.
static Napi::Value clocks(const Napi::CallbackInfo& info) {
  const WriteDeadline::Reading now = WriteDeadline::now();
  return arrayOf(info.Env(), {static_cast<double>(now.boot), static_cast<double>(now.wall)});
}

static Napi::Object init(Napi::Env env, Napi::Object exports) {
  exports.Set("libnbdVersion", Napi::Function::New(env, libnbdVersion, "libnbdVersion"));
  exports.Set("clocks", Napi::Function::New(env, clocks, "clocks"));
  exports.Set("probe", Napi::Function::New(env, probe, "probe"));
  exports.Set("digest", Napi::Function::New(env, digest, "digest"));
  exports.Set("keepSilent", Napi::Function::New(env, keepSilent, "keepSilent"));
  exports.Set("read", Napi::Function::New(env, read, "read"));
  exports.Set("Engine", EngineObject::define(env));
  return exports;
}

}  // namespace addon

static Napi::Object initModule(Napi::Env env, Napi::Object exports) {
  return addon::init(env, exports);
}
NODE_API_MODULE(migratekit, initModule)
