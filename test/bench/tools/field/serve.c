// One connection: github.com/NetworkBlockDevice/nbd, doc/proto.md, as far as copiers ask. Simple replies, no
// block status: everything is to be read.
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "field.h"

enum { workers_maximum = 16 };
enum { option_export_name = 1, option_abort = 2, option_info = 6, option_go = 7 };
enum { reply_ack = 1, reply_info = 3, info_export = 0, info_block_size = 3 };
enum { command_read, command_write, command_disconnect, command_flush, command_trim, command_cache, command_zero };
static const uint32_t reply_unsupported = (1u << 31) + 1;
static const uint16_t flags = 1 | 1 << 2 | 1 << 3 | 1 << 5 | 1 << 6;  // flush, FUA, trim, zero
static const uint16_t flag_multi_conn = 1 << 8;

struct request {
  struct request *next;
  uint64_t cookie, offset;
  uint32_t length;
  uint16_t type;
  bool fua, refused;
};

struct connection {
  int fd;
  pthread_mutex_t lock, sending;
  pthread_cond_t changed;
  struct request *first, **last;
  int64_t working;
  bool ended;
  struct flow flow;
};

static bool get(int fd, void *buffer, size_t bytes) {
  for (char *at = buffer; bytes > 0;) {
    ssize_t n = read(fd, at, bytes);
    if (n <= 0) return false;
    at += n;
    bytes -= (size_t)n;
  }
  return true;
}

static bool put(int fd, const void *head, size_t head_bytes, const void *body, size_t body_bytes) {
  struct iovec parts[2] = {{(void *)head, head_bytes}, {(void *)body, body_bytes}};
  while (parts[0].iov_len + parts[1].iov_len > 0) {
    ssize_t n = writev(fd, parts, 2);
    if (n <= 0) return false;
    for (int i = 0; i < 2; i++) {
      size_t gone = (size_t)n < parts[i].iov_len ? (size_t)n : parts[i].iov_len;
      parts[i].iov_base = (char *)parts[i].iov_base + gone;
      parts[i].iov_len -= gone;
      n -= (ssize_t)gone;
    }
  }
  return true;
}

static uint16_t export_flags(void) { return flags | (settings.clients == 1 ? 0 : flag_multi_conn); }

static bool answer_option(int fd, uint32_t option, uint32_t type, const void *data, uint32_t bytes) {
  struct __attribute__((packed)) {
    uint64_t magic;
    uint32_t option, type, length;
  } head = {htobe64(0x3e889045565a9), htobe32(option), htobe32(type), htobe32(bytes)};
  return put(fd, &head, sizeof head, data, bytes);
}

static bool answer_go(int fd, uint32_t option) {
  struct __attribute__((packed)) {
    uint16_t type;
    uint64_t size;
    uint16_t flags;
  } export = {htobe16(info_export), htobe64((uint64_t)settings.size), htobe16(export_flags())};
  uint32_t minimum = settings.minimum_block > 0 ? (uint32_t)settings.minimum_block : 1;
  struct __attribute__((packed)) {
    uint16_t type;
    uint32_t minimum, preferred, maximum;
  } blocks = {htobe16(info_block_size), htobe32(minimum),
              htobe32(minimum > block_bytes ? minimum : block_bytes), htobe32(request_bytes_maximum)};
  return answer_option(fd, option, reply_info, &export, sizeof export) &&
         answer_option(fd, option, reply_info, &blocks, sizeof blocks) &&
         answer_option(fd, option, reply_ack, NULL, 0);
}

// True when the client has the export and sends requests from now on.
static bool negotiate(int fd) {
  char greeting[18] = "NBDMAGICIHAVEOPT";
  greeting[17] = 1 | 2;  // fixed newstyle, no zeroes
  uint32_t client_flags;
  if (!put(fd, greeting, sizeof greeting, NULL, 0) || !get(fd, &client_flags, sizeof client_flags))
    return false;
  for (;;) {
    struct __attribute__((packed)) {
      char magic[8];
      uint32_t option, length;
    } head;
    char data[8192];
    if (!get(fd, &head, sizeof head)) return false;
    uint32_t option = be32toh(head.option), length = be32toh(head.length);
    if (length > sizeof data || !get(fd, data, length)) return false;
    if (option == option_export_name) {
      struct __attribute__((packed)) {
        uint64_t size;
        uint16_t flags;
      } export = {htobe64((uint64_t)settings.size), htobe16(export_flags())};
      return put(fd, &export, sizeof export, NULL, 0);
    }
    if (option == option_go) return answer_go(fd, option);
    bool sent = option == option_info    ? answer_go(fd, option)
                : option == option_abort ? answer_option(fd, option, reply_ack, NULL, 0)
                                         : answer_option(fd, option, reply_unsupported, NULL, 0);
    if (!sent || option == option_abort) return false;
  }
}

