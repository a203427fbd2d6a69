/* One open disk of a snapshot; see disk.c. */
#ifndef LAB_DISK_H
#define LAB_DISK_H

#include "aio.h"
#include "vixdisklib.h"

#include <stdatomic.h>
#include <stdbool.h>

typedef struct {
  char *path, *snapshot, *transport;
  int image;
  int nfc; /* open for the life of the handle; its end is the loss of the host */
  uint64_t capacitySectors;
  Aio *aio;
  atomic_ulong reads, bytes;
} Disk;

VixError diskOpenImage (Disk *disk, const char *image);
VixError diskRead (void *disk, uint64_t offset, uint64_t length, unsigned char *buffer);
bool diskInBounds (const Disk *disk, uint64_t startSector, uint64_t sectors);
VixError diskQueryAllocated (Disk *disk, uint64_t startSector, uint64_t sectors, uint64_t chunkSectors,
                             BlockList **result);
void diskFree (Disk *disk); /* waits for the reads under way */

#endif
