// An NBD server that behaves as servers in the field do, and keeps books. It holds no disk: as a source it
// makes the bytes that are asked for, each block of 4 KiB beginning with its own offset; as a target it looks
// at every block that arrives and forgets it. So a copy may be as long as it takes to settle.
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { block_bytes = 4096, changes_maximum = 4, request_bytes_maximum = 32 << 20 };

// How a server answers, from some moment on.
struct pace {
  int64_t at_ms;       // since the first request
  int64_t latency_us;  // that one request takes
  int64_t parallel;    // requests of a connection that are worked on at once
  int64_t rate;        // bytes a second of each connection; 0: no limit
  int64_t total_rate;  // of all of them
};

struct settings {
  int64_t target;  // or a source
  struct pace paces[changes_maximum];
  int paces_count;
  int64_t size, capacity;  // what the copy is to bring; above it a target holds zeroes
  int64_t jitter;          // latencies are spread evenly over so many per cent around the mean
  int64_t first_us;        // what the very first request takes, where it is not as the others
  int64_t open_ms;         // before a connection is greeted
  int64_t clients;         // at once; 0: any number. With 1, multi-conn is not offered
  int64_t cache, drain;    // bytes that are taken at once, and bytes a second that leave for the disk
  int64_t minimum_block;   // whatever is not made of these is refused
};

// Since the start; read by the teller without a lock.
struct books {
  atomic_llong delivered, sent;  // bytes: written and acknowledged; read and sent
  atomic_llong connections, opening, opened, refused;
  atomic_llong wrong, twice;  // blocks
  atomic_llong flushes;
};

extern struct settings settings;
extern struct books books;

int64_t now_us(void);
void sleep_until_us(int64_t when);

// model.c: when things happen.
struct flow {
  int64_t free_at_us;
};
void model_begin(void);
const struct pace *model_pace(void);
// Sleeps for as long as a request takes before its bytes move.
void model_think(void);
// Sleeps until so many bytes have passed the limits of the connection and of all.
void model_pass(struct flow *connection, int64_t bytes);
// Of a target's cache: waits for room and takes them; waits until all that is in it now is on the disk.
void model_cache(int64_t bytes);
void model_flush(void);
int64_t model_dirty(void);

// ledger.c: which blocks came.
void ledger_open(void);
void ledger_fill(char *buffer, uint64_t offset, uint64_t length);
void ledger_take(const char *buffer, uint64_t offset, uint64_t length);
void ledger_zero(uint64_t offset, uint64_t length);
int64_t ledger_missing(void);

// serve.c: one connection, from the greeting on.
void serve(int fd);