static void answer(struct connection *c, const struct request *r, char *buffer) {
  model_think();
  bool reads = r->type == command_read && !r->refused;
  if (reads || r->type == command_write) model_pass(&c->flow, r->length);
  if (r->type == command_write && !r->refused) model_cache(r->length);
  if (r->type == command_flush || r->fua) model_flush();
  if (r->type == command_flush) books.flushes++;
  struct __attribute__((packed)) {
    uint32_t magic, error;
    uint64_t cookie;
  } head = {htobe32(0x67446698), htobe32(r->refused ? EINVAL : 0), r->cookie};
  if (reads && !settings.target) ledger_fill(buffer, r->offset, r->length);
  pthread_mutex_lock(&c->sending);
  put(c->fd, &head, sizeof head, buffer, reads ? r->length : 0);
  pthread_mutex_unlock(&c->sending);
  if (reads) books.sent += r->length;
  if (r->type == command_write && !r->refused) books.delivered += r->length;
}

// As many work at once as the pace allows now; the others wait.
static void *work(void *argument) {
  struct connection *c = argument;
  char *buffer = NULL;
  uint32_t buffer_bytes = 0;
  pthread_mutex_lock(&c->lock);
  for (;;) {
    while (!c->ended && (c->first == NULL || c->working >= model_pace()->parallel))
      pthread_cond_wait(&c->changed, &c->lock);
    if (c->ended) break;
    struct request *request = c->first;
    c->first = request->next;
    if (c->first == NULL) c->last = &c->first;
    c->working++;
    pthread_mutex_unlock(&c->lock);
    if (request->type == command_read && !request->refused && request->length > buffer_bytes) {
      buffer_bytes = request->length;
      buffer = realloc(buffer, buffer_bytes);
      // A source's bytes are never zero; of a target only what nobody wrote yet is read.
      memset(buffer, settings.target ? 0 : 0x5a, buffer_bytes);
    }
    answer(c, request, buffer);
    free(request);
    pthread_mutex_lock(&c->lock);
    c->working--;
    pthread_cond_signal(&c->changed);
  }
  pthread_cond_broadcast(&c->changed);
  pthread_mutex_unlock(&c->lock);
  free(buffer);
  return NULL;
}

static bool is_refused(uint64_t offset, uint32_t length) {
  uint64_t block = settings.minimum_block > 0 ? (uint64_t)settings.minimum_block : 1;
  return length > request_bytes_maximum || offset + length > (uint64_t)settings.size ||
         offset % block != 0 || length % block != 0;
}

static void take_requests(struct connection *c) {
  char *payload = malloc(request_bytes_maximum);
  for (;;) {
    struct __attribute__((packed)) {
      uint32_t magic;
      uint16_t flags, type;
      uint64_t cookie, offset;
      uint32_t length;
    } head;
    if (!get(c->fd, &head, sizeof head)) break;
    model_begin();
    struct request *request = malloc(sizeof *request);
    *request = (struct request){NULL, head.cookie, be64toh(head.offset), be32toh(head.length),
                                be16toh(head.type), (be16toh(head.flags) & 1) != 0, false};
    bool moves = request->type != command_flush && request->type != command_disconnect;
    request->refused = moves && is_refused(request->offset, request->length);
    bool writes = request->type == command_write;
    if (request->type == command_disconnect ||
        (writes && (request->length > request_bytes_maximum || !get(c->fd, payload, request->length)))) {
      free(request);
      break;
    }
    if (writes && !request->refused) ledger_take(payload, request->offset, request->length);
    if (request->type == command_trim || request->type == command_zero)
      ledger_zero(request->offset, request->length);
    pthread_mutex_lock(&c->lock);
    *c->last = request;
    c->last = &request->next;
    pthread_cond_signal(&c->changed);
    pthread_mutex_unlock(&c->lock);
  }
  free(payload);
}

void serve(int fd) {
  if (!negotiate(fd)) return;
  struct connection c = {.fd = fd, .last = &c.first};
  pthread_mutex_init(&c.lock, NULL);
  pthread_mutex_init(&c.sending, NULL);
  pthread_cond_init(&c.changed, NULL);
  pthread_t workers[workers_maximum];
  for (int i = 0; i < workers_maximum; i++) pthread_create(&workers[i], NULL, work, &c);
  take_requests(&c);
  pthread_mutex_lock(&c.lock);
  c.ended = true;
  pthread_cond_broadcast(&c.changed);
  pthread_mutex_unlock(&c.lock);
  for (int i = 0; i < workers_maximum; i++) pthread_join(workers[i], NULL);
  while (c.first != NULL) {
    struct request *next = c.first->next;
    free(c.first);
    c.first = next;
  }
}
