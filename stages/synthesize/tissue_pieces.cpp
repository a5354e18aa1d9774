#include "stages/synthesize/tissue_pieces.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <optional>

#include "core/error.h"

namespace vtissue::stages {
namespace {

/// Ids of results, apart from those of the passes.
constexpr std::uint64_t kFirstResultId = std::uint64_t{1} << 40;

}  // namespace

std::vector<std::vector<std::size_t>> tissue_pieces(std::span<const TileCell> cells) {
  std::vector<std::vector<std::size_t>> pieces;
  std::vector<bool> taken(cells.size());
  for (std::size_t start = 0; start < cells.size(); ++start) {
    if (taken[start]) continue;
    std::vector<std::size_t> piece{start};
    taken[start] = true;
    for (std::size_t next = 0; next < piece.size(); ++next) {
      const TileCell at = cells[piece[next]];
      for (const int down : {-2, 0, 2}) {
        // The up to three neighbours of a row lie side by side in the order of the cells.
        for (auto found = std::ranges::lower_bound(cells, TileCell{at.column - 2, at.row + down});
             found != cells.end() && found->row == at.row + down && found->column <= at.column + 2; ++found) {
          const auto index = static_cast<std::size_t>(found - cells.begin());
          if (taken[index]) continue;
          taken[index] = true;
          piece.push_back(index);
        }
      }
    }
    std::ranges::sort(piece);
    pieces.push_back(std::move(piece));
  }
  return pieces;
}

std::vector<int> assign_pieces(const std::vector<std::vector<std::size_t>>& pieces, int shards) {
  std::vector<std::size_t> order(pieces.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) { return pieces[a].size() > pieces[b].size(); });
  std::vector<std::size_t> load(static_cast<std::size_t>(shards));
  std::vector<int> shard_of(pieces.size());
  for (const std::size_t piece : order) {
    const auto least = std::ranges::min_element(load);
    *least += pieces[piece].size();
    shard_of[piece] = static_cast<int>(least - load.begin());
  }
  return shard_of;
}

PieceResults::PieceResults(std::span<const TileCell> cells, std::size_t per_chunk, std::size_t values_per_tile)
    : per_chunk_(per_chunk), values_per_tile_(values_per_tile), pieces_(tissue_pieces(cells)), place_(cells.size()) {
  std::uint64_t id = kFirstResultId;
  for (std::size_t piece = 0; piece < pieces_.size(); ++piece) {
    first_ids_.push_back(id);
    id += blocks(piece);
    for (std::size_t i = 0; i < pieces_[piece].size(); ++i) place_[pieces_[piece][i]] = {piece, i};
  }
}

std::span<const std::size_t> PieceResults::tiles_of(std::size_t piece, std::uint64_t block) const {
  const std::size_t first = static_cast<std::size_t>(block) * per_chunk_;
  return std::span(pieces_[piece]).subspan(first, std::min(per_chunk_, pieces_[piece].size() - first));
}

bool PieceResults::done(std::size_t piece, const pipeline::ChunkStore& chunks) const {
  for (std::uint64_t block = 0; block < blocks(piece); ++block) {
    if (!chunks.has(first_id(piece) + block)) return false;
  }
  return true;
}

void PieceResults::add_to_shard(std::size_t piece, pipeline::RunContext& ctx) const {
  for (std::uint64_t block = 0; block < blocks(piece); ++block) ctx.add_to_shard(first_id(piece) + block);
}

void PieceResults::read(std::size_t tile, const pipeline::ChunkStore& chunks, std::span<float> out) {
  const Place place = place_[tile];
  const std::uint64_t block = place.index / per_chunk_, id = first_id(place.piece) + block;
  if (id != held_id_) {
    const std::optional<std::vector<std::byte>> bytes = chunks.read(id);
    held_.resize(tiles_of(place.piece, block).size() * values_per_tile_);
    held_id_ = 0;
    if (!bytes || bytes->size() != held_.size() * sizeof(float)) {
      throw Error(ErrorCode::kOutput, "{}: the committed part {} is gone or damaged; run the command again",
                  chunks.folder().string(), id);
    }
    std::memcpy(held_.data(), bytes->data(), bytes->size());
    held_id_ = id;
  }
  std::ranges::copy(std::span(held_).subspan(place.index % per_chunk_ * values_per_tile_, values_per_tile_),
                    out.begin());
}

}  // namespace vtissue::stages
