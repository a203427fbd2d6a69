// A file of ranges: pairs of doubles (offset, length), as the bench writes them.
#pragma once

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

struct ranges {
  double *pairs;
  size_t count;
};

static struct ranges read_ranges(const char *path) {
  struct ranges list = {NULL, 0};
  FILE *file = fopen(path, "rb");
  if (file == NULL || fseek(file, 0, SEEK_END) != 0) exit(2);
  long bytes = ftell(file);
  rewind(file);
  list.count = (size_t)bytes / (2 * sizeof(double));
  list.pairs = malloc(bytes > 0 ? (size_t)bytes : 1);
  if (list.pairs == NULL || fread(list.pairs, 1, (size_t)bytes, file) != (size_t)bytes) exit(2);
  fclose(file);
  return list;
}

static uint64_t range_offset(const struct ranges *list, size_t i) {
  return (uint64_t)list->pairs[2 * i];
}

static uint64_t range_length(const struct ranges *list, size_t i) {
  return (uint64_t)list->pairs[2 * i + 1];
}
