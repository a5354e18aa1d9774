#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/error.h"

namespace vtissue {

/// Calls `read` on the input; an Error of code kModel is how a reader refuses. Everything else that it throws ends the
/// fuzzer, and the sanitizers watch the rest.
template <typename Read>
int fuzz_reader(const std::uint8_t* data, std::size_t size, Read&& read) {
  try {
    read(std::as_bytes(std::span(data, size)));
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kModel) throw;
  }
  return 0;
}

}  // namespace vtissue
