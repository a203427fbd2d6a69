#include "zero_scan.h"

#include <algorithm>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace engine {

namespace {

bool isZeroPortable(const uint8_t* data, size_t length) {
  size_t i = 0;
  for (; i + 64 <= length; i += 64) {
    uint64_t words[8];
    std::memcpy(words, data + i, sizeof words);
    if ((words[0] | words[1] | words[2] | words[3] | words[4] | words[5] | words[6] | words[7]) != 0)
      return false;
  }
  for (; i < length; i++)
    if (data[i] != 0) return false;
  return true;
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) bool isZeroAvx2(const uint8_t* data, size_t length) {
  size_t i = 0;
  for (; i + 128 <= length; i += 128) {
    auto at = [&](size_t step) __attribute__((target("avx2"))) {
      return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(data + i + step));
    };
    __m256i all = _mm256_or_si256(_mm256_or_si256(at(0), at(32)), _mm256_or_si256(at(64), at(96)));
    if (!_mm256_testz_si256(all, all)) return false;
  }
  return isZeroPortable(data + i, length - i);
}
#endif

using Scan = bool (*)(const uint8_t*, size_t);

Scan bestScan() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) return isZeroAvx2;
#endif
  return isZeroPortable;
}

}  // namespace

bool isZero(const uint8_t* data, size_t length) {
  static const Scan scan = bestScan();
  return scan(data, length);
}

void splitZeroes(const uint8_t* data, uint64_t offset, uint64_t length, uint64_t granuleBytes,
                 uint64_t minimumRunBytes, std::vector<Segment>& segments) {
  const size_t first = segments.size();
  const uint64_t end = offset + length;
  for (uint64_t at = offset; at < end;) {
    uint64_t next = std::min(alignDown(at, granuleBytes) + granuleBytes, end);
    bool zero = isZero(data + (at - offset), next - at);
    if (segments.size() > first && segments.back().zero == zero) {
      segments.back().range.length += next - at;
    } else {
      // A zero run ends here; if it was short and has data before it, it joins that data.
      if (!zero && segments.size() > first + 1 && segments.back().range.length < minimumRunBytes) {
        uint64_t run = segments.back().range.length;
        segments.pop_back();
        segments.back().range.length += run + (next - at);
      } else {
        segments.push_back({{at, next - at}, zero});
      }
    }
    at = next;
  }
  // A short zero run at either edge joins its neighbour too.
  if (segments.size() > first + 1 && segments[first].zero &&
      segments[first].range.length < minimumRunBytes) {
    segments[first + 1].range.offset = segments[first].range.offset;
    segments[first + 1].range.length += segments[first].range.length;
    segments.erase(segments.begin() + first);
  }
  if (segments.size() > first + 1 && segments.back().zero &&
      segments.back().range.length < minimumRunBytes) {
    uint64_t run = segments.back().range.length;
    segments.pop_back();
    segments.back().range.length += run;
  }
}

}  // namespace engine
