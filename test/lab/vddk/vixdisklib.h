/* The part of VMware's VixDiskLib ABI that nbdkit's VDDK plugin uses.
 *
 * Layouts and numbers are the library's public binary interface, as declared by the
 * plugin that is its caller here (nbdkit 1.42, plugins/vddk/vddk-structs.h and
 * vddk-stubs.h); error numbers as in VMware's published list of VIX errors.
 */
#ifndef LAB_VIXDISKLIB_H
#define LAB_VIXDISKLIB_H

#include <stdarg.h>
#include <stdint.h>

#define SECTOR_BYTES 512
#define MIN_CHUNK_SECTORS 128 /* 64 KiB: the finest grain of QueryAllocatedBlocks */
#define OPEN_READ_ONLY 4

typedef uint64_t VixError;

enum {
  VIX_OK = 0,
  VIX_E_FAIL = 1,
  VIX_E_OUT_OF_MEMORY = 2,
  VIX_E_INVALID_ARG = 3,
  VIX_E_FILE_NOT_FOUND = 4,
  VIX_E_NOT_SUPPORTED = 6,
  VIX_E_FILE_ERROR = 7,
  VIX_E_FILE_READ_ONLY = 11,
  VIX_E_FILE_ACCESS_ERROR = 13,
  VIX_E_HOST_USER_PERMISSIONS = 3014,
  VIX_E_HOST_SERVER_NOT_FOUND = 14008,
  VIX_E_HOST_NETWORK_CONN_REFUSED = 14009,
  VIX_E_HOST_TCP_SOCKET_ERROR = 14010,
  VIX_E_HOST_TCP_CONN_LOST = 14011,
  VIX_E_DISK_OUTOFRANGE = 16007,
  VIX_E_CANNOT_CONNECT_TO_HOST = 18000,
  VIX_ASYNC = 25000,
};

typedef void LogFunction (const char *format, va_list args);
typedef void CompletionFunction (void *data, VixError result);

typedef struct {
  char *vmxSpec; /* "moref=vm-N" */
  char *serverName;
  char *thumbPrint;
  long reserved1;
  int credType; /* 1: user and password */
  union {
    struct {
      char *userName;
      char *password;
    } uid;
    struct {
      char *cookie;
      char *userName;
      char *key;
    } sessionId;
    void *reserved2;
  } creds;
  uint32_t port;
  uint32_t nfcHostPort;
  char *reserved3;
  char reserved4[8];
  void *reserved5;
  struct {
    char *id;
    char *datastoreMoRef;
    char *ssId;
  } spec;
  int specType;
} ConnectParams;

typedef struct {
  uint32_t cylinders, heads, sectors;
} Geometry;

typedef struct {
  Geometry biosGeo;
  Geometry physGeo;
  uint64_t capacity; /* sectors */
  int adapterType;
  int numLinks;
  char *parentFileNameHint;
  char *uuid;
  uint32_t logicalSectorSize; /* since 7.0 */
  uint32_t physicalSectorSize;
} DiskInfo;

typedef struct {
  uint64_t offset, length; /* sectors */
} Block;

typedef struct {
  uint32_t numBlocks;
  Block blocks[1];
} BlockList;

#endif
