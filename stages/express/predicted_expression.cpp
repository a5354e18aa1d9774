#include "stages/express/predicted_expression.h"

#include <algorithm>
#include <map>
#include <vector>

#include "core/error.h"
#include "stages/embed/feature_chunks.h"
#include "stages/embed/slide_of_tiles.h"

namespace vtissue::stages {
namespace {

constexpr std::size_t kSubtiles = 9;
constexpr std::size_t kMostNeighbors = 8;

/// Embeddings of some tiles of the store, by row.
class FeatureWindow {
 public:
  /// `rows` sorted, unique.
  FeatureWindow(const io::FeatureReader& features, const io::FeatureSetInfo& set, const std::vector<std::size_t>& rows)
      : width_(static_cast<std::size_t>(set.vectors) * static_cast<std::size_t>(set.dim)) {
    std::vector<float> values;
    std::vector<std::uint8_t> valid;
    for (std::size_t i = 0; i < rows.size();) {
      std::size_t run = 1;
      while (i + run < rows.size() && rows[i + run] == rows[i] + run) ++run;
      features.read(set.name, rows[i], run, values, valid);
      for (std::size_t k = 0; k < run; ++k) {
        position_[rows[i] + k] = valid_.size();
        valid_.push_back(valid[k]);
      }
      values_.insert(values_.end(), values.begin(), values.end());
      i += run;
    }
  }

  bool valid(std::size_t row) const { return valid_[position_.at(row)] != 0; }
  /// [vectors * dim]
  std::span<const float> at(std::size_t row) const {
    return std::span(values_).subspan(position_.at(row) * width_, width_);
  }

