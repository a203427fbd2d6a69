// What a source's bytes are, and whether a target got them: all of them, once, in their place.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "field.h"

static atomic_uchar *times;  // that a block came

static uint64_t blocks(int64_t bytes) { return ((uint64_t)bytes + block_bytes - 1) / block_bytes; }

void ledger_open(void) {
  void *memory = mmap(NULL, blocks(settings.size) + 1, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    perror("field: mmap");
    exit(1);
  }
  times = memory;
}

// The rest of the buffer stays as it is: anything but zero.
void ledger_fill(char *buffer, uint64_t offset, uint64_t length) {
  uint64_t at = (offset + block_bytes - 1) / block_bytes * block_bytes;
  for (; at + sizeof at <= offset + length; at += block_bytes) {
    uint64_t tag = at + 1;
    memcpy(buffer + (at - offset), &tag, sizeof tag);
  }
}

static bool is_zero(const char *bytes, uint64_t length) {
  for (uint64_t i = 0; i < length; i++)
    if (bytes[i] != 0) return false;
  return true;
}

void ledger_take(const char *buffer, uint64_t offset, uint64_t length) {
  const uint64_t capacity = (uint64_t)settings.capacity;
  uint64_t at = (offset + block_bytes - 1) / block_bytes * block_bytes;
  for (; at < offset + length; at += block_bytes) {
    const char *block = buffer + (at - offset);
    uint64_t here = offset + length - at, tag = 0;
    if (here > block_bytes) here = block_bytes;
    if (here < sizeof tag) break;
    if (at >= capacity) {
      if (!is_zero(block, here)) books.wrong++;
      continue;
    }
    memcpy(&tag, block, sizeof tag);
    if (tag != at + 1) books.wrong++;
    // What a disk's last block holds beyond the disk is the target's own.
    if (at + here > capacity && !is_zero(block + (capacity - at), here - (capacity - at)))
      books.wrong++;
    if (times[at / block_bytes]++ > 0) books.twice++;
  }
}

// No block of the source is zero.
void ledger_zero(uint64_t offset, uint64_t length) {
  if (offset < (uint64_t)settings.capacity && length > 0) books.wrong++;
}

int64_t ledger_missing(void) {
  int64_t missing = 0;
  for (uint64_t i = 0; i < blocks(settings.capacity); i++)
    if (times[i] == 0) missing++;
  return missing;
}
