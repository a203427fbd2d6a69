// run-timed COMMAND ARGS...: runs a command and writes what it cost to file descriptor 3, as JSON.
// Node cannot tell the resources of one child; wait4 can. Small, so that the child's peak of memory
// is its own and not that of the process which it was forked from.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double milliseconds(struct timeval t) { return t.tv_sec * 1e3 + t.tv_usec / 1e3; }

int main(int argc, char **argv) {
  if (argc < 2) return 2;
  fcntl(3, F_SETFD, FD_CLOEXEC);
  struct timespec begin, end;
  clock_gettime(CLOCK_MONOTONIC, &begin);
  pid_t pid = fork();
  if (pid == -1) return 2;
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, 9);
    execvp(argv[1], argv + 1);
    fprintf(stderr, "%s: %s\n", argv[1], strerror(errno));
    _exit(127);
  }
  int status;
  struct rusage used;
  while (wait4(pid, &status, 0, &used) == -1)
    if (errno != EINTR) return 2;
  clock_gettime(CLOCK_MONOTONIC, &end);
  dprintf(3,
          "{\"exitCode\":%d,\"wallMs\":%.3f,\"userMs\":%.3f,\"systemMs\":%.3f,\"peakBytes\":%ld}\n",
          WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
          (end.tv_sec - begin.tv_sec) * 1e3 + (end.tv_nsec - begin.tv_nsec) / 1e6,
          milliseconds(used.ru_utime), milliseconds(used.ru_stime), used.ru_maxrss * 1024L);
  return 0;
}
