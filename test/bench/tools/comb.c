// comb SPARE_BYTES: keeps one page of every 2 MiB of the machine's free memory until it is ended, once
// it has said so in a line. Virtual machines often give free memory back to their host, and only in
// such large blocks; the next to touch it waits for the host, which takes several times as long as
// writing does and hits one run and not the other. With a page kept in each block nothing goes back.
// Looks at physical addresses, which takes root; without it, one virtual page in 512 is kept.
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { page_bytes = 4096, pages_per_block = 512 };
// Of 4 TiB of memory.
static uint8_t block_kept[1 << 21];

static size_t available_bytes(void) {
  FILE *file = fopen("/proc/meminfo", "r");
  char line[128];
  size_t kilobytes = 0;
  while (file != NULL && fgets(line, sizeof line, file) != NULL)
    if (sscanf(line, "MemAvailable: %zu kB", &kilobytes) == 1) break;
  if (file != NULL) fclose(file);
  return kilobytes * 1024;
}

// Whether this page is the first one seen of its block.
static int is_first(uint64_t entry, size_t index) {
  uint64_t frame = entry & ((UINT64_C(1) << 55) - 1);
  if (frame == 0) return index % pages_per_block == 0;
  uint64_t block = frame / pages_per_block;
  if (block >= sizeof block_kept || block_kept[block]) return 0;
  return block_kept[block] = 1;
}

int main(int argc, char **argv) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);  // a bench that is killed leaves nothing behind
  size_t spare = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;
  size_t bytes = available_bytes();
  bytes = bytes > spare ? (bytes - spare) / page_bytes * page_bytes : 0;
  char *memory = bytes == 0 ? NULL
                            : mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return perror("comb: mmap"), 1;
  madvise(memory, bytes, MADV_NOHUGEPAGE);
  for (size_t at = 0; at < bytes; at += page_bytes) memory[at] = 1;
  int map = open("/proc/self/pagemap", O_RDONLY);
  uint64_t entries[pages_per_block];
  size_t kept = 0;
  for (size_t first = 0; first < bytes / page_bytes; first += pages_per_block) {
    memset(entries, 0, sizeof entries);
    off_t where = ((uintptr_t)memory / page_bytes + first) * sizeof *entries;
    if (map != -1 && pread(map, entries, sizeof entries, where) < 0) memset(entries, 0, sizeof entries);
    for (size_t i = 0; i < pages_per_block && first + i < bytes / page_bytes; i++) {
      if (is_first(entries[i], first + i)) kept++;
      else madvise(memory + (first + i) * page_bytes, page_bytes, MADV_DONTNEED);
    }
  }
  printf("%zu pages kept\n", kept);
  fflush(stdout);
  for (;;) pause();
}
