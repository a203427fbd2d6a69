/* Log lines go to the functions given to InitEx; nbdkit shows "log" as debug, "warn" as errors. */
#include "messages.h"

LogFunction *logFunction, *warnFunction;

void
say (LogFunction *function, const char *format, ...)
{
  va_list args;
  if (!function)
    return;
  va_start (args, format);
  function (format, args);
  va_end (args);
}

const char *
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
