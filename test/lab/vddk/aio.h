/* Asynchronous reads of one open disk on a few threads; see aio.c. */
#ifndef LAB_AIO_H
#define LAB_AIO_H

#include "vixdisklib.h"

#include <stdbool.h>

typedef struct Aio Aio;

/* Does one read and says how it went; called on the pool's threads, several at a time. */
typedef VixError ReadFunction (void *owner, uint64_t offset, uint64_t length, unsigned char *buffer);

Aio *aioStart (int threads, ReadFunction *read, void *owner);
bool aioSubmit (Aio *aio, uint64_t offset, uint64_t length, unsigned char *buffer,
                CompletionFunction *complete, void *data);
void aioWait (Aio *aio);
void aioStop (Aio *aio); /* waits for everything submitted, joins the threads, frees */

#endif
