// relay BYTES CHAINS: bytes through a Unix socket, one process that passes them on, and a TCP
// connection over the loopback: what the kernel's sockets alone allow a copier here. No protocol, no
// disks. Each chain is a sender, a relay and a receiver.
#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { chunk_bytes = 1 << 20 };
static char buffer[chunk_bytes];

static void send_all(int fd, size_t bytes) {
  for (size_t sent = 0; sent < bytes;) {
    ssize_t n = write(fd, buffer + sent, bytes - sent);
    if (n <= 0) _exit(1);
    sent += (size_t)n;
  }
}

static void chain(uint64_t bytes) {
  int pair[2];
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof address;
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == -1 || listener == -1 ||
      bind(listener, (struct sockaddr *)&address, size) == -1 || listen(listener, 1) == -1 ||
      getsockname(listener, (struct sockaddr *)&address, &size) == -1)
    _exit(1);
  if (fork() == 0) {
    close(pair[0]);
    for (uint64_t sent = 0; sent < bytes; sent += chunk_bytes) send_all(pair[1], chunk_bytes);
    _exit(0);
  }
  close(pair[1]);
  if (fork() == 0) {
    int from = accept(listener, NULL, NULL);
    while (read(from, buffer, chunk_bytes) > 0) {
    }
    _exit(0);
  }
  int to = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(to, (struct sockaddr *)&address, size) == -1) _exit(1);
  ssize_t n;
  while ((n = read(pair[0], buffer, chunk_bytes)) > 0) send_all(to, (size_t)n);
  close(to);
  while (wait(NULL) > 0) {
  }
  _exit(0);
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  uint64_t bytes = strtoull(argv[1], NULL, 10);
  int chains = atoi(argv[2]), failed = 0, status;
  for (int i = 0; i < chains; i++)
    if (fork() == 0) chain(bytes / (uint64_t)chains);
  while (wait(&status) > 0) failed |= status != 0;
  return failed;
}
