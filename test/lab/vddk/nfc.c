/* Connecting as VMware's clients do: to vmware-authd on port 902, which greets with "220 …". */
#include "nfc.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define GREETING_TIMEOUT_MS 5000

static int
connectAny (const struct addrinfo *list)
{
  int error = EADDRNOTAVAIL;
  for (const struct addrinfo *a = list; a; a = a->ai_next) {
    int fd = socket (a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
    if (fd >= 0 && connect (fd, a->ai_addr, a->ai_addrlen) == 0)
      return fd;
    error = errno;
    if (fd >= 0)
      close (fd);
  }
  errno = error;
  return -1;
}

static bool
readGreeting (int fd)
{
  char greeting[256];
  struct pollfd poller = { .fd = fd, .events = POLLIN };
  if (poll (&poller, 1, GREETING_TIMEOUT_MS) != 1)
    return false;
  ssize_t length = recv (fd, greeting, sizeof greeting, 0);
  return length >= 4 && memcmp (greeting, "220 ", 4) == 0;
}

int
nfcConnect (const Credentials *host, const char *path, bool refuse, bool unresolvable, char *reason,
            size_t reasonBytes)
{
  struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *list = NULL;
  int failure = unresolvable ? EAI_NONAME : getaddrinfo (host->nfcHost, host->nfcPort, &hints, &list);
  if (failure) {
    snprintf (reason, reasonBytes, "Host address lookup for server %s failed: %s", host->nfcHost,
              gai_strerror (failure));
    return NFC_UNRESOLVABLE;
  }
  int fd = refuse ? -1 : connectAny (list);
  freeaddrinfo (list);
  if (fd == -1) {
    snprintf (reason, reasonBytes, "Failed to connect to server %s:%s", host->nfcHost, host->nfcPort);
    return NFC_REFUSED;
  }
  if (!readGreeting (fd)) {
    close (fd);
    snprintf (reason, reasonBytes,
              "Error reading from vmware-authd socket. Reason: Resource temporarily unavailable");
    return NFC_REFUSED;
  }
  /* In place of the session that VMware's library begins now: for whom it is, so that it can be counted. */
  dprintf (fd, "%s\n", path);
  return fd;
}
