// push TARGET DATA_RANGES ZERO_RANGES CONNECTIONS DEPTH REQUEST_BYTES: writes the same buffer over
// and over into the ranges, and zeroes into the others. What a target takes when reading costs
// nothing: one half of the floor.
#include <libnbd.h>
#include <poll.h>

#include "ranges.h"

enum { connections_max = 64 };
static const uint64_t zero_bytes_max = 32 << 20;

static struct nbd_handle *connections[connections_max];
static unsigned in_flight[connections_max];
static int failed;

// Of one list of ranges: what is yet to be sent.
struct cursor {
  struct ranges list;
  size_t index;
  uint64_t done;
};

static int take(struct cursor *cursor, uint64_t maximum, uint64_t *offset, uint64_t *length) {
  if (cursor->index == cursor->list.count) return 0;
  uint64_t left = range_length(&cursor->list, cursor->index) - cursor->done;
  *offset = range_offset(&cursor->list, cursor->index) + cursor->done;
  *length = left < maximum ? left : maximum;
  cursor->done += *length;
  if (*length == left) {
    cursor->index++;
    cursor->done = 0;
  }
  return 1;
}

static int completed(void *counter, int *error) {
  (*(unsigned *)counter)--;
  if (*error != 0) failed = 1;
  return 1;
}

static void die(void) {
  fprintf(stderr, "%s\n", nbd_get_error());
  exit(1);
}

static void wait_for_answers(unsigned count) {
  struct pollfd fds[connections_max];
  for (unsigned i = 0; i < count; i++) {
    unsigned direction = nbd_aio_get_direction(connections[i]);
    fds[i].fd = nbd_aio_get_fd(connections[i]);
    fds[i].events = (direction & LIBNBD_AIO_DIRECTION_READ ? POLLIN : 0) |
                    (direction & LIBNBD_AIO_DIRECTION_WRITE ? POLLOUT : 0);
  }
  if (poll(fds, count, -1) == -1) exit(1);
  for (unsigned i = 0; i < count; i++) {
    unsigned direction = nbd_aio_get_direction(connections[i]);
    int result = 0;
    if (fds[i].revents & POLLIN && direction & LIBNBD_AIO_DIRECTION_READ)
      result = nbd_aio_notify_read(connections[i]);
    else if (fds[i].revents & POLLOUT && direction & LIBNBD_AIO_DIRECTION_WRITE)
      result = nbd_aio_notify_write(connections[i]);
    else if (fds[i].revents & (POLLERR | POLLHUP))
      exit(1);
    if (result == -1) die();
  }
}

int main(int argc, char **argv) {
  if (argc != 7) return 2;
  struct cursor data = {read_ranges(argv[2]), 0, 0}, zeroes = {read_ranges(argv[3]), 0, 0};
  unsigned count = (unsigned)atoi(argv[4]), depth = (unsigned)atoi(argv[5]), busy = 0;
  uint64_t request_bytes = strtoull(argv[6], NULL, 10), offset, length;
  if (count < 1 || count > connections_max) return 2;
  char *buffer = malloc(request_bytes);
  for (uint64_t i = 0; i < request_bytes; i++) buffer[i] = (char)(i * 7 + 1);
  for (unsigned i = 0; i < count; i++) {
    connections[i] = nbd_create();
    if (connections[i] == NULL || nbd_connect_uri(connections[i], argv[1]) == -1) die();
  }
  do {
    busy = 0;
    for (unsigned i = 0; i < count; i++) {
      while (in_flight[i] < depth && !failed) {
        nbd_completion_callback callback = {.callback = completed, .user_data = &in_flight[i]};
        int64_t cookie;
        if (take(&data, request_bytes, &offset, &length))
          cookie = nbd_aio_pwrite(connections[i], buffer, length, offset, callback, 0);
        else if (take(&zeroes, zero_bytes_max, &offset, &length))
          cookie = nbd_aio_zero(connections[i], length, offset, callback, LIBNBD_CMD_FLAG_NO_HOLE);
        else
          break;
        if (cookie == -1) die();
        in_flight[i]++;
      }
      busy += in_flight[i];
    }
    if (busy > 0) wait_for_answers(count);
  } while (busy > 0 && !failed);
  for (unsigned i = 0; i < count; i++) {
    if (!failed && nbd_flush(connections[i], 0) == -1) die();
    nbd_shutdown(connections[i], 0);
  }
  return failed;
}
