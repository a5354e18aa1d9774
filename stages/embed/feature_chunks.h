#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "pipeline/chunk_store.h"
#include "pipeline/run_context.h"

namespace vtissue::stages {

/// Division of a store's rows into the chunks that are committed: `per_chunk` rows each, the last one
/// perhaps fewer.
struct TileChunks {
  std::size_t tiles = 0;
  std::size_t per_chunk = 1;

  std::uint64_t count() const { return (tiles + per_chunk - 1) / per_chunk; }
  std::size_t first(std::uint64_t id) const { return static_cast<std::size_t>(id) * per_chunk; }
  std::size_t size(std::uint64_t id) const { return std::min(per_chunk, tiles - first(id)); }
  /// Rows of some of the chunks.
  std::int64_t rows(pipeline::ChunkIds ids) const {
    const std::size_t begin = std::min(tiles, first(ids.first)), end = std::min(tiles, first(ids.first + ids.count));
    return static_cast<std::int64_t>(end - begin);
  }
};

/// `wanted` rounded up to whole micro-batches.
std::size_t rows_per_chunk(int wanted, int micro_batch);

/// Rows of one or several sets as one chunk: whether each row is valid [n], and the sets' values one
/// after another, each [n, vectors, dim].
struct FeatureRows {
  std::vector<std::uint8_t> valid;
  std::vector<float> values;
};

std::vector<std::byte> pack_rows(const FeatureRows& rows);

/// The committed chunk `id` of `n` rows and `values` numbers. Throws Error kOutput if the work folder does
/// not hold it.
FeatureRows unpack_rows(const pipeline::ChunkStore& chunks, std::uint64_t id, std::size_t n, std::size_t values);

}  // namespace vtissue::stages
