/* A stand-in for VMware's libvixDiskLib, loaded by the real nbdkit VDDK plugin in the laboratory.
 *
 * It behaves as the library does where a caller can tell: it wants the right user, password
 * and thumbprint, connects by TCP to the host that holds the disk (NFC, port 902 in the
 * field), opens a disk only through its snapshot, reads asynchronously, in whole sectors, and
 * reports allocation in 64 KiB chunks. What is not here: writing, and NFC's own wire format.
 *
 * The texts are VMware's where public trackers show them: the thumbprint line and "Cannot open
 * disk" in nbdkit's manual, the [NFC ERROR] lines in the issues of velero-plugin-for-vsphere
 * (118) and vexxhost/migratekit (14), "access rights" for a disk in use in CDI (3385). The
 * login line is vim25's own InvalidLogin text.
 */
#include "vixdisklib.h"
#include "aio.h"
#include "lab.h"
#include "nfc.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PUBLIC __attribute__ ((visibility ("default")))
#define AIO_THREADS 4

typedef struct {
  char *vm, *user, *password, *thumbprint, *snapshot, *transport;
} Connection;

typedef struct {
  char *path, *snapshot, *transport;
  int image;
  int nfc; /* open for the life of the handle; its end is the loss of the host */
  uint64_t capacitySectors;
  Aio *aio;
  atomic_ulong reads, bytes;
} Handle;

static LogFunction *logFunction, *warnFunction;
static atomic_ulong processReads; /* of all handles: what crash_after counts */

static void __attribute__ ((format (printf, 2, 3)))
say (LogFunction *function, const char *format, ...)
{
  va_list args;
  if (!function)
    return;
  va_start (args, format);
  function (format, args);
  va_end (args);
}

#define LOG(...) say (logFunction, __VA_ARGS__)
#define WARN(...) say (warnFunction, __VA_ARGS__)

static const char *
errorText (VixError error)
{
  switch (error) {
  case VIX_OK: return "The operation was successful";
  case VIX_E_OUT_OF_MEMORY: return "Memory allocation failed. Out of memory.";
  case VIX_E_INVALID_ARG: return "One of the parameters was invalid";
  case VIX_E_FILE_NOT_FOUND: return "A file was not found";
  case VIX_E_NOT_SUPPORTED: return "The operation is not supported";
  case VIX_E_FILE_ERROR: return "A file access error occurred on the host or guest operating system";
  case VIX_E_FILE_READ_ONLY: return "A file is write-protected";
  case VIX_E_FILE_ACCESS_ERROR: return "You do not have access rights to this file";
  case VIX_E_HOST_USER_PERMISSIONS: return "Insufficient permissions in the host operating system";
  case VIX_E_HOST_SERVER_NOT_FOUND: return "The specified server could not be contacted";
  case VIX_E_HOST_NETWORK_CONN_REFUSED: return "The server refused connection";
  case VIX_E_HOST_TCP_SOCKET_ERROR: return "There was an error in communication";
  case VIX_E_HOST_TCP_CONN_LOST: return "The connection was lost";
  case VIX_E_DISK_OUTOFRANGE:
    return "You have requested access to an area of the virtual disk that is out of bounds";
  case VIX_E_CANNOT_CONNECT_TO_HOST: return "Cannot connect to the host";
  default: return "Unknown error";
  }
}

PUBLIC char *
VixDiskLib_GetErrorText (VixError error, const char *locale)
{
  (void) locale;
  return strdup (errorText (error));
}

PUBLIC void
VixDiskLib_FreeErrorText (char *text)
{
  free (text);
}

PUBLIC VixError
VixDiskLib_InitEx (uint32_t major, uint32_t minor, LogFunction *log, LogFunction *warn,
                   LogFunction *panic, const char *libDir, const char *configFile)
{
  (void) panic;
  logFunction = log;
  warnFunction = warn;
  LOG ("VMware VixDiskLib (%u.%u) Release build-00000000 (laboratory)", major, minor);
  if (configFile && access (configFile, R_OK) == -1)
    WARN ("Failed to read the configuration file %s: %s", configFile, strerror (errno));
  if (!labFind (libDir)) {
    WARN ("Not a laboratory: %s/lab.conf cannot be read", libDir);
    return VIX_E_FILE_NOT_FOUND;
  }
  return VIX_OK;
}

