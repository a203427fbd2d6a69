// Short questions to one export: what is it, and what do some of its ranges hold. Each is asked over a
// connection of its own.
#pragma once

#include <atomic>
#include <optional>
#include <string>
#include <vector>

#include "connection.h"

namespace engine {

// Null with `failure` filled when the export cannot be reached.
std::optional<ExportInfo> probeExport(const Endpoint& endpoint, milliseconds timeout,
                                      const std::atomic<bool>& cancelled, Failure& failure);

// One SHA-256 for each range, in order. Empty with `failure` filled when a range cannot be read.
std::vector<std::string> digestRanges(const Endpoint& endpoint, const std::vector<Range>& ranges,
                                      milliseconds timeout, const std::atomic<bool>& cancelled,
                                      Failure& failure);

// What the range holds. Empty with `failure` filled when it cannot be read.
std::vector<uint8_t> readRange(const Endpoint& endpoint, const Range& range, milliseconds timeout,
                               const std::atomic<bool>& cancelled, Failure& failure);

}  // namespace engine
