// Extents ahead of the reads: a loop asks for a stretch at a time and hands out its pieces.
#include <algorithm>
#include <cstring>

#include "loop.h"

namespace engine {

void Loop::planAhead() {
  const bool copying = job_.options_.mode == Mode::copy;
  bool planned = false;
  for (int i = 0; i < 8; i++) {
    auto window = std::make_unique<Window>();
    auto answer = job_.work_->takeWindow(job_.useSourceExtents_, copying && job_.useTargetExtents_,
                                         job_.windowBytes_, *window);
    if (answer == WorkList::Planned::nothing) break;
    if (answer == WorkList::Planned::finished) {
      planned = true;
      continue;
    }
    Window& asked = *window;
    windows_.push_back(std::move(window));
    continueWindow(asked);
  }
  if (planned && job_.loops_.size() > 1) job_.wakeLoops();
}

// Asks for what the window does not know yet; when nothing is left to ask, hands out its pieces.
void Loop::continueWindow(Window& window) {
  for (Side side : {Side::source, Side::target}) {
    Window::Map& map = side == Side::source ? window.source : window.target;
    if (!map.ask || map.asking) continue;
    if (map.cursor >= window.span.end()) {
      map.ask = false;
      continue;
    }
    Connection* connection = pick(side);
    if (connection == nullptr) {
      map.ask = false;  // the data is read instead
      continue;
    }
    map.asking = true;
    Command& command = newCommand();
    command.op = Op::status;
    command.offset = map.cursor;
    command.length = window.span.end() - map.cursor;
    command.window = &window;
    connection->submit(command);
  }
  if (window.source.ask || window.target.ask) return;
  job_.work_->finishWindow(window);
  std::erase_if(windows_, [&](auto& held) { return held.get() == &window; });
  if (job_.loops_.size() > 1) job_.wakeLoops();
}

void Loop::windowAnswer(Command& command) {
  Window& window = *command.window;
  const bool isSource = command.side == Side::source;
  Window::Map& map = isSource ? window.source : window.target;
  map.asking = false;
  uint64_t before = map.cursor;
  if (command.error == 0) {
    for (size_t i = 0; i + 1 < command.extents.size() && map.cursor < window.span.end(); i += 2) {
      uint64_t length = std::min(command.extents[i], window.span.end() - map.cursor);
      if (length == 0) break;
      bool zero = (command.extents[i + 1] & LIBNBD_STATE_ZERO) != 0;
      if (!map.extents.empty() && map.extents.back().zero == zero)
        map.extents.back().range.length += length;
      else
        map.extents.push_back({{map.cursor, length}, zero});
      map.cursor += length;
    }
    if (isSource) {
      job_.sourceExtentsUsed_ = true;
      job_.tuneWindow(Clock::now() - command.issuedAt);
    }
  }
  if (map.cursor == before) {
    map.ask = false;
    // A lost connection says nothing about extents; anything else means: do not ask again.
    auto& use = isSource ? job_.useSourceExtents_ : job_.useTargetExtents_;
    if (!command.lost && use.exchange(false))
      job_.note(command.side,
                command.error != 0
                    ? std::string("block status failed: ") + std::strerror(command.error)
                    : std::string("block status gave an empty answer"));
  }
  continueWindow(window);
}

}  // namespace engine
