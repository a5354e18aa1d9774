#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/units.h"
#include "pipeline/run_context.h"

namespace vtissue::stages {

/// A slide's tiles in groups of which none influences another, whatever the mode: tiles that touch, also at a corner,
/// belong together; a window meets tiles of one group alone. Of each the indices in `cells`, ascending; groups by their
/// first tile. `cells`: of the base grid, sorted. Pure.
std::vector<std::vector<std::size_t>> tissue_pieces(std::span<const TileCell> cells);

/// Which of `shards` shards, from 0, computes each piece: the largest first, each to the shard that has the fewest
/// tiles until then. Pure.
std::vector<int> assign_pieces(const std::vector<std::vector<std::size_t>>& pieces, int shards);

/// Finished latents of pieces of tissue as chunks, which do not depend on how pieces are shared out: each piece's tiles
/// in turn, `per_chunk` at once. Not thread-safe.
class PieceResults {
 public:
  PieceResults(std::span<const TileCell> cells, std::size_t per_chunk, std::size_t values_per_tile);

  const std::vector<std::vector<std::size_t>>& pieces() const { return pieces_; }

  /// Whether all of a piece's chunks are there.
  bool done(std::size_t piece, const pipeline::ChunkStore& chunks) const;

  /// Commits a piece's latents; `read` as CanvasSynthesis::read() by index in `cells`.
  template <typename Read>
  void commit(std::size_t piece, pipeline::ChunkStore& chunks, const Read& read) const {
    for (std::uint64_t block = 0; block < blocks(piece); ++block) {
      if (chunks.has(first_id(piece) + block)) continue;
      const std::span<const std::size_t> tiles = tiles_of(piece, block);
      std::vector<float> values(tiles.size() * values_per_tile_);
      for (std::size_t i = 0; i < tiles.size(); ++i) {
        read(tiles[i], std::span(values).subspan(i * values_per_tile_, values_per_tile_));
      }
      chunks.commit(first_id(piece) + block, std::as_bytes(std::span(values)));
    }
  }

  /// Notes a piece's chunks as of this shard.
  void add_to_shard(std::size_t piece, pipeline::RunContext& ctx) const;

  /// Latents of a tile whose piece is done. Throws Error kOutput if they are gone.
  void read(std::size_t tile, const pipeline::ChunkStore& chunks, std::span<float> out);

  std::size_t piece_of(std::size_t tile) const { return place_[tile].piece; }

 private:
  struct Place {
    std::size_t piece, index;  ///< of the tile in its piece
  };
  std::uint64_t blocks(std::size_t piece) const { return (pieces_[piece].size() + per_chunk_ - 1) / per_chunk_; }
  std::uint64_t first_id(std::size_t piece) const { return first_ids_[piece]; }
  std::span<const std::size_t> tiles_of(std::size_t piece, std::uint64_t block) const;

  std::size_t per_chunk_, values_per_tile_;
  std::vector<std::vector<std::size_t>> pieces_;
  std::vector<Place> place_;  ///< [tiles]
  std::vector<std::uint64_t> first_ids_;
  std::uint64_t held_id_ = 0;  ///< chunk in held_; 0: none
  std::vector<float> held_;
};

}  // namespace vtissue::stages
