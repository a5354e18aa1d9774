#pragma once

// The template of run_context.h, which includes this file at its end.

#include <memory>

#include "pipeline/run_chunks.h"

namespace vtissue::pipeline {

template <typename Item>
void for_each_chunk(RunContext& ctx, ChunkIds ids, const std::function<Item(std::uint64_t)>& read,
                    const std::function<void(std::uint64_t, Item&)>& compute,
                    const std::function<std::vector<std::byte>(std::uint64_t, Item&)>& encode,
                    const std::function<std::int64_t(std::uint64_t)>& units) {
  ChunkBody body;
  body.read = [&read](std::uint64_t id) -> std::shared_ptr<void> { return std::make_shared<Item>(read(id)); };
  body.compute = [&compute](std::uint64_t id, void* item) { compute(id, *static_cast<Item*>(item)); };
  body.encode = [&encode](std::uint64_t id, void* item) { return encode(id, *static_cast<Item*>(item)); };
  body.units = units;
  run_chunks(ctx, ids.first, ids.count, body);
}

}  // namespace vtissue::pipeline