PUBLIC void
VixDiskLib_Exit (void)
{
}

PUBLIC const char *
VixDiskLib_ListTransportModes (void)
{
  return "file:nbdssl:nbd";
}

PUBLIC ConnectParams *
VixDiskLib_AllocateConnectParams (void)
{
  return calloc (1, sizeof (ConnectParams));
}

/* The strings inside are the caller's. */
PUBLIC void
VixDiskLib_FreeConnectParams (ConnectParams *params)
{
  free (params);
}

static char *
copyText (const char *text)
{
  return strdup (text ? text : "");
}

/* The first mode asked for that exists here: remote disks cannot be read as local files. */
static char *
chooseTransport (const char *modes)
{
  char *list = strdup (modes && *modes ? modes : "file:nbdssl:nbd"), *rest = list, *mode;
  while ((mode = strsep (&rest, ":"))) {
    if (strcmp (mode, "nbdssl") == 0 || strcmp (mode, "nbd") == 0) {
      char *chosen = strdup (mode);
      free (list);
      return chosen;
    }
  }
  free (list);
  return NULL;
}

PUBLIC VixError
VixDiskLib_Disconnect (void *vp)
{
  Connection *c = vp;
  free (c->vm);
  free (c->user);
  if (c->password)
    explicit_bzero (c->password, strlen (c->password));
  free (c->password);
  free (c->thumbprint);
  free (c->snapshot);
  free (c->transport);
  free (c);
  return VIX_OK;
}

PUBLIC VixError
VixDiskLib_ConnectEx (const ConnectParams *params, char readOnly, const char *snapshot,
                      const char *transportModes, void **connection)
{
  (void) readOnly;
  int64_t fault = labTakeFault ("connect_error", "");
  if (fault != NO_FAULT)
    return (VixError) fault;
  if (!params->vmxSpec || !params->serverName || params->credType != 1
      || !params->creds.uid.userName || !params->creds.uid.password
      || strncmp (params->vmxSpec, "moref=", 6) != 0)
    return VIX_E_INVALID_ARG;
  Connection *c = calloc (1, sizeof *c);
  if (!c)
    return VIX_E_OUT_OF_MEMORY;
  c->vm = copyText (params->vmxSpec + 6);
  c->user = copyText (params->creds.uid.userName);
  c->password = copyText (params->creds.uid.password);
  c->thumbprint = copyText (params->thumbPrint);
  c->snapshot = copyText (snapshot);
  c->transport = chooseTransport (transportModes);
  if (!c->transport) {
    VixDiskLib_Disconnect (c);
    LOG ("VixDiskLib: VixDiskLib_ConnectEx: none of the transports %s is available.", transportModes);
    return VIX_E_NOT_SUPPORTED;
  }
  LOG ("VixDiskLib: VixDiskLib_ConnectEx: Establish connection using %s.", c->transport);
  *connection = c;
  return VIX_OK;
}

static VixError
checkLogin (const Connection *c, const Credentials *expected, const char *path)
{
  if (strcasecmp (c->thumbprint, expected->thumbprint) != 0
      || labTakeFault ("bad_thumbprint", path) > 0) {
    LOG ("VixDiskLibVim: Failed to verify SSL certificate: actual thumbprint=%s expected=%s",
         expected->thumbprint, c->thumbprint);
    return VIX_E_FAIL;
  }
  if (strcmp (c->user, expected->user) != 0 || strcmp (c->password, expected->password) != 0
      || labTakeFault ("bad_credentials", path) > 0) {
    LOG ("VixDiskLibVim: Login failure. Cannot complete login due to an incorrect user name or password.");
    return VIX_E_HOST_USER_PERMISSIONS;
  }
  return VIX_OK;
}

static VixError
findImage (const Connection *c, const char *path, char image[PATH_BYTES])
{
  if (!*c->snapshot) {
    LOG ("VixDiskLib: %s is in use by the running virtual machine.", path);
    return VIX_E_FILE_ACCESS_ERROR;
  }
  if (labFindImage (c->vm, c->snapshot, path, image))
    return VIX_OK;
  LOG ("VixDiskLibVim: GetFileName: Cannot create disk spec for disk %s of %s, snapshot %s.", path,
       c->vm, c->snapshot);
  return VIX_E_FILE_NOT_FOUND;
}

