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
#include "disk.h"
#include "lab.h"
#include "messages.h"
#include "nfc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PUBLIC __attribute__ ((visibility ("default")))

typedef struct {
  char *vm, *user, *password, *thumbprint, *snapshot, *transport;
} Connection;

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
    bool encrypted = strcmp (mode, "nbdssl") == 0;
    if (encrypted && labFault ("no_nbdssl", "") > 0)
      continue;
    if (encrypted || strcmp (mode, "nbd") == 0) {
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
    LOG ("VixDiskLibVim: Login failure. %s",
         "Cannot complete login due to an incorrect user name or password.");
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
  int fd = nfcConnect (c, path, refuse, unknown, reason, sizeof reason);
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

static VixError
openDisk (const Connection *c, Disk *disk, uint32_t flags)
{
  Credentials credentials;
  char image[PATH_BYTES];
  int64_t fault = labFault ("open_delay_us", disk->path);
  if (fault > 0)
    usleep ((useconds_t) fault);
  fault = labTakeFault ("open_error", disk->path);
  if (fault != NO_FAULT)
    return (VixError) fault;
  if (!(flags & OPEN_READ_ONLY))
    return VIX_E_FILE_ACCESS_ERROR;
  if (!labReadCredentials (&credentials))
    return VIX_E_CANNOT_CONNECT_TO_HOST;
  VixError error = checkLogin (c, &credentials, disk->path);
  if (error == VIX_OK)
    error = findImage (c, disk->path, image);
  if (error != VIX_OK)
    return error;
  disk->nfc = connectHost (&credentials, disk->path, &error);
  return disk->nfc >= 0 ? diskOpenImage (disk, image) : error;
}

PUBLIC VixError
VixDiskLib_Open (void *connection, const char *path, uint32_t flags, void **handle)
{
  const Connection *c = connection;
  Disk *disk = calloc (1, sizeof *disk);
  if (!disk)
    return VIX_E_OUT_OF_MEMORY;
  disk->image = disk->nfc = -1;
  disk->path = copyText (path);
  disk->snapshot = copyText (c->snapshot);
  disk->transport = copyText (c->transport);
  LOG ("VixDiskLib: VixDiskLib_OpenEx: Open a disk.");
  VixError error = openDisk (c, disk, flags);
  if (error != VIX_OK) {
    LOG ("VixDiskLib: VixDiskLib_OpenEx: Cannot open disk %s. Error %llu (%s) at %d.", path,
         (unsigned long long) error, errorText (error), __LINE__);
    diskFree (disk);
    return error;
  }
  *handle = disk;
  return VIX_OK;
}

PUBLIC VixError
VixDiskLib_Close (void *vp)
{
  Disk *disk = vp;
  aioWait (disk->aio);
  labRecordUse (disk->path, disk->snapshot, disk->reads, disk->bytes);
  diskFree (disk);
  return VIX_OK;
}

PUBLIC const char *
VixDiskLib_GetTransportMode (void *vp)
{
  return ((Disk *) vp)->transport;
}

PUBLIC VixError
VixDiskLib_GetInfo (void *vp, DiskInfo **info)
{
  Disk *disk = vp;
  DiskInfo *i = calloc (1, sizeof *i);
  if (!i)
    return VIX_E_OUT_OF_MEMORY;
  i->capacity = disk->capacitySectors;
  i->biosGeo = i->physGeo
    = (Geometry) { (uint32_t) (disk->capacitySectors / (255 * 63)), 255, 63 };
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

PUBLIC VixError
VixDiskLib_Read (void *vp, uint64_t startSector, uint64_t sectors, unsigned char *buffer)
{
  if (!diskInBounds (vp, startSector, sectors))
    return VIX_E_DISK_OUTOFRANGE;
  return diskRead (vp, startSector * SECTOR_BYTES, sectors * SECTOR_BYTES, buffer);
}

PUBLIC VixError
VixDiskLib_ReadAsync (void *vp, uint64_t startSector, uint64_t sectors, unsigned char *buffer,
                      CompletionFunction *complete, void *data)
{
  Disk *disk = vp;
  if (!diskInBounds (disk, startSector, sectors))
    return VIX_E_DISK_OUTOFRANGE;
  if (!aioSubmit (disk->aio, startSector * SECTOR_BYTES, sectors * SECTOR_BYTES, buffer, complete, data))
    return VIX_E_OUT_OF_MEMORY;
  return VIX_ASYNC;
}

PUBLIC VixError
VixDiskLib_Wait (void *vp)
{
  aioWait (((Disk *) vp)->aio);
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
  WARN ("VixDiskLib: refused to write to %s", ((Disk *) vp)->path);
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

PUBLIC VixError
VixDiskLib_QueryAllocatedBlocks (void *vp, uint64_t startSector, uint64_t sectors,
                                 uint64_t chunkSectors, BlockList **result)
{
  return diskQueryAllocated (vp, startSector, sectors, chunkSectors, result);
}

PUBLIC VixError
VixDiskLib_FreeBlockList (BlockList *list)
{
  free (list);
  return VIX_OK;
}
