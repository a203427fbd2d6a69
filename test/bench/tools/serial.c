// serial SOURCE TARGET RANGES CHUNK_BYTES: the loop that migration tools run over changed ranges:
// read a chunk, write it, read the next. One connection a side, one request at a time.
#include <libnbd.h>

#include "ranges.h"

static struct nbd_handle *open_export(const char *uri) {
  struct nbd_handle *nbd = nbd_create();
  if (nbd == NULL || nbd_connect_uri(nbd, uri) == -1) {
    fprintf(stderr, "%s\n", nbd_get_error());
    exit(1);
  }
  return nbd;
}

int main(int argc, char **argv) {
  if (argc != 5) return 2;
  struct nbd_handle *source = open_export(argv[1]), *target = open_export(argv[2]);
  struct ranges list = read_ranges(argv[3]);
  uint64_t chunk = strtoull(argv[4], NULL, 10);
  char *buffer = malloc(chunk);
  for (size_t i = 0; i < list.count; i++) {
    uint64_t at = range_offset(&list, i), end = at + range_length(&list, i);
    while (at < end) {
      uint64_t length = end - at < chunk ? end - at : chunk;
      if (nbd_pread(source, buffer, length, at, 0) == -1 ||
          nbd_pwrite(target, buffer, length, at, 0) == -1) {
        fprintf(stderr, "%s\n", nbd_get_error());
        return 1;
      }
      at += length;
    }
  }
  if (nbd_can_flush(target) == 1 && nbd_flush(target, 0) == -1) return 1;
  nbd_shutdown(source, 0);
  nbd_shutdown(target, 0);
  return 0;
}