/* The connected socket, or -1 with the reason logged and in *error. */
static int
connectHost (const Credentials *c, const char *path, VixError *error)
{
  char reason[512];
  LOG ("NBD_ClientOpen: attempting to create connection to vpxa-nfcssl://%s@%s:%s", path,
       c->nfcHost, c->nfcPort);
  bool refuse = labTakeFault ("nfc_refuse", path) > 0;
  bool unknown = labTakeFault ("nfc_unresolvable", path) > 0;
  int fd = nfcConnect (c, refuse, unknown, reason, sizeof reason);
  if (fd >= 0)
    return fd;
  *error = fd == NFC_UNRESOLVABLE ? VIX_E_HOST_SERVER_NOT_FOUND : VIX_E_HOST_NETWORK_CONN_REFUSED;
  WARN ("[NFC ERROR]NfcNewAuthdConnectionEx: Failed to connect: %s", reason);
  WARN ("[NFC ERROR]NfcNewAuthdConnectionEx: Failed to connect to peer. Error: %s", reason);
  WARN ("[NFC ERROR]NfcEstablishAuthCnxToServer: Failed to create new AuthD connection: %s", reason);
  WARN ("[NFC ERROR]Nfc_BindAndEstablishAuthdCnx3: Failed to create a connection with server");
  LOG ("NBD_ClientOpen: Couldn't connect to %s:%s %s", c->nfcHost, c->nfcPort, reason);
  return -1;
}

