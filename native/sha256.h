// SHA-256 (FIPS 180-4), for digests of disk ranges that never leave native code.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace engine {

class Sha256 {
 public:
  void update(const uint8_t* data, size_t length);
  // Lower-case hex. The object is spent afterwards.
  std::string finish();

 private:
  void block(const uint8_t* data);

  uint32_t state_[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                        0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  uint64_t length_ = 0;
  uint8_t pending_[64];
  size_t pendingLength_ = 0;
};

}  // namespace engine
