#include "lookup.h"

#include <arpa/inet.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <system_error>
#include <thread>

namespace engine {

namespace {

// nbd://[user@]HOST[:port]/…, HOST perhaps in brackets
std::string hostOf(const std::string& uri) {
  const size_t start = uri.find("://") + 3;
  std::string host = uri.substr(start, uri.find_first_of("/?#", start) - start);
  host.erase(0, host.rfind('@') + 1);
  if (!host.empty() && host[0] == '[') return host.substr(1, host.find(']') - 1);
  return host.substr(0, host.rfind(':'));
}

bool isNumeric(const std::string& host) {
  in6_addr address;
  return inet_pton(AF_INET, host.c_str(), &address) == 1 ||
         inet_pton(AF_INET6, host.substr(0, host.find('%')).c_str(), &address) == 1;
}

}  // namespace

bool Lookup::isNeeded(const std::string& uri) {
  const bool tcp = uri.starts_with("nbd://") || uri.starts_with("nbds://");
  return tcp && !isNumeric(hostOf(uri));
}

Lookup::Lookup(nbd_handle* handle, std::string uri)
    : handle_(handle), uri_(std::move(uri)), doneFd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

Lookup::~Lookup() {
  if (doneFd_ != -1) ::close(doneFd_);
}

std::shared_ptr<Lookup> Lookup::start(nbd_handle* handle, const std::string& uri) {
  std::shared_ptr<Lookup> lookup(new Lookup(handle, uri));
  try {
    // It cannot be interrupted; nobody waits for its end.
    std::thread([lookup] { lookup->run(); }).detach();
  } catch (const std::system_error&) {
    lookup->run();
  }
  return lookup;
}

void Lookup::run() {
  Outcome outcome = connectTo(handle_, uri_);
  std::lock_guard lock(mutex_);
  if (abandoned_) return nbd_close(handle_);
  outcome_ = std::move(outcome);
  eventfd_write(doneFd_, 1);
}

Lookup::Outcome Lookup::look() {
  std::lock_guard lock(mutex_);
  return outcome_;
}

bool Lookup::abandon() {
  std::lock_guard lock(mutex_);
  abandoned_ = !outcome_.done;
  return abandoned_;
}

Lookup::Outcome connectTo(nbd_handle* handle, const std::string& uri) {
  Lookup::Outcome outcome;
  outcome.done = true;
  outcome.failed = nbd_aio_connect_uri(handle, uri.c_str()) == -1;
  if (!outcome.failed) return outcome;
  const char* text = nbd_get_error();
  outcome.error = nbd_get_errno();
  outcome.message = text != nullptr ? text : "no reason given";
  return outcome;
}

}  // namespace engine
