// How long an NBD server, and the kernel it runs on, keeps a connection whose client fell silent: its machine
// died, or the line to it was cut.
#pragma once

#include <optional>

#include "connection.h"

namespace engine {

// What the server is about when the client falls silent. Each is looked after by other timers of its kernel.
enum class SilentWhile : uint8_t {
  idle,       // all was said and acknowledged: keepalive, if the server asked for it
  answering,  // an answer of its own is never acknowledged: retransmission, where keepalive does not run
};

struct Silence {
  milliseconds lasted{0};
  // The server let go. Otherwise it was still there when the limit was over.
  bool dropped = false;
};

// Connects, stands where a copy stands between two requests, and falls silent until the server lets go or
// `limit` is over. Writes nothing. Nullopt with `failure` filled where it could not be told.
std::optional<Silence> keepSilent(const Endpoint& endpoint, SilentWhile when, milliseconds limit,
                                  milliseconds timeout, const std::atomic<bool>& cancelled,
                                  Failure& failure);

}  // namespace engine
