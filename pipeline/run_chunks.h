#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

namespace vtissue::pipeline {

class RunContext;

/// for_each_chunk() (run_context.h) with the item's type erased, so that oneTBB stays out of headers.
struct ChunkBody {
  std::function<std::shared_ptr<void>(std::uint64_t)> read;
  std::function<void(std::uint64_t, void*)> compute;
  std::function<std::vector<std::byte>(std::uint64_t, void*)> encode;
  std::function<std::int64_t(std::uint64_t)> units;
};

/// Runs in the calling thread's oneTBB arena, which the executor sizes to Resources::threads.
void run_chunks(RunContext& ctx, std::uint64_t first, std::uint64_t count, const ChunkBody& body);

}  // namespace vtissue::pipeline
