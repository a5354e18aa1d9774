#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>

namespace vtissue::models::kernels {

/// Memory of the calling thread, aligned to 64 bytes, until its next call; grown as needed. Throws std::bad_alloc.
inline void* thread_scratch(std::size_t bytes) {
  constexpr std::size_t kAlignment = 64;
  struct Free {
    void operator()(void* p) const { std::free(p); }
  };
  thread_local std::unique_ptr<void, Free> block;
  thread_local std::size_t size = 0;
  if (size < bytes) {
    size = (bytes + kAlignment - 1) / kAlignment * kAlignment;
    block.reset(std::aligned_alloc(kAlignment, size));
    if (!block) {
      size = 0;
      throw std::bad_alloc();
    }
  }
  return block.get();
}

}  // namespace vtissue::models::kernels
