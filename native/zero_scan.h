// Finds the zeroes in a buffer, exactly: a range is zero only if every byte of it was looked at.
#pragma once

#include <cstddef>
#include <vector>

#include "types.h"

namespace engine {

bool isZero(const uint8_t* data, size_t length);

struct Segment {
  Range range;
  bool zero;
};

// Appends the runs of data and zero in `data`, which holds the disk's bytes from `offset`.
// Looked at in blocks of `granuleBytes` (on disk offsets). Zero runs shorter than `minimumRunBytes`
// that touch data count as data: a request for them costs more than their bytes.
void splitZeroes(const uint8_t* data, uint64_t offset, uint64_t length, uint64_t granuleBytes,
                 uint64_t minimumRunBytes, std::vector<Segment>& segments);

}  // namespace engine
