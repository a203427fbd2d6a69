// The first step of a connection to a host by its name: asking name servers blocks, for many seconds where
// they do not answer, so it is done on a thread of its own.
#pragma once

#include <libnbd.h>

#include <memory>
#include <mutex>
#include <string>

namespace engine {

class Lookup {
 public:
  // Whether connecting to this URI begins with a look-up.
  static bool isNeeded(const std::string& uri);
  // Has the handle connect, which belongs to the look-up until it is done.
  static std::shared_ptr<Lookup> start(nbd_handle* handle, const std::string& uri);
  ~Lookup();
  Lookup(const Lookup&) = delete;
  Lookup& operator=(const Lookup&) = delete;

  // Readable when it is done.
  int fd() const { return doneFd_; }
  // Done: the handle goes on, or could not be made to.
  struct Outcome {
    bool done = false;
    bool failed = false;
    int error = 0;
    std::string message;
  };
  Outcome look();
  // Nobody waits any more. True: the look-up closes the handle in its own time.
  bool abandon();

 private:
  Lookup(nbd_handle* handle, std::string uri);
  void run();

  nbd_handle* const handle_;
  const std::string uri_;
  int doneFd_ = -1;
  std::mutex mutex_;
  bool abandoned_ = false;
  Outcome outcome_;
};

// nbd_aio_connect_uri() with libnbd's own words for what went wrong.
Lookup::Outcome connectTo(nbd_handle* handle, const std::string& uri);

}  // namespace engine
