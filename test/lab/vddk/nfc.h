/* The connection to the ESXi host that holds a disk; see nfc.c. */
#ifndef LAB_NFC_H
#define LAB_NFC_H

#include "lab.h"

#include <stddef.h>
#include <sys/socket.h>

enum { NFC_REFUSED = -1, NFC_UNRESOLVABLE = -2 };

/* A connected socket after the daemon's greeting, or one of the above with VMware's words for what failed. */
int nfcConnect (const Credentials *host, const char *path, bool refuse, bool unresolvable, char *reason,
                size_t reasonBytes);

#endif
