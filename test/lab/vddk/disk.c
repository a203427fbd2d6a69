/* Reading the frozen image of a disk, and the faults that strike while doing so. */
#include "disk.h"
#include "lab.h"
#include "messages.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define AIO_THREADS 4 /* nfcAio.Session.BufCount */

static atomic_ulong processReads; /* of all disks: what crash_after counts */

static bool
connectionLost (Disk *disk)
{
  char byte;
  ssize_t r = recv (disk->nfc, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return r == 0 || (r == -1 && errno != EAGAIN && errno != EINTR);
}

/* Faults that strike a read before it touches the image. */
static VixError
strike (Disk *disk, uint64_t offset, uint64_t length)
{
  unsigned long readNumber = atomic_fetch_add (&disk->reads, 1) + 1;
  unsigned long processRead = atomic_fetch_add (&processReads, 1) + 1;
  int64_t value = labFault ("delay_us", disk->path);
  if (value > 0)
    usleep ((useconds_t) value);
  value = labFault ("crash_after", disk->path);
  if (value != NO_FAULT && processRead > (uint64_t) value
      && labTakeFault ("crash_after", disk->path) != NO_FAULT)
    abort ();
  value = labFault ("hang_after", disk->path);
  if (value != NO_FAULT && readNumber > (uint64_t) value
      && labTakeFault ("hang_after", disk->path) != NO_FAULT)
    while (labFault ("hang_after", disk->path) != NO_FAULT)
      usleep (20000);
  value = labFault ("drop_after", disk->path);
  if (value != NO_FAULT && readNumber > (uint64_t) value
      && labTakeFault ("drop_after", disk->path) != NO_FAULT)
    shutdown (disk->nfc, SHUT_RDWR);
  if (connectionLost (disk)) {
    WARN ("[NFC ERROR] NfcAioProcessIoError: the connection to the host was lost (session %d)",
          disk->nfc);
    return VIX_E_HOST_TCP_CONN_LOST;
  }
  value = labFault ("read_error_at", disk->path);
  if (value != NO_FAULT && (uint64_t) value >= offset && (uint64_t) value < offset + length
      && labTakeFault ("read_error_at", disk->path) != NO_FAULT) {
    int64_t code = labFault ("read_error_code", disk->path);
    return code == NO_FAULT ? VIX_E_FILE_ERROR : (VixError) code;
  }
  return VIX_OK;
}

VixError
diskRead (void *owner, uint64_t offset, uint64_t length, unsigned char *buffer)
{
  Disk *disk = owner;
  VixError error = strike (disk, offset, length);
  if (error != VIX_OK)
    return error;
  for (uint64_t done = 0; done < length;) {
    ssize_t r = pread (disk->image, buffer + done, length - done, (off_t) (offset + done));
    if (r <= 0 && !(r == -1 && errno == EINTR))
      return VIX_E_FILE_ERROR;
    done += r > 0 ? (uint64_t) r : 0;
  }
  atomic_fetch_add (&disk->bytes, length);
  return VIX_OK;
}

void
diskFree (Disk *disk)
{
  if (disk->aio)
    aioStop (disk->aio);
  if (disk->image >= 0)
    close (disk->image);
  if (disk->nfc >= 0)
    close (disk->nfc);
  free (disk->path);
  free (disk->snapshot);
  free (disk->transport);
  free (disk);
}

VixError
diskOpenImage (Disk *disk, const char *image)
{
  struct stat status;
  disk->image = open (image, O_RDONLY | O_CLOEXEC);
  if (disk->image == -1 || fstat (disk->image, &status) == -1)
    return VIX_E_FILE_NOT_FOUND;
  int64_t capacity = labFault ("capacity_bytes", disk->path);
  disk->capacitySectors = (uint64_t) (capacity > 0 ? capacity : status.st_size) / SECTOR_BYTES;
  int64_t threads = labFault ("aio_threads", disk->path);
  disk->aio = aioStart (threads > 0 ? (int) threads : AIO_THREADS, diskRead, disk);
  return disk->aio ? VIX_OK : VIX_E_OUT_OF_MEMORY;
}

bool
diskInBounds (const Disk *disk, uint64_t startSector, uint64_t sectors)
{
  return sectors <= disk->capacitySectors && startSector <= disk->capacitySectors - sectors;
}

/* Adds the chunks that hold data between two byte offsets, whole chunks, adjacent ones joined. */
static void
addChunks (BlockList *list, uint64_t from, uint64_t to, uint64_t chunkBytes, uint64_t endSector)
{
  uint64_t first = from / chunkBytes * chunkBytes / SECTOR_BYTES;
  uint64_t last = (to + chunkBytes - 1) / chunkBytes * chunkBytes / SECTOR_BYTES;
  last = last > endSector ? endSector : last;
  Block *previous = list->numBlocks ? &list->blocks[list->numBlocks - 1] : NULL;
  if (previous && previous->offset + previous->length >= first) {
    if (last > previous->offset + previous->length)
      previous->length = last - previous->offset;
  } else if (last > first)
    list->blocks[list->numBlocks++] = (Block) { first, last - first };
}

VixError
diskQueryAllocated (Disk *disk, uint64_t startSector, uint64_t sectors, uint64_t chunkSectors,
                    BlockList **result)
{
  int64_t failAfter = labFault ("extents_error_from", disk->path);
  if (labFault ("no_extents", disk->path) > 0)
    return VIX_E_NOT_SUPPORTED;
  if (failAfter != NO_FAULT && (startSector + sectors) * SECTOR_BYTES > (uint64_t) failAfter
      && labTakeFault ("extents_error_from", disk->path) != NO_FAULT)
    return VIX_E_FAIL;
  if (chunkSectors < MIN_CHUNK_SECTORS || sectors < chunkSectors || sectors % chunkSectors
      || startSector % chunkSectors || !diskInBounds (disk, startSector, sectors))
    return VIX_E_INVALID_ARG;
  uint64_t chunkBytes = chunkSectors * SECTOR_BYTES, position = startSector * SECTOR_BYTES;
  uint64_t end = (startSector + sectors) * SECTOR_BYTES;
  BlockList *list = calloc (1, sizeof *list + (sectors / chunkSectors / 2 + 1) * sizeof (Block));
  if (!list)
    return VIX_E_OUT_OF_MEMORY;
  bool all = labFault ("all_allocated", disk->path) > 0;
  if (all)
    addChunks (list, position, end, chunkBytes, startSector + sectors);
  while (!all && position < end) {
    off_t data = lseek (disk->image, (off_t) position, SEEK_DATA);
    if (data == -1 || (uint64_t) data >= end)
      break;
    off_t hole = lseek (disk->image, data, SEEK_HOLE);
    uint64_t stop = hole == -1 || (uint64_t) hole > end ? end : (uint64_t) hole;
    addChunks (list, (uint64_t) data, stop, chunkBytes, startSector + sectors);
    position = (stop + chunkBytes - 1) / chunkBytes * chunkBytes;
  }
  *result = list;
  return VIX_OK;
}
