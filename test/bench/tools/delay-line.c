// delay-line PORT DELAY_US BYTES_PER_SECOND WINDOW_BYTES: a long line to PORT of 127.0.0.1; prints the port where
// it begins. What is sent arrives DELAY_US later; all connections share BYTES_PER_SECOND each way; and of
// each no more than WINDOW_BYTES are on their way or not yet acknowledged, as TCP has it.
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { piece_bytes = 64 * 1024, unacknowledged_maximum = 4096 };

struct piece {
  struct piece *next;
  int64_t due_us;
  int64_t bytes;
  char data[piece_bytes];
};

// One direction of one connection, with a thread at each end.
struct way {
  int from, to, direction;
  pthread_mutex_t lock;
  pthread_cond_t changed;
  struct piece *first, **last;
  int ended;
  // The taking end's own.
  struct {
    int64_t at_us, bytes;
  } acknowledged[unacknowledged_maximum];
  unsigned oldest, count;
  int64_t window_bytes;
};

static int64_t delay_us, rate, window_bytes;
static pthread_mutex_t line = PTHREAD_MUTEX_INITIALIZER;
static int64_t line_free_us[2];

static int64_t now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * INT64_C(1000000) + now.tv_nsec / 1000;
}

static void sleep_until_us(int64_t when) {
  struct timespec until = {when / 1000000, when % 1000000 * 1000};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR) {
  }
}

static void wait_for_window(struct way *way) {
  while (way->count > 0 &&
         (way->window_bytes + piece_bytes > window_bytes || way->count == unacknowledged_maximum)) {
    sleep_until_us(way->acknowledged[way->oldest].at_us);
    way->window_bytes -= way->acknowledged[way->oldest].bytes;
    way->oldest = (way->oldest + 1) % unacknowledged_maximum;
    way->count--;
  }
}

// When the bytes arrive that now take their turn on the line.
static int64_t send_off(struct way *way, int64_t bytes) {
  pthread_mutex_lock(&line);
  int64_t now = now_us(), *free_us = line_free_us + way->direction;
  if (*free_us < now) *free_us = now;
  *free_us += bytes * 1000000 / rate;
  int64_t due = *free_us + delay_us;
  pthread_mutex_unlock(&line);
  unsigned at = (way->oldest + way->count++) % unacknowledged_maximum;
  way->acknowledged[at].at_us = due + delay_us;
  way->acknowledged[at].bytes = bytes;
  way->window_bytes += bytes;
  return due;
}

static void *take(void *argument) {
  struct way *way = argument;
  for (;;) {
    wait_for_window(way);
    struct piece *piece = malloc(sizeof *piece);
    piece->next = NULL;
    piece->bytes = read(way->from, piece->data, piece_bytes);
    int ended = piece->bytes <= 0;
    if (!ended) piece->due_us = send_off(way, piece->bytes);
    pthread_mutex_lock(&way->lock);
    if (ended) {
      free(piece);
      way->ended = 1;
    } else {
      *way->last = piece;
      way->last = &piece->next;
    }
    pthread_cond_signal(&way->changed);
    pthread_mutex_unlock(&way->lock);
    if (ended) return NULL;
  }
}

static void *give(void *argument) {
  struct way *way = argument;
  for (;;) {
    pthread_mutex_lock(&way->lock);
    while (way->first == NULL && !way->ended) pthread_cond_wait(&way->changed, &way->lock);
    struct piece *piece = way->first;
    if (piece != NULL && (way->first = piece->next) == NULL) way->last = &way->first;
    pthread_mutex_unlock(&way->lock);
    if (piece == NULL) break;
    sleep_until_us(piece->due_us);
    ssize_t n = 0;
    for (int64_t sent = 0; sent < piece->bytes && n >= 0; sent += n)
      n = write(way->to, piece->data + sent, (size_t)(piece->bytes - sent));
    free(piece);
  }
  shutdown(way->to, SHUT_WR);
  shutdown(way->from, SHUT_RD);
  return NULL;
}

static void *join(void *argument) {
  struct way *ways = argument;
  pthread_t threads[4];
  for (int i = 0; i < 2; i++) {
    pthread_create(&threads[2 * i], NULL, take, &ways[i]);
    pthread_create(&threads[2 * i + 1], NULL, give, &ways[i]);
  }
  for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
  close(ways[0].from);
  close(ways[0].to);
  free(ways);
  return NULL;
}

int main(int count, char **arguments) {
  if (count != 5) return 2;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  signal(SIGPIPE, SIG_IGN);
  struct sockaddr_in far = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}, near = far;
  far.sin_port = htons((in_port_t)atoi(arguments[1]));
  delay_us = atoll(arguments[2]);
  rate = atoll(arguments[3]);
  window_bytes = atoll(arguments[4]);
  socklen_t size = sizeof near;
  int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
  if (listener == -1 || bind(listener, (struct sockaddr *)&near, size) == -1 || listen(listener, 64) == -1 ||
      getsockname(listener, (struct sockaddr *)&near, &size) == -1)
    return 1;
  printf("listening %d\n", ntohs(near.sin_port));
  fflush(stdout);
  for (;;) {
    int from = accept(listener, NULL, NULL), to = socket(AF_INET, SOCK_STREAM, 0);
    if (from == -1 || to == -1 || connect(to, (struct sockaddr *)&far, sizeof far) == -1) {
      close(from);
      close(to);
      continue;
    }
    setsockopt(from, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(to, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct way *ways = calloc(2, sizeof *ways);
    for (int i = 0; i < 2; i++) {
      ways[i].from = i == 0 ? from : to;
      ways[i].to = i == 0 ? to : from;
      ways[i].direction = i;
      ways[i].last = &ways[i].first;
      pthread_mutex_init(&ways[i].lock, NULL);
      pthread_cond_init(&ways[i].changed, NULL);
    }
    pthread_t thread;
    pthread_create(&thread, NULL, join, ways);
    pthread_detach(thread);
  }
}
