/* The laboratory as the stand-in library sees it: plain files under one directory.
 *
 *   vddk/credentials               user, password, SHA-1 thumbprint, NFC host:port; one a line
 *   vddk/snapshots/<moref>/<n>.map VM moref, "[datastore] path", frozen image; one a line
 *   vddk/faults                    key=value lines; "only=TEXT" limits them to disks with TEXT in the path
 *   vddk/used.<fault>              one byte for each time a counted fault struck, in any process
 *   vddk/use.log                   one line for each disk handle closed
 */
#include "lab.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char labDir[PATH_BYTES];

static struct {
  pthread_mutex_t lock;
  struct timespec modified;
  ino_t inode;
  char text[8192];
} faults = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void
chomp (char *line)
{
  line[strcspn (line, "\r\n")] = '\0';
}

static bool
readLine (FILE *file, char *line, int lineBytes)
{
  if (!fgets (line, lineBytes, file))
    return false;
  chomp (line);
  return true;
}

bool
labFind (const char *libDir)
{
  char path[PATH_BYTES];
  snprintf (path, sizeof path, "%s/lab.conf", libDir);
  FILE *file = fopen (path, "re");
  if (!file)
    return false;
  bool found = readLine (file, labDir, sizeof labDir) && labDir[0] == '/';
  fclose (file);
  return found;
}

bool
labReadCredentials (Credentials *c)
{
  char path[PATH_BYTES + 64], nfc[256];
  snprintf (path, sizeof path, "%s/vddk/credentials", labDir);
  FILE *file = fopen (path, "re");
  if (!file)
    return false;
  bool whole = readLine (file, c->user, sizeof c->user)
    && readLine (file, c->password, sizeof c->password)
    && readLine (file, c->thumbprint, sizeof c->thumbprint)
    && readLine (file, nfc, sizeof nfc);
  fclose (file);
  char *colon = whole ? strrchr (nfc, ':') : NULL;
  if (!colon)
    return false;
  *colon = '\0';
  snprintf (c->nfcHost, sizeof c->nfcHost, "%s", nfc);
  snprintf (c->nfcPort, sizeof c->nfcPort, "%s", colon + 1);
  return true;
}

static bool
mapMatches (const char *path, const char *vm, const char *disk, char image[PATH_BYTES])
{
  char mapVm[256], mapDisk[PATH_BYTES];
  FILE *file = fopen (path, "re");
  if (!file)
    return false;
  bool matches = readLine (file, mapVm, sizeof mapVm)
    && readLine (file, mapDisk, sizeof mapDisk)
    && readLine (file, image, PATH_BYTES)
    && strcmp (mapVm, vm) == 0 && strcmp (mapDisk, disk) == 0;
  fclose (file);
  return matches;
}

bool
labFindImage (const char *vm, const char *snapshot, const char *disk, char image[PATH_BYTES])
{
  char dirPath[PATH_BYTES + 512], path[PATH_BYTES + 1024];
  if (strchr (snapshot, '/'))
    return false;
  snprintf (dirPath, sizeof dirPath, "%s/vddk/snapshots/%s", labDir, snapshot);
  DIR *dir = opendir (dirPath);
  if (!dir)
    return false;
  bool found = false;
  for (struct dirent *entry; !found && (entry = readdir (dir));) {
    const char *dot = strrchr (entry->d_name, '.');
    if (!dot || strcmp (dot, ".map") != 0)
      continue;
    snprintf (path, sizeof path, "%s/%s", dirPath, entry->d_name);
    found = mapMatches (path, vm, disk, image);
  }
  closedir (dir);
  return found;
}

/* Call with faults.lock held. */
static void
refreshFaults (void)
{
  char path[PATH_BYTES + 64];
  struct stat now;
  snprintf (path, sizeof path, "%s/vddk/faults", labDir);
  if (stat (path, &now) == -1) {
    faults.text[0] = '\0';
    faults.inode = 0;
    return;
  }
  if (now.st_ino == faults.inode && now.st_mtim.tv_sec == faults.modified.tv_sec
      && now.st_mtim.tv_nsec == faults.modified.tv_nsec)
    return;
  int fd = open (path, O_RDONLY | O_CLOEXEC);
  if (fd == -1)
    return;
  ssize_t length = read (fd, faults.text, sizeof faults.text - 1);
  close (fd);
  faults.text[length > 0 ? length : 0] = '\0';
  faults.inode = now.st_ino;
  faults.modified = now.st_mtim;
}

/* The text after "name=" of a line, to its end. Call with faults.lock held. */
static bool
faultText (const char *name, char *value, size_t valueBytes)
{
  size_t nameLength = strlen (name);
  for (const char *line = faults.text; line && *line; line = strchr (line, '\n')) {
    line += strspn (line, "\r\n");
    if (strncmp (line, name, nameLength) == 0 && line[nameLength] == '=') {
      snprintf (value, valueBytes, "%s", line + nameLength + 1);
      chomp (value);
      return true;
    }
  }
  return false;
}

int64_t
labFault (const char *name, const char *disk)
{
  char value[1024], only[1024];
  int64_t result = NO_FAULT;
  pthread_mutex_lock (&faults.lock);
  refreshFaults ();
  if (faultText (name, value, sizeof value)
      && (!faultText ("only", only, sizeof only) || strstr (disk, only)))
    result = strtoll (value, NULL, 10);
  pthread_mutex_unlock (&faults.lock);
  return result;
}

int64_t
labTakeFault (const char *name, const char *disk)
{
  int64_t value = labFault (name, disk);
  char countName[128], path[PATH_BYTES + 256];
  snprintf (countName, sizeof countName, "%s_count", name);
  int64_t limit = value == NO_FAULT ? NO_FAULT : labFault (countName, disk);
  if (limit == NO_FAULT)
    return value;
  snprintf (path, sizeof path, "%s/vddk/used.%s", labDir, name);
  int fd = open (path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (fd == -1)
    return value;
  /* The position after an appending write is this write's own, whoever else appends. */
  bool within = write (fd, "x", 1) == 1 && lseek (fd, 0, SEEK_CUR) <= limit;
  close (fd);
  return within ? value : NO_FAULT;
}

void
labRecordUse (const char *disk, const char *snapshot, uint64_t reads, uint64_t bytes)
{
  char path[PATH_BYTES + 64], line[PATH_BYTES];
  snprintf (path, sizeof path, "%s/vddk/use.log", labDir);
  int length = snprintf (line, sizeof line, "%s\t%s\t%llu\t%llu\n", disk, snapshot,
                         (unsigned long long) reads, (unsigned long long) bytes);
  int fd = open (path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (fd == -1)
    return;
  if (write (fd, line, length) != length)
    perror ("use.log");
  close (fd);
}
