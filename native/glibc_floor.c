/*
 * Lets an addon that is built on a new system run on glibc 2.28, as Node itself does. The static
 * libstdc++ and libgcc of a new system refer to functions that old glibcs lack or kept in
 * libpthread, under an older version name. They find these here instead, inside the addon, hidden.
 * x86-64 only, where the oldest version name is GLIBC_2.2.5. Not part of sanitizer builds, which
 * put their own functions in these places.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

/* pthread.h is left out: its declarations would make the definitions below visible outside. */
typedef unsigned long Thread;
typedef unsigned int Key;

#define OLD(name) __asm__(".symver old_" #name ", " #name "@GLIBC_2.2.5")

#pragma GCC visibility push(default)
int old_pthread_create(Thread *, const void *, void *(*)(void *), void *);
int old_pthread_join(Thread, void **);
int old_pthread_detach(Thread);
int old_pthread_once(int *, void (*)(void));
int old_pthread_key_create(Key *, void (*)(void *));
int old_pthread_key_delete(Key);
void *old_pthread_getspecific(Key);
int old_pthread_setspecific(Key, const void *);
int pthread_cond_timedwait(void *, void *, const struct timespec *);
void *old_dlsym(void *, const char *);
long old_strtol(const char *, char **, int);
unsigned long old_strtoul(const char *, char **, int);
long long old_strtoll(const char *, char **, int);
unsigned long long old_strtoull(const char *, char **, int);
#pragma GCC visibility pop

OLD(pthread_create);
OLD(pthread_join);
OLD(pthread_detach);
OLD(pthread_once);
OLD(pthread_key_create);
OLD(pthread_key_delete);
OLD(pthread_getspecific);
OLD(pthread_setspecific);
OLD(dlsym); /* from libdl before 2.34 */
OLD(strtol); /* by these names: the header's own lead to those below */
OLD(strtoul);
OLD(strtoll);
OLD(strtoull);

#pragma GCC visibility push(hidden)

/* glibc 2.34 moved these from libpthread to libc, under that version's name. */
int pthread_create(Thread *thread, const void *attributes, void *(*start)(void *), void *argument) {
  return old_pthread_create(thread, attributes, start, argument);
}
int pthread_join(Thread thread, void **result) { return old_pthread_join(thread, result); }
int pthread_detach(Thread thread) { return old_pthread_detach(thread); }
int pthread_once(int *control, void (*routine)(void)) { return old_pthread_once(control, routine); }
int pthread_key_create(Key *key, void (*destroy)(void *)) {
  return old_pthread_key_create(key, destroy);
}
int __pthread_key_create(Key *key, void (*destroy)(void *)) {
  return old_pthread_key_create(key, destroy);
}
int pthread_key_delete(Key key) { return old_pthread_key_delete(key); }
void *pthread_getspecific(Key key) { return old_pthread_getspecific(key); }
int pthread_setspecific(Key key, const void *value) { return old_pthread_setspecific(key, value); }

/*
 * glibc 2.30. std::condition_variable waits by the monotonic clock with it. Without it the rest of
 * the time is put on the real-time clock, by which a condition variable without attributes waits;
 * a step of that clock then makes the wait longer or shorter.
 */
typedef int ClockWait(void *, void *, clockid_t, const struct timespec *);
static ClockWait *clock_wait;

__attribute__((constructor)) static void find_clock_wait(void) {
  clock_wait = (ClockWait *)old_dlsym(NULL, "pthread_cond_clockwait");
}

int pthread_cond_clockwait(void *condition, void *mutex, clockid_t clock,
                           const struct timespec *until) {
  if (clock_wait) return clock_wait(condition, mutex, clock, until);
  const int64_t second = 1000000000;
  struct timespec then, now;
  clock_gettime(clock, &then);
  clock_gettime(CLOCK_REALTIME, &now);
  int64_t rest = (until->tv_sec - then.tv_sec) * second + until->tv_nsec - then.tv_nsec;
  if (rest < 0) rest = 0;
  const int64_t nanoseconds = now.tv_nsec + rest % second;
  const struct timespec deadline = {
      .tv_sec = now.tv_sec + rest / second + nanoseconds / second,
      .tv_nsec = nanoseconds % second,
  };
  return pthread_cond_timedwait(condition, mutex, &deadline);
}

/* glibc 2.35: a faster way to unwinding tables. "Not found" makes libgcc take the older way. */
int _dl_find_object(void *address, void *result) {
  (void)address;
  (void)result;
  return -1;
}

/* glibc 2.38: what the headers turn strtol and its kin into, for C23's binary numbers. */
long __isoc23_strtol(const char *text, char **end, int base) { return old_strtol(text, end, base); }
unsigned long __isoc23_strtoul(const char *text, char **end, int base) {
  return old_strtoul(text, end, base);
}
long long __isoc23_strtoll(const char *text, char **end, int base) {
  return old_strtoll(text, end, base);
}
unsigned long long __isoc23_strtoull(const char *text, char **end, int base) {
  return old_strtoull(text, end, base);
}

/* glibc 2.36. */
uint32_t arc4random(void) {
  uint32_t value;
  while (getrandom(&value, sizeof value, 0) != sizeof value) {
    if (errno != EINTR) abort();
  }
  return value;
}

/* glibc 2.32: whether reference counts may do without atomic instructions. They may not. */
char __libc_single_threaded = 0;

#pragma GCC visibility pop
