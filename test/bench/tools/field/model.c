// When things happen: latency, limits of the rate, and a cache that is written to a slow disk.
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "field.h"

static const int64_t second_us = 1000 * 1000;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t begun = PTHREAD_ONCE_INIT;
static atomic_llong first_request_us;
static atomic_bool first_taken;
static struct flow total;

// Of the cache: bytes ever taken, and ever written to the disk, at the time of the last look.
static int64_t taken, drained, looked_us;

int64_t now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * second_us + now.tv_nsec / 1000;
}

void sleep_until_us(int64_t when) {
  struct timespec until = {when / second_us, when % second_us * 1000};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR) {
  }
}

static void note_first(void) { first_request_us = now_us(); }

void model_begin(void) { pthread_once(&begun, note_first); }

const struct pace *model_pace(void) {
  int64_t since_ms = first_request_us == 0 ? 0 : (now_us() - first_request_us) / 1000;
  const struct pace *pace = settings.paces;
  for (int i = 1; i < settings.paces_count; i++)
    if (since_ms >= settings.paces[i].at_ms) pace = settings.paces + i;
  return pace;
}

void model_think(void) {
  int64_t us = model_pace()->latency_us;
  if (settings.first_us > 0 && !atomic_exchange(&first_taken, true)) us = settings.first_us;
  else if (settings.jitter > 0)
    us = us * (100 - settings.jitter + random() % (2 * settings.jitter + 1)) / 100;
  if (us > 0) sleep_until_us(now_us() + us);
}

// The bytes take their turn behind those that were let through before.
static int64_t reserve(struct flow *flow, int64_t rate, int64_t bytes, int64_t now) {
  if (rate == 0) return now;
  if (flow->free_at_us < now) flow->free_at_us = now;
  flow->free_at_us += bytes * second_us / rate;
  return flow->free_at_us;
}

void model_pass(struct flow *connection, int64_t bytes) {
  const struct pace *pace = model_pace();
  pthread_mutex_lock(&lock);
  int64_t now = now_us();
  int64_t one = reserve(connection, pace->rate, bytes, now);
  int64_t all = reserve(&total, pace->total_rate, bytes, now);
  pthread_mutex_unlock(&lock);
  int64_t until = one > all ? one : all;
  if (until > now) sleep_until_us(until);
}

static void drain(void) {
  int64_t now = now_us();
  drained += settings.drain * (now - looked_us) / second_us;
  if (drained > taken) drained = taken;
  looked_us = now;
}

// Sleeps, without the lock, until the disk has so many bytes; the lock is held again afterwards.
static void wait_for_disk(int64_t bytes) {
  for (drain(); drained < bytes; drain()) {
    int64_t until = looked_us + (bytes - drained) * second_us / settings.drain + 1000;
    pthread_mutex_unlock(&lock);
    sleep_until_us(until);
    pthread_mutex_lock(&lock);
  }
}

void model_cache(int64_t bytes) {
  if (settings.cache == 0) return;
  pthread_mutex_lock(&lock);
  drain();
  taken += bytes;
  wait_for_disk(taken - settings.cache);
  pthread_mutex_unlock(&lock);
}

void model_flush(void) {
  if (settings.cache == 0) return;
  pthread_mutex_lock(&lock);
  wait_for_disk(taken);
  pthread_mutex_unlock(&lock);
}

int64_t model_dirty(void) {
  if (settings.cache == 0) return 0;
  pthread_mutex_lock(&lock);
  drain();
  int64_t bytes = taken - drained;
  pthread_mutex_unlock(&lock);
  return bytes;
}
