/* What the library tells its caller: log lines and texts of errors. */
#ifndef LAB_MESSAGES_H
#define LAB_MESSAGES_H

#include "vixdisklib.h"

extern LogFunction *logFunction, *warnFunction; /* set by InitEx */

void say (LogFunction *function, const char *format, ...) __attribute__ ((format (printf, 2, 3)));

#define LOG(...) say (logFunction, __VA_ARGS__)
#define WARN(...) say (warnFunction, __VA_ARGS__)

const char *errorText (VixError error);

#endif
