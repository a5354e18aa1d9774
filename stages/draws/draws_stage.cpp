#include "stages/draws/draws_stage.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "core/atomic_file.h"
#include "core/error.h"
#include "io/feature_store.h"
#include "io/png.h"
#include "pipeline/run_context.h"
#include "stages/evaluate/tile_comparison.h"
#include "stages/maps/tile_map.h"
#include "stages/perturb/latent_subset.h"
#include "stages/perturb/tile_painter.h"

namespace vtissue::stages {
namespace {

/// What is committed of a group of tiles: figures [n, 6], means [n, dim], variances [n, dim].
struct DrawnGroup {
  std::vector<float> figures, means, variances;
};

constexpr std::size_t kDrawFigures = 6;

}  // namespace

DrawFigures compare_draws(std::span<const std::uint8_t> rgb, std::span<const float> embeddings, std::size_t draws,
                          std::vector<float>& mean, std::vector<float>& variance) {
  DrawFigures figures;
  const std::size_t values = rgb.size() / draws, dim = embeddings.size() / draws;
  const double n = static_cast<double>(draws);
  // Sums of whole numbers: exact.
  std::uint64_t spread = 0;  // of n * sum of squares - square of the sum
  std::array<std::uint64_t, 3> sums{};
  for (std::size_t k = 0; k < values; ++k) {
    std::uint64_t sum = 0, squares = 0;
    for (std::size_t d = 0; d < draws; ++d) {
      const std::uint64_t value = rgb[d * values + k];
      sum += value;
      squares += value * value;
    }
    sums[k % 3] += sum;
    spread += draws * squares - sum * sum;
  }
  figures.pixel_variance =
      static_cast<double>(spread) / (n * (n - 1) * static_cast<double>(std::max<std::size_t>(1, values)));
  for (std::size_t c = 0; c < 3; ++c)
    figures.mean[c] = static_cast<double>(sums[c]) * 3 / (n * static_cast<double>(values));
  std::vector<float> middle(dim);
  double total = 0;
  for (std::size_t k = 0; k < dim; ++k) {
    double sum = 0, squares = 0;
    for (std::size_t d = 0; d < draws; ++d) sum += embeddings[d * dim + k];
    for (std::size_t d = 0; d < draws; ++d) squares += std::pow(embeddings[d * dim + k] - sum / n, 2);
    middle[k] = static_cast<float>(sum / n);
    variance.push_back(static_cast<float>(squares / (n - 1)));
    total += squares / (n - 1);
  }
  figures.embedding_variance = total / static_cast<double>(dim);
  for (std::size_t d = 0; d < draws; ++d) {
    figures.embedding_distance += (1 - cosine(embeddings.subspan(d * dim, dim), middle)) / n;
  }
  mean.insert(mean.end(), middle.begin(), middle.end());
  return figures;
}

DrawsStage::DrawsStage(DrawsOptions options, std::shared_ptr<const models::Autoencoder> autoencoder,
                       std::shared_ptr<const models::MorphologyEncoder> encoder)
    : options_(std::move(options)), autoencoder_(std::move(autoencoder)), encoder_(std::move(encoder)) {
  if (options_.seeds.size() < 2)
    throw Error(ErrorCode::kUsage, "{} draws: at least 2 are needed to differ", options_.seeds.size());
}

std::string DrawsStage::draw_port(std::size_t draw) { return fmt::format("draw_{:02}", draw); }

std::vector<pipeline::Port> DrawsStage::inputs() const {
  std::vector<pipeline::Port> ports = {{.name = "tiles"}, {.name = "region", .optional = true}};
  for (std::size_t k = 0; k < options_.seeds.size(); ++k) ports.push_back({.name = draw_port(k)});
  return ports;
}

std::vector<pipeline::Port> DrawsStage::outputs() const {
  return {{.name = "table"}, {.name = "embeddings"}, {.name = "pixel_map"}, {.name = "embedding_map"}};
}

nlohmann::json DrawsStage::identity() const {
  const models::DecodeWindow window = autoencoder_->decode_window();
  return {{"seeds", options_.seeds},
          {"region", options_.region.to_json()},
          {"glass", options_.glass},
          {"generator", options_.generator},
          {"autoencoder", {{"sha256", autoencoder_->info().sha256}, {"micro_batch", autoencoder_->info().micro_batch}}},
          {"decode_window", {window.inner, window.halo, window.ramp}},
          {"encoder", {{"sha256", encoder_->info().sha256}, {"micro_batch", encoder_->info().micro_batch}}},
          {"numerics_class", options_.numerics_class}};
}

void DrawsStage::run(const pipeline::Bindings& inputs, const pipeline::Bindings& outputs,
                     pipeline::RunContext& ctx) const {
  const io::TileSet tiles = io::read_tiles(inputs.at("tiles"));
  const std::vector<std::size_t> region = region_tiles(tiles, options_.region, optional_input(inputs, "region"));
  const std::size_t draws = options_.seeds.size();
  std::vector<std::unique_ptr<TilePainter>> painters;
  for (std::size_t k = 0; k < draws; ++k) {
    const std::filesystem::path& store = inputs.at(draw_port(k));
    painters.push_back(std::make_unique<TilePainter>(tiles, store, *autoencoder_, options_.glass));
    if (painters.back()->latents().info().seed == options_.seeds[k]) continue;
    throw Error(ErrorCode::kBadInput, "{}: drawn with seed {}, not {}", store.string(),
                painters.back()->latents().info().seed, options_.seeds[k]);
  }
  const std::vector<std::vector<std::size_t>> groups = nearby_groups(tiles, region);
  const auto per_tile = static_cast<std::size_t>(tiles.tile_px) * static_cast<std::size_t>(tiles.tile_px) * 3;
  const auto dim = static_cast<std::size_t>(encoder_->dim());
  ctx.set_total(static_cast<std::int64_t>(region.size()), "tiles");

  pipeline::for_each_chunk<DrawnGroup>(
      ctx, groups.size(), [](std::uint64_t) { return DrawnGroup(); },
      [&](std::uint64_t id, DrawnGroup& group) {
        std::vector<TileCell> cells;
        for (const std::size_t tile : groups[id]) cells.push_back(tiles.cells[tile]);
        std::vector<std::vector<std::uint8_t>> pictures;
        std::vector<std::vector<float>> embeddings;
        for (const auto& painter : painters) {
          pictures.push_back(painter->paint_tiles(cells));
          embeddings.emplace_back(cells.size() * dim);
          encoder_->encode(pictures.back(), static_cast<int>(cells.size()), tiles.tile_px, embeddings.back());
        }
        for (std::size_t tile = 0; tile < cells.size(); ++tile) {
          std::vector<std::uint8_t> rgb;
          std::vector<float> rows;
          for (std::size_t d = 0; d < draws; ++d) {
            const auto picture = std::span(pictures[d]).subspan(tile * per_tile, per_tile);
            const auto row = std::span(embeddings[d]).subspan(tile * dim, dim);
            rgb.insert(rgb.end(), picture.begin(), picture.end());
            rows.insert(rows.end(), row.begin(), row.end());
          }
          const DrawFigures figures = compare_draws(rgb, rows, draws, group.means, group.variances);
          for (const double mean : figures.mean) group.figures.push_back(static_cast<float>(mean));
          group.figures.push_back(static_cast<float>(figures.pixel_variance));
          group.figures.push_back(static_cast<float>(figures.embedding_variance));
          group.figures.push_back(static_cast<float>(figures.embedding_distance));
        }
      },
      [](std::uint64_t, DrawnGroup& group) {
        std::vector<std::byte> part;
        for (const std::vector<float>* values : {&group.figures, &group.means, &group.variances}) {
          const auto bytes = std::as_bytes(std::span(*values));
          part.insert(part.end(), bytes.begin(), bytes.end());
        }
        return part;
      },
      [&](std::uint64_t id) { return static_cast<std::int64_t>(groups[id].size()); });

  const std::size_t row_values = kDrawFigures + 2 * dim;
  std::map<std::size_t, std::vector<float>> rows;  // by tile: figures, mean, variance
  for (std::uint64_t id = 0; id < groups.size(); ++id) {
    const std::size_t n = groups[id].size();
    const std::optional<std::vector<std::byte>> bytes = ctx.chunks().read(id);
    std::vector<float> values(n * row_values);
    if (!bytes || bytes->size() != values.size() * sizeof(float)) {
      throw Error(ErrorCode::kOutput, "{}: the committed part {} is gone or damaged; run the command again",
                  ctx.chunks().folder().string(), id);
    }
    std::memcpy(values.data(), bytes->data(), bytes->size());
    for (std::size_t i = 0; i < n; ++i) {
      std::vector<float>& row = rows[groups[id][i]];
      std::size_t at = 0;
      for (const std::size_t width : {kDrawFigures, dim, dim}) {
        const auto first = values.begin() + static_cast<std::ptrdiff_t>(at * n + i * width);
        row.insert(row.end(), first, first + static_cast<std::ptrdiff_t>(width));
        at += width;
      }
    }
  }

  std::string table =
      "cell_column\tcell_row\tx_slide_px\ty_slide_px\tmean_red\tmean_green\tmean_blue\tpixel_variance\tembedding_"
      "variance\t"
      "embedding_distance\n";
  const double scale = tiles.target_mpp / tiles.source_mpp;
  std::vector<std::optional<double>> deviations(tiles.cells.size()), distances(tiles.cells.size());
  std::vector<TileCell> cells;
  double variance_sum = 0, distance_sum = 0;
  for (const auto& [tile, row] : rows) {
    const TileCell cell = tiles.cells[tile];
    const Point<TargetPx> origin = tiles.origin(cell);
    cells.push_back(cell);
    deviations[tile] = std::sqrt(double{row[3]});
    distances[tile] = row[5];
    variance_sum += row[3];
    distance_sum += row[5];
    table += fmt::format("{}\t{}\t{:.0f}\t{:.0f}\t{:.2f}\t{:.2f}\t{:.2f}\t{:.4f}\t{:.6g}\t{:.6f}\n", cell.column,
                         cell.row, (static_cast<double>(origin.x) + tiles.tile_px / 2.0) * scale,
                         (static_cast<double>(origin.y) + tiles.tile_px / 2.0) * scale, row[0], row[1], row[2], row[3],
                         row[4], row[5]);
  }
  write_file_atomically(outputs.at("table"), table);

  io::FeatureWriter writer(outputs.at("embeddings"), cells, tiles.slide_sha256,
                           nlohmann::json({{"seeds", options_.seeds}, {"synthetic", true}}).dump());
  const std::vector<std::uint8_t> valid(1, 1);
  for (const std::size_t set : {0, 1}) {
    writer.begin_set({.name = set == 0 ? "mean" : "variance",
                      .encoder = encoder_->info().name,
                      .encoder_sha256 = encoder_->info().sha256,
                      .geometry = "tile, over the draws",
                      .vectors = 1,
                      .dim = encoder_->dim()});
    for (const auto& [tile, row] : rows) writer.append(std::span(row).subspan(kDrawFigures + set * dim, dim), valid);
  }
  writer.finish();

  const auto write_map = [&](const char* port, const std::vector<std::optional<double>>& values,
                             const std::string& title, const std::string& unit) {
    const auto [low, high] = colour_range(values);
    const std::vector<std::byte> png = io::encode_png(draw_tile_map(tiles, values, {title, unit, low, high}));
    write_file_atomically(outputs.at(port), png);
  };
  write_map("pixel_map", deviations, fmt::format("Standard deviation of the pixels over {} draws", draws), "levels");
  write_map("embedding_map", distances, fmt::format("Distance of {} draws from their mean embedding", draws),
            "1 - cosine");
  const double n = static_cast<double>(rows.size());
  ctx.report("draws", draws);
  ctx.report("tiles", rows.size());
  ctx.report("pixel_deviation", std::sqrt(variance_sum / n));
  ctx.report("embedding_distance", distance_sum / n);
}

}  // namespace vtissue::stages