 private:
  std::size_t width_;
  std::map<std::size_t, std::size_t> position_;
  std::vector<float> values_;
  std::vector<std::uint8_t> valid_;
};

/// Rows of the tiles around a tile, `step` cells away, that are in the store, in canonical order.
std::vector<std::size_t> neighbor_rows(const std::vector<TileCell>& cells, std::size_t row, std::int32_t step) {
  std::vector<std::size_t> rows;
  for (const std::int32_t down : {-step, 0, step}) {
    for (const std::int32_t right : {-step, 0, step}) {
      if (down == 0 && right == 0) continue;
      const TileCell cell{cells[row].column + right, cells[row].row + down};
      const auto found = std::ranges::lower_bound(cells, cell);
      if (found != cells.end() && *found == cell) rows.push_back(static_cast<std::size_t>(found - cells.begin()));
    }
  }
  return rows;
}

/// Inputs of a chunk's valid tiles, as ExpressionPredictor::predict() takes them.
struct PredictionChunk {
  FeatureRows rows;                    ///< values [n, genes]
  std::vector<std::size_t> predicted;  ///< which of the n rows the inputs below are
  std::vector<float> spot, sub, neighbors;
  std::vector<std::int32_t> n_neighbors;
};

PredictionChunk read_chunk(const io::FeatureReader& features, const io::FeatureSetInfo& set,
                           const models::ExpressionPredictor& predictor, std::int32_t step, std::size_t first,
                           std::size_t n) {
  const std::vector<TileCell>& cells = features.cells();
  std::vector<std::vector<std::size_t>> around(n);
  std::vector<std::size_t> needed;
  for (std::size_t i = 0; i < n; ++i) {
    needed.push_back(first + i);
    if (!predictor.uses_neighbors()) continue;
    around[i] = neighbor_rows(cells, first + i, step);
    needed.insert(needed.end(), around[i].begin(), around[i].end());
  }
  std::ranges::sort(needed);
  needed.erase(std::unique(needed.begin(), needed.end()), needed.end());
  const FeatureWindow window(features, set, needed);

  const auto dim = static_cast<std::size_t>(set.dim);
  PredictionChunk chunk;
  chunk.rows.valid.resize(n);
  for (std::size_t i = 0; i < n; ++i) {
    chunk.rows.valid[i] = window.valid(first + i);
    if (chunk.rows.valid[i] == 0) continue;
    chunk.predicted.push_back(i);
    const std::span<const float> own = window.at(first + i);
    chunk.spot.insert(chunk.spot.end(), own.begin(), own.begin() + static_cast<std::ptrdiff_t>(dim));
    if (predictor.uses_subtiles()) {
      const auto parts = own.subspan(dim, kSubtiles * dim);
      chunk.sub.insert(chunk.sub.end(), parts.begin(), parts.end());
    }
    if (!predictor.uses_neighbors()) continue;
    std::int32_t count = 0;
    for (const std::size_t row : around[i]) {
      if (!window.valid(row)) continue;
      const auto neighbor = window.at(row).first(dim);
      chunk.neighbors.insert(chunk.neighbors.end(), neighbor.begin(), neighbor.end());
      ++count;
    }
    chunk.n_neighbors.push_back(count);
    chunk.neighbors.resize(chunk.predicted.size() * kMostNeighbors * dim, 0.0f);
  }
  return chunk;
}

void predict_chunk(const models::ExpressionPredictor& predictor, PredictionChunk& chunk) {
  const std::size_t genes = predictor.genes().size();
  chunk.rows.values.assign(chunk.rows.valid.size() * genes, 0.0f);
  if (chunk.predicted.empty()) return;
  std::vector<float> out(chunk.predicted.size() * genes);
  predictor.predict(chunk.spot, chunk.sub, chunk.neighbors, chunk.n_neighbors, static_cast<int>(chunk.predicted.size()),
                    out);
  for (std::size_t k = 0; k < chunk.predicted.size(); ++k) {
    std::copy_n(out.begin() + static_cast<std::ptrdiff_t>(k * genes), genes,
                chunk.rows.values.begin() + static_cast<std::ptrdiff_t>(chunk.predicted[k] * genes));
  }
  chunk.spot = {}, chunk.sub = {}, chunk.neighbors = {};
}

}  // namespace

io::FeatureSetInfo predictor_set(const std::filesystem::path& path, const io::FeatureReader& features,
                                 const io::TileSet& tiles, const models::ExpressionPredictor& predictor) {
  if (features.cells() != tiles.cells || features.grid() != tiles.grid()) {
    throw Error(ErrorCode::kBadInput, "{}: made for other tiles ({} rows, {} tiles); run embed again", path.string(),
                features.cells().size(), tiles.cells.size());
  }
  require_same_slide(path, features.slide_sha256(), tiles.slide_sha256, "the tiles", "embed");
  const std::vector<io::FeatureSetInfo> sets = features.sets();
  const bool has_own = std::ranges::any_of(sets, [](const io::FeatureSetInfo& set) { return set.name == "predictor"; });
  io::FeatureSetInfo set = features.info(has_own ? "predictor" : "morphology");
  const models::ModelInfo& model = predictor.info();
  if (set.dim != predictor.feature_dim()) {
    throw Error(ErrorCode::kModel,
                "{}: set \"{}\" of {} has {} values a tile, the predictor {} reads {}; run embed with the "
                "predictor's encoder",
                path.string(), set.name, set.encoder, set.dim, model.name, predictor.feature_dim());
  }
  if (!predictor.encoder_sha256().empty() && predictor.encoder_sha256() != set.encoder_sha256) {
    throw Error(ErrorCode::kModel,
                "{}: set \"{}\" comes from {} (sha256 {}), the predictor {} was trained on an encoder of "
                "sha256 {}; run embed with that one",
                path.string(), set.name, set.encoder, set.encoder_sha256, model.name, predictor.encoder_sha256());
  }
  if (predictor.uses_subtiles() && set.vectors != static_cast<int>(kSubtiles) + 1) {
    throw Error(ErrorCode::kModel,
                "{}: set \"{}\" has {} vectors a tile, the predictor {} needs the tile and its 3x3 "
                "sub-tiles; run embed with the predictor configured",
                path.string(), set.name, set.vectors, model.name);
  }
  return set;
}

TileExpression predicted_expression(const std::filesystem::path& path, const io::TileSet& tiles,
                                    const models::ExpressionPredictor& predictor, std::size_t rows_per_chunk,
                                    pipeline::RunContext& ctx) {
  const io::FeatureReader features(path);
  const io::FeatureSetInfo set = predictor_set(path, features, tiles, predictor);
  const TileChunks chunks{tiles.cells.size(), rows_per_chunk};
  const pipeline::ChunkIds own = ctx.share(chunks.count());
  ctx.set_total(chunks.rows(own), "tiles");
  pipeline::for_each_chunk<PredictionChunk>(
      ctx, own,
      [&](std::uint64_t id) {
        return read_chunk(features, set, predictor, tiles.neighbour_cells(), chunks.first(id), chunks.size(id));
      },
      [&](std::uint64_t, PredictionChunk& chunk) { predict_chunk(predictor, chunk); },
      [](std::uint64_t, PredictionChunk& chunk) { return pack_rows(chunk.rows); },
      [&](std::uint64_t id) { return static_cast<std::int64_t>(chunks.size(id)); });

  TileExpression result;
  result.genes = predictor.genes();
  result.source = "predicted";
  result.provenance = {{"predictor", predictor.info().name},
                       {"predictor_sha256", predictor.info().sha256},
                       {"encoder", set.encoder},
                       {"encoder_sha256", set.encoder_sha256}};
  result.spots.assign(tiles.cells.size(), 0);
  result.block_rows = rows_per_chunk;
  result.read = [&ctx, genes = result.genes.size()](std::uint64_t id, std::size_t n) {
    return unpack_rows(ctx.chunks(), id, n, n * genes);
  };
  return result;
}

}  // namespace vtissue::stages
