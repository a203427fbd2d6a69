/* A queue of reads and a few threads: as many reads are under way at once as NFC has buffers
 * for one disk (nfcAio.Session.BufCount, 4 unless configured), the others wait their turn. */
#include "aio.h"

#include <pthread.h>
#include <stdlib.h>

#define THREADS_MAX 64

typedef struct Request {
  struct Request *next;
  uint64_t offset, length;
  unsigned char *buffer;
  CompletionFunction *complete;
  void *data;
} Request;

struct Aio {
  pthread_mutex_t lock;
  pthread_cond_t changed;
  Request *first, **last;
  int underWay; /* submitted and not yet completed */
  bool stopping;
  ReadFunction *read;
  void *owner;
  int threads;
  pthread_t thread[THREADS_MAX];
};

static Request *
takeRequest (Aio *aio)
{
  pthread_mutex_lock (&aio->lock);
  while (!aio->first && !aio->stopping)
    pthread_cond_wait (&aio->changed, &aio->lock);
  Request *request = aio->first;
  if (request) {
    aio->first = request->next;
    if (!aio->first)
      aio->last = &aio->first;
  }
  pthread_mutex_unlock (&aio->lock);
  return request;
}

static void *
serve (void *data)
{
  Aio *aio = data;
  for (Request *request; (request = takeRequest (aio));) {
    VixError result = aio->read (aio->owner, request->offset, request->length, request->buffer);
    request->complete (request->data, result);
    free (request);
    pthread_mutex_lock (&aio->lock);
    aio->underWay--;
    pthread_cond_broadcast (&aio->changed);
    pthread_mutex_unlock (&aio->lock);
  }
  return NULL;
}

Aio *
aioStart (int threads, ReadFunction *read, void *owner)
{
  Aio *aio = calloc (1, sizeof *aio);
  if (!aio)
    return NULL;
  pthread_mutex_init (&aio->lock, NULL);
  pthread_cond_init (&aio->changed, NULL);
  aio->last = &aio->first;
  aio->read = read;
  aio->owner = owner;
  if (threads < 1 || threads > THREADS_MAX)
    threads = threads < 1 ? 1 : THREADS_MAX;
  while (aio->threads < threads
         && pthread_create (&aio->thread[aio->threads], NULL, serve, aio) == 0)
    aio->threads++;
  if (aio->threads == 0) {
    aioStop (aio);
    return NULL;
  }
  return aio;
}

bool
aioSubmit (Aio *aio, uint64_t offset, uint64_t length, unsigned char *buffer,
           CompletionFunction *complete, void *data)
{
  Request *request = malloc (sizeof *request);
  if (!request)
    return false;
  *request = (Request) { NULL, offset, length, buffer, complete, data };
  pthread_mutex_lock (&aio->lock);
  *aio->last = request;
  aio->last = &request->next;
  aio->underWay++;
  pthread_cond_broadcast (&aio->changed);
  pthread_mutex_unlock (&aio->lock);
  return true;
}

void
aioWait (Aio *aio)
{
  pthread_mutex_lock (&aio->lock);
  while (aio->underWay > 0)
    pthread_cond_wait (&aio->changed, &aio->lock);
  pthread_mutex_unlock (&aio->lock);
}

void
aioStop (Aio *aio)
{
  aioWait (aio);
  pthread_mutex_lock (&aio->lock);
  aio->stopping = true;
  pthread_cond_broadcast (&aio->changed);
  pthread_mutex_unlock (&aio->lock);
  for (int i = 0; i < aio->threads; i++)
    pthread_join (aio->thread[i], NULL);
  pthread_cond_destroy (&aio->changed);
  pthread_mutex_destroy (&aio->lock);
  free (aio);
}
