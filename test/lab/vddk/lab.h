/* What the stand-in library knows of the laboratory; see lab.c. */
#ifndef LAB_LAB_H
#define LAB_LAB_H

#include <stdbool.h>
#include <stdint.h>

#define PATH_BYTES 4096
#define NO_FAULT INT64_MIN

typedef struct {
  char user[256], password[256], thumbprint[128], nfcHost[256], nfcPort[16];
} Credentials;

/* Remembers the laboratory's directory, read from <libDir>/lab.conf. False when it is missing. */
bool labFind (const char *libDir);
bool labReadCredentials (Credentials *credentials);

/* The frozen image behind a snapshot's disk; false when the snapshot or the disk does not exist. */
bool labFindImage (const char *vm, const char *snapshot, const char *disk, char image[PATH_BYTES]);

/* The value of a fault for this disk, or NO_FAULT. The file is read again whenever it changed. */
int64_t labFault (const char *name, const char *disk);

/* Like labFault, but at most <name>_count times in all processes together, where a count is set. */
int64_t labTakeFault (const char *name, const char *disk);

/* One line of the record of what was read, for tests: disk, snapshot, reads, bytes. */
void labRecordUse (const char *disk, const char *snapshot, uint64_t reads, uint64_t bytes);

#endif