static bool
connectionLost (Handle *h)
{
  char byte;
  ssize_t r = recv (h->nfc, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return r == 0 || (r == -1 && errno != EAGAIN && errno != EINTR);
}

/* Faults that strike a read before it touches the image. */
static VixError
strike (Handle *h, uint64_t offset, uint64_t length)
{
  unsigned long readNumber = atomic_fetch_add (&h->reads, 1) + 1;
  unsigned long processRead = atomic_fetch_add (&processReads, 1) + 1;
  int64_t value = labFault ("delay_us", h->path);
  if (value > 0)
    usleep ((useconds_t) value);
  value = labFault ("crash_after", h->path);
  if (value != NO_FAULT && processRead > (uint64_t) value
      && labTakeFault ("crash_after", h->path) != NO_FAULT)
    abort ();
  value = labFault ("hang_after", h->path);
  if (value != NO_FAULT && readNumber > (uint64_t) value
      && labTakeFault ("hang_after", h->path) != NO_FAULT)
    while (labFault ("hang_after", h->path) != NO_FAULT)
      usleep (20000);
  value = labFault ("drop_after", h->path);
  if (value != NO_FAULT && readNumber > (uint64_t) value
      && labTakeFault ("drop_after", h->path) != NO_FAULT)
    shutdown (h->nfc, SHUT_RDWR);
  if (connectionLost (h)) {
    WARN ("[NFC ERROR] NfcAioProcessIoError: the connection to the host was lost (session %d)", h->nfc);
    return VIX_E_HOST_TCP_CONN_LOST;
  }
  value = labFault ("read_error_at", h->path);
  if (value != NO_FAULT && (uint64_t) value >= offset && (uint64_t) value < offset + length
      && labTakeFault ("read_error_at", h->path) != NO_FAULT) {
    int64_t code = labFault ("read_error_code", h->path);
    return code == NO_FAULT ? VIX_E_FILE_ERROR : (VixError) code;
  }
  return VIX_OK;
}

static VixError
readImage (void *owner, uint64_t offset, uint64_t length, unsigned char *buffer)
{
  Handle *h = owner;
  VixError error = strike (h, offset, length);
  if (error != VIX_OK)
    return error;
  for (uint64_t done = 0; done < length;) {
    ssize_t r = pread (h->image, buffer + done, length - done, (off_t) (offset + done));
    if (r <= 0 && !(r == -1 && errno == EINTR))
      return VIX_E_FILE_ERROR;
    done += r > 0 ? (uint64_t) r : 0;
  }
  atomic_fetch_add (&h->bytes, length);
  return VIX_OK;
}

static void
freeHandle (Handle *h)
{
  if (h->aio)
    aioStop (h->aio);
  if (h->image >= 0)
    close (h->image);
  if (h->nfc >= 0)
    close (h->nfc);
  free (h->path);
  free (h->snapshot);
  free (h->transport);
  free (h);
}

static VixError
openImage (Handle *h, const char *image)
{
  struct stat status;
  h->image = open (image, O_RDONLY | O_CLOEXEC);
  if (h->image == -1 || fstat (h->image, &status) == -1)
    return VIX_E_FILE_NOT_FOUND;
  int64_t capacity = labFault ("capacity_bytes", h->path);
  h->capacitySectors = (uint64_t) (capacity > 0 ? capacity : status.st_size) / SECTOR_BYTES;
  int64_t threads = labFault ("aio_threads", h->path);
  h->aio = aioStart (threads > 0 ? (int) threads : AIO_THREADS, readImage, h);
  return h->aio ? VIX_OK : VIX_E_OUT_OF_MEMORY;
}

static VixError
openDisk (const Connection *c, Handle *h, uint32_t flags)
{
  Credentials credentials;
  char image[PATH_BYTES];
  int64_t fault = labFault ("open_delay_us", h->path);
  if (fault > 0)
    usleep ((useconds_t) fault);
  fault = labTakeFault ("open_error", h->path);
  if (fault != NO_FAULT)
    return (VixError) fault;
  if (!(flags & OPEN_READ_ONLY))
    return VIX_E_FILE_ACCESS_ERROR;
  if (!labReadCredentials (&credentials))
    return VIX_E_CANNOT_CONNECT_TO_HOST;
  VixError error = checkLogin (c, &credentials, h->path);
  if (error == VIX_OK)
    error = findImage (c, h->path, image);
  if (error != VIX_OK)
    return error;
  h->nfc = connectHost (&credentials, h->path, &error);
  return h->nfc >= 0 ? openImage (h, image) : error;
}

PUBLIC VixError
VixDiskLib_Open (void *connection, const char *path, uint32_t flags, void **handle)
{
  const Connection *c = connection;
  Handle *h = calloc (1, sizeof *h);
  if (!h)
    return VIX_E_OUT_OF_MEMORY;
  h->image = h->nfc = -1;
  h->path = copyText (path);
  h->snapshot = copyText (c->snapshot);
  h->transport = copyText (c->transport);
  LOG ("VixDiskLib: VixDiskLib_OpenEx: Open a disk.");
  VixError error = openDisk (c, h, flags);
  if (error != VIX_OK) {
    LOG ("VixDiskLib: VixDiskLib_OpenEx: Cannot open disk %s. Error %llu (%s) at %d.", path,
         (unsigned long long) error, errorText (error), __LINE__);
    freeHandle (h);
    return error;
  }
  *handle = h;
  return VIX_OK;
}

PUBLIC VixError
VixDiskLib_Close (void *vp)
{
  Handle *h = vp;
  aioWait (h->aio);
  labRecordUse (h->path, h->snapshot, h->reads, h->bytes);
  freeHandle (h);
  return VIX_OK;
}

PUBLIC const char *
VixDiskLib_GetTransportMode (void *vp)
{
  return ((Handle *) vp)->transport;
}

PUBLIC VixError
VixDiskLib_GetInfo (void *vp, DiskInfo **info)
{
  Handle *h = vp;
  DiskInfo *i = calloc (1, sizeof *i);
  if (!i)
    return VIX_E_OUT_OF_MEMORY;
  i->capacity = h->capacitySectors;
  i->biosGeo = i->physGeo
    = (Geometry) { .cylinders = (uint32_t) (h->capacitySectors / (255 * 63)), .heads = 255, .sectors = 63 };
  i->adapterType = 3; /* SCSI, LSI Logic */
  i->numLinks = 1;
  i->logicalSectorSize = i->physicalSectorSize = SECTOR_BYTES;
  *info = i;
  return VIX_OK;
}

PUBLIC void
VixDiskLib_FreeInfo (DiskInfo *info)
{
  free (info);
}

static bool
inBounds (const Handle *h, uint64_t startSector, uint64_t sectors)
{
  return sectors <= h->capacitySectors && startSector <= h->capacitySectors - sectors;
}

PUBLIC VixError
VixDiskLib_Read (void *vp, uint64_t startSector, uint64_t sectors, unsigned char *buffer)
{
  if (!inBounds (vp, startSector, sectors))
    return VIX_E_DISK_OUTOFRANGE;
  return readImage (vp, startSector * SECTOR_BYTES, sectors * SECTOR_BYTES, buffer);
}

PUBLIC VixError
VixDiskLib_ReadAsync (void *vp, uint64_t startSector, uint64_t sectors, unsigned char *buffer,
                      CompletionFunction *complete, void *data)
{
  Handle *h = vp;
  if (!inBounds (h, startSector, sectors))
    return VIX_E_DISK_OUTOFRANGE;
  if (!aioSubmit (h->aio, startSector * SECTOR_BYTES, sectors * SECTOR_BYTES, buffer, complete, data))
    return VIX_E_OUT_OF_MEMORY;
  return VIX_ASYNC;
}

PUBLIC VixError
VixDiskLib_Wait (void *vp)
{
  aioWait (((Handle *) vp)->aio);
  return VIX_OK;
}

PUBLIC VixError
VixDiskLib_Flush (void *vp)
{
  return VixDiskLib_Wait (vp);
}

/* A snapshot is never written: nothing in the product may even try. */
PUBLIC VixError
VixDiskLib_Write (void *vp, uint64_t startSector, uint64_t sectors, const unsigned char *buffer)
{
  (void) startSector, (void) sectors, (void) buffer;
  WARN ("VixDiskLib: refused to write to %s", ((Handle *) vp)->path);
  return VIX_E_FILE_READ_ONLY;
}

PUBLIC VixError
VixDiskLib_WriteAsync (void *vp, uint64_t startSector, uint64_t sectors, const unsigned char *buffer,
                       CompletionFunction *complete, void *data)
{
  (void) complete, (void) data;
  return VixDiskLib_Write (vp, startSector, sectors, buffer);
}

PUBLIC VixError
VixDiskLib_Create (void *connection, const char *path, const void *params, void *progress, void *data)
{
  (void) connection, (void) path, (void) params, (void) progress, (void) data;
  return VIX_E_NOT_SUPPORTED;
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

PUBLIC VixError
VixDiskLib_QueryAllocatedBlocks (void *vp, uint64_t startSector, uint64_t sectors,
                                 uint64_t chunkSectors, BlockList **result)
{
  Handle *h = vp;
  int64_t failAfter = labFault ("extents_error_from", h->path);
  if (labFault ("no_extents", h->path) > 0)
    return VIX_E_NOT_SUPPORTED;
  if (failAfter != NO_FAULT && (startSector + sectors) * SECTOR_BYTES > (uint64_t) failAfter
      && labTakeFault ("extents_error_from", h->path) != NO_FAULT)
    return VIX_E_FAIL;
  if (chunkSectors < MIN_CHUNK_SECTORS || sectors < chunkSectors || sectors % chunkSectors
      || startSector % chunkSectors || !inBounds (h, startSector, sectors))
    return VIX_E_INVALID_ARG;
  uint64_t chunkBytes = chunkSectors * SECTOR_BYTES, position = startSector * SECTOR_BYTES;
  uint64_t end = (startSector + sectors) * SECTOR_BYTES;
  BlockList *list = calloc (1, sizeof *list + (sectors / chunkSectors / 2 + 1) * sizeof (Block));
  if (!list)
    return VIX_E_OUT_OF_MEMORY;
  bool all = labFault ("all_allocated", h->path) > 0;
  if (all)
    addChunks (list, position, end, chunkBytes, startSector + sectors);
  while (!all && position < end) {
    off_t data = lseek (h->image, (off_t) position, SEEK_DATA);
    if (data == -1 || (uint64_t) data >= end)
      break;
    off_t hole = lseek (h->image, data, SEEK_HOLE);
    uint64_t stop = hole == -1 || (uint64_t) hole > end ? end : (uint64_t) hole;
    addChunks (list, (uint64_t) data, stop, chunkBytes, startSector + sectors);
    position = (stop + chunkBytes - 1) / chunkBytes * chunkBytes;
  }
  *result = list;
  return VIX_OK;
}

PUBLIC VixError
VixDiskLib_FreeBlockList (BlockList *list)
{
  free (list);
  return VIX_OK;
}
