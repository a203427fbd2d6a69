// field KEY=VALUE…: an NBD server as the field has them (field.h). Listens at socket=PATH, or at a free port of
// 127.0.0.1. Ten times a second it writes a line: the clock in ms, bytes delivered, bytes sent, connections,
// those being opened, all ever opened, those refused, bytes in the cache, flushes. At SIGTERM a last one, with
// what its books say.
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "field.h"

struct settings settings;
struct books books;

static const struct {
  const char *name;
  int64_t *value;
} keys[] = {
    {"target", &settings.target},   {"size", &settings.size},
    {"capacity", &settings.capacity}, {"jitter", &settings.jitter},
    {"first_us", &settings.first_us}, {"open_ms", &settings.open_ms},
    {"clients", &settings.clients}, {"cache", &settings.cache},
    {"drain", &settings.drain},     {"minimum_block", &settings.minimum_block},
};

static void usage(const char *argument) {
  fprintf(stderr, "field: %s is not understood\n", argument);
  exit(2);
}

static void read_pace(const char *argument, const char *text) {
  if (settings.paces_count == changes_maximum) usage(argument);
  struct pace *pace = settings.paces + settings.paces_count++;
  long long values[5];
  if (sscanf(text, "%lld:%lld:%lld:%lld:%lld", values, values + 1, values + 2, values + 3, values + 4) != 5 ||
      values[2] < 1)
    usage(argument);
  *pace = (struct pace){values[0], values[1], values[2], values[3], values[4]};
}

static const char *read_arguments(int count, char **arguments) {
  const char *socket_path = NULL;
  for (int i = 1; i < count; i++) {
    const char *text = strchr(arguments[i], '=');
    if (text == NULL) usage(arguments[i]);
    size_t length = (size_t)(text++ - arguments[i]);
    bool known = true;
    if (strncmp(arguments[i], "socket", length) == 0) socket_path = text;
    else if (strncmp(arguments[i], "pace", length) == 0) read_pace(arguments[i], text);
    else known = false;
    for (size_t k = 0; !known && k < sizeof keys / sizeof *keys; k++)
      if (strlen(keys[k].name) == length && strncmp(arguments[i], keys[k].name, length) == 0) {
        *keys[k].value = atoll(text);
        known = true;
      }
    if (!known) usage(arguments[i]);
  }
  if (settings.paces_count == 0) usage("no pace");
  if (settings.capacity == 0) settings.capacity = settings.size;
  return socket_path;
}

static int listen_at(const char *socket_path) {
  struct sockaddr_un path = {.sun_family = AF_UNIX};
  struct sockaddr_in port = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  struct sockaddr *address = (struct sockaddr *)&port;
  socklen_t size = sizeof port;
  if (socket_path != NULL) {
    strncpy(path.sun_path, socket_path, sizeof path.sun_path - 1);
    address = (struct sockaddr *)&path;
    size = sizeof path;
  }
  int fd = socket(address->sa_family, SOCK_STREAM, 0);
  if (fd == -1 || bind(fd, address, size) == -1 || listen(fd, 64) == -1) {
    perror("field: listen");
    exit(1);
  }
  if (socket_path == NULL) getsockname(fd, address, &size);
  printf("listening %d\n", socket_path == NULL ? ntohs(port.sin_port) : 0);
  return fd;
}

static void *greet(void *argument) {
  int fd = (int)(intptr_t)argument;
  if (settings.open_ms > 0) {
    books.opening++;
    sleep_until_us(now_us() + settings.open_ms * 1000);
    books.opening--;
  }
  books.opened++;
  serve(fd);
  books.connections--;
  close(fd);
  return NULL;
}

static void *accept_all(void *argument) {
  int listener = (int)(intptr_t)argument;
  for (;;) {
    int fd = accept(listener, NULL, NULL);
    if (fd == -1) continue;
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (settings.clients > 0 && books.connections >= settings.clients) {
      books.refused++;
      close(fd);
      continue;
    }
    books.connections++;
    pthread_t thread;
    pthread_create(&thread, NULL, greet, (void *)(intptr_t)fd);
    pthread_detach(thread);
  }
  return NULL;
}

int main(int count, char **arguments) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  signal(SIGPIPE, SIG_IGN);
  setvbuf(stdout, NULL, _IOLBF, 0);
  const char *socket_path = read_arguments(count, arguments);
  ledger_open();
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &ends, NULL);
  pthread_t accepting;
  int listener = listen_at(socket_path);
  pthread_create(&accepting, NULL, accept_all, (void *)(intptr_t)listener);
  const struct timespec interval = {0, 100 * 1000 * 1000};
  bool last = false;
  do {
    last = sigtimedwait(&ends, NULL, &interval) == SIGTERM;
    printf("%lld %lld %lld %lld %lld %lld %lld %lld %lld\n", (long long)(now_us() / 1000), books.delivered,
           books.sent, books.connections, books.opening, books.opened, books.refused,
           (long long)model_dirty(), books.flushes);
  } while (!last);
  printf("end %lld %lld %lld\n", books.wrong, books.twice, (long long)ledger_missing());
  return 0;
}
