#include "stages/perturb/difference_stage.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/atomic_file.h"
#include "core/error.h"
#include "io/pyramid_metadata.h"
#include "io/tile_reader.h"
#include "io/tile_store.h"
#include "pipeline/run_context.h"
#include "stages/embed/feature_chunks.h"
#include "stages/evaluate/tile_comparison.h"
#include "stages/maps/tile_map.h"
#include "stages/stitch/block_plan.h"
#include "stages/stitch/overview.h"
#include "stages/stitch/slide_cards.h"
#include "stages/stitch/stitch_names.h"
#include "stages/stitch/synthetic_mark.h"

namespace vtissue::stages {
namespace {

constexpr int kDifferencePx = StitchStage::kBlockPx;
constexpr std::size_t kFigures = 5;  // of a tile: magnitude, three shifts, embedding distance

/// A square of the slide on its way: both slides' pixels with a tile's width around them, so that every tile that meets
/// the square is whole.
struct DifferenceBlock {
  Box<TargetPx> box;  ///< of the pixels
  std::vector<std::uint8_t> before, after;
  std::vector<std::size_t> tiles;     ///< that meet the block
  std::vector<TileDifference> found;  ///< of those
  std::vector<float> distances;       ///< of those: 1 - cosine of the embeddings; NaN where not asked for
};

std::shared_ptr<io::SlideReader> open_pyramid(const std::filesystem::path& path, const io::TileSet& tiles) {
  auto slide = io::SlideReader::open(path, {.mpp = tiles.target_mpp});
  const auto size = slide->info().levels.front().size;
  if (size.width < tiles.target_size.width || size.height < tiles.target_size.height) {
    throw Error(ErrorCode::kBadInput, "{}: {} x {} pixels, fewer than the {} x {} of the tiles; it is not of this run",
                path.string(), size.width, size.height, tiles.target_size.width, tiles.target_size.height);
  }
  return slide;
}

/// Of the box of a DifferenceBlock the square [side, side, 3] at `origin`.
std::vector<std::uint8_t> cut_square(const std::vector<std::uint8_t>& pixels, Box<TargetPx> box, Point<TargetPx> origin,
                                     std::int64_t side) {
  std::vector<std::uint8_t> out(static_cast<std::size_t>(side * side * 3));
  for (std::int64_t y = 0; y < side; ++y) {
    const auto from = ((origin.y - box.origin.y + y) * box.size.width + origin.x - box.origin.x) * 3;
    std::copy_n(pixels.begin() + from, side * 3, out.begin() + y * side * 3);
  }
  return out;
}

std::uint8_t clamp_byte(double value) { return static_cast<std::uint8_t>(std::lround(std::clamp(value, 0.0, 255.0))); }

double grey_of(const std::uint8_t* rgb) { return 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2]; }

void append_bytes(std::vector<std::byte>& part, std::span<const std::byte> bytes) {
  const std::uint64_t size = bytes.size();
  const auto head = std::as_bytes(std::span(&size, 1));
  part.insert(part.end(), head.begin(), head.end());
  part.insert(part.end(), bytes.begin(), bytes.end());
}

/// Piece `index` of what append_bytes() put together.
std::vector<std::byte> piece_of(const pipeline::ChunkStore& chunks, std::uint64_t id, std::size_t index) {
  const std::optional<std::vector<std::byte>> part = chunks.read(id);
  std::size_t at = 0;
  for (std::size_t k = 0; part && at + sizeof(std::uint64_t) <= part->size(); ++k) {
    std::uint64_t size = 0;
    std::memcpy(&size, part->data() + at, sizeof size);
    at += sizeof size;
    if (size > part->size() - at) break;
    if (k == index) {
      const auto first = part->begin() + static_cast<std::ptrdiff_t>(at);
      return {first, first + static_cast<std::ptrdiff_t>(size)};
    }
    at += size;
  }
  throw Error(ErrorCode::kOutput, "{}: the committed part {} is gone or damaged; run the command again",
              chunks.folder().string(), id);
}

std::vector<std::uint8_t> share_of(const pipeline::ChunkStore& chunks, std::uint64_t id, std::size_t index) {
  const std::vector<std::byte> bytes = piece_of(chunks, id, index);
  std::vector<std::uint8_t> share(bytes.size());
  std::memcpy(share.data(), bytes.data(), bytes.size());
  return share;
}

enum Piece : std::size_t { kDifferenceBlock, kHeatBlock, kDifferenceShare, kHeatShare, kTileFigures };

struct TileRow {
  TileCell cell;
  std::array<float, kFigures> figures;
};

std::string table_text(const io::TileSet& tiles, const std::vector<TileRow>& rows) {
  std::string text =
      "rank\tcell_column\tcell_row\tx_slide_px\ty_slide_px\tmean_absolute_difference\tred\tgreen\tblue\tembedding_"
      "distance\n";
  const double scale = tiles.target_mpp / tiles.source_mpp;
  std::size_t rank = 0;
  for (const TileRow& row : rows) {
    const Point<TargetPx> origin = tiles.origin(row.cell);
    text += fmt::format("{}\t{}\t{}\t{:.0f}\t{:.0f}\t{:.4f}\t{:.4f}\t{:.4f}\t{:.4f}\t", ++rank, row.cell.column,
                        row.cell.row, (static_cast<double>(origin.x) + tiles.tile_px / 2.0) * scale,
                        (static_cast<double>(origin.y) + tiles.tile_px / 2.0) * scale, row.figures[0], row.figures[1],
                        row.figures[2], row.figures[3]);
    text += std::isnan(row.figures[4]) ? "\n" : fmt::format("{:.6f}\n", row.figures[4]);
  }
  return text;
}

nlohmann::json stated_provenance(const std::filesystem::path& path) {
  const std::string text = io::read_provenance(path);
  nlohmann::json provenance = nlohmann::json::parse(text, nullptr, false);
  return provenance.is_object() ? provenance : nlohmann::json::object();
}

}  // namespace

TileDifference compare_tiles(std::span<const std::uint8_t> before, std::span<const std::uint8_t> after) {
  std::array<std::int64_t, 3> sums{};
  std::int64_t absolute = 0;
  for (std::size_t k = 0; k < before.size(); ++k) {
    const int step = int{after[k]} - int{before[k]};
    sums[k % 3] += step;
    absolute += std::abs(step);
  }
  TileDifference result;
  if (before.empty()) return result;
  result.magnitude = static_cast<double>(absolute) / static_cast<double>(before.size());
  for (std::size_t c = 0; c < 3; ++c) {
    result.shift[c] = static_cast<double>(sums[c]) / (static_cast<double>(before.size()) / 3);
  }
  return result;
}

DifferenceStage::DifferenceStage(DifferenceOptions options, std::shared_ptr<const models::MorphologyEncoder> encoder)
    : options_(std::move(options)), encoder_(std::move(encoder)) {}

std::vector<pipeline::Port> DifferenceStage::inputs() const {
  return {{.name = "tiles"}, {.name = "base"}, {.name = "virtual"}};
}

std::vector<pipeline::Port> DifferenceStage::outputs() const {
  return {{.name = "difference"}, {.name = "heatmap"}, {.name = "table"}};
}

nlohmann::json DifferenceStage::identity() const {
  nlohmann::json identity = {{"profile", name_of(options_.pyramid.profile)},
                             {"codec", name_of(options_.pyramid.codec)},
                             {"quality", options_.pyramid.quality},
                             {"subsampling", name_of(options_.pyramid.sampling)},
                             {"background", options_.pyramid.background},
                             {"generator", options_.pyramid.generator},
                             {"gain", options_.gain},
                             {"most", options_.most},
                             {"encoder", nullptr}};
  if (encoder_ != nullptr) {
    identity["encoder"] = encoder_->info().sha256;
    identity["numerics_class"] = options_.numerics_class;
  }
  return identity;
}

void DifferenceStage::run(const pipeline::Bindings& inputs, const pipeline::Bindings& outputs,
                          pipeline::RunContext& ctx) const {
  const io::TileSet tiles = io::read_tiles(inputs.at("tiles"));
  const io::TileReader base(open_pyramid(inputs.at("base"), tiles), tiles.target_mpp);
  const io::TileReader made(open_pyramid(inputs.at("virtual"), tiles), tiles.target_mpp);
  const nlohmann::json stated = stated_provenance(inputs.at("virtual"));
  const auto pyramid_of = [&](std::string_view kind) {
    nlohmann::json provenance = {{"synthetic", true},
                                 {"kind", kind},
                                 {"software", options_.pyramid.generator},
                                 {"before_sha256", ctx.input_sha256("base", inputs.at("base"))},
                                 {"after_sha256", ctx.input_sha256("virtual", inputs.at("virtual"))},
                                 {"source_slide_sha256", tiles.slide_sha256},
                                 {"mpp", tiles.target_mpp},
                                 {"gain", options_.gain},
                                 {"most", options_.most}};
    for (const char* key : {"perturbation", "seed"}) {
      if (stated.contains(key)) provenance[key] = stated[key];
    }
    return io::PyramidOptions{.size = tiles.target_size,
                              .mpp = tiles.target_mpp,
                              .profile = options_.pyramid.profile,
                              .codec = options_.pyramid.codec,
                              .quality = options_.pyramid.quality,
                              .sampling = options_.pyramid.sampling,
                              .block_px = kDifferencePx,
                              .software = options_.pyramid.generator,
                              .description = fmt::format("Synthetic = 1|Kind = {}", kind),
                              .provenance_json = provenance.dump()};
  };
  const io::PyramidOptions difference_options = pyramid_of("difference"), heat_options = pyramid_of("heat map");
  const io::PyramidLayout layout = io::layout_of(difference_options);
  const io::LevelDecorator decorate = overview_mark(layout);
  const BlockPlan plan(layout, kDifferencePx);
  Overview difference_overview(tiles.target_size, kDifferencePx), heat_overview(tiles.target_size, kDifferencePx);
  const std::int64_t tile_px = tiles.tile_px;
  ctx.set_total(static_cast<std::int64_t>(plan.count()), "blocks");

  const auto [red, green, blue] = options_.pyramid.background;
  const auto paint = [&, red = red, green = green, blue = blue](std::uint64_t id, const DifferenceBlock& block,
                                                                bool heat) {
    std::vector<std::uint8_t> rgb(static_cast<std::size_t>(kDifferencePx) * kDifferencePx * 3);
    const Point<TargetPx> origin = plan.origin(id);
    fill_glass(origin, {kDifferencePx, kDifferencePx}, {red, green, blue}, rgb);
    for (std::size_t i = 0; i < block.tiles.size(); ++i) {
      const Point<TargetPx> at = tiles.origin(tiles.cells[block.tiles[i]]);
      const io::Rgb colour = heat_colour(std::sqrt(block.found[i].magnitude / options_.most));
      const std::array<double, 3> tint{double(colour.red), double(colour.green), double(colour.blue)};
      for (std::int64_t y = std::max(at.y, origin.y); y < std::min(at.y + tile_px, origin.y + kDifferencePx); ++y) {
        for (std::int64_t x = std::max(at.x, origin.x); x < std::min(at.x + tile_px, origin.x + kDifferencePx); ++x) {
          const auto from =
              static_cast<std::size_t>(((y - block.box.origin.y) * block.box.size.width + x - block.box.origin.x) * 3);
          const auto to = static_cast<std::size_t>(((y - origin.y) * kDifferencePx + x - origin.x) * 3);
          const double grey = grey_of(&block.before[from]);
          for (std::size_t c = 0; c < 3; ++c) {
            if (heat) {
              // The tissue stays readable under the colour.
              rgb[to + c] = clamp_byte(block.found[i].changed() ? 0.45 * grey + 0.55 * tint[c] : 0.75 * grey + 58);
            } else {
              rgb[to + c] =
                  clamp_byte(150 + 0.3 * (grey - 150) +
                             options_.gain * (double(block.after[from + c]) - double(block.before[from + c])));
            }
          }
        }
      }
    }
    return rgb;
  };

  pipeline::for_each_chunk<DifferenceBlock>(
      ctx, plan.count(),
      [&](std::uint64_t id) {
        DifferenceBlock block;
        const Point<TargetPx> origin = plan.origin(id);
        block.box = {{origin.x - tile_px, origin.y - tile_px},
                     {kDifferencePx + 2 * tile_px, kDifferencePx + 2 * tile_px}};
        for (std::size_t i = 0; i < tiles.cells.size(); ++i) {
          const Point<TargetPx> at = tiles.origin(tiles.cells[i]);
          if (at.x + tile_px <= origin.x || at.x >= origin.x + kDifferencePx || at.y + tile_px <= origin.y ||
              at.y >= origin.y + kDifferencePx) {
            continue;
          }
          block.tiles.push_back(i);
        }
        if (block.tiles.empty()) return block;
        block.before = base.read(block.box);
        block.after = made.read(block.box);
        for (const std::size_t tile : block.tiles) {
          const Point<TargetPx> at = tiles.origin(tiles.cells[tile]);
          block.found.push_back(compare_tiles(cut_square(block.before, block.box, at, tile_px),
                                              cut_square(block.after, block.box, at, tile_px)));
        }
        block.distances.assign(block.tiles.size(), std::nanf(""));
        return block;
      },
      [&](std::uint64_t, DifferenceBlock& block) {
        if (encoder_ == nullptr) return;
        const auto dim = static_cast<std::size_t>(encoder_->dim());
        std::vector<std::size_t> changed;
        std::vector<std::uint8_t> rgb;  // before and after in turns
        for (std::size_t i = 0; i < block.tiles.size(); ++i) {
          block.distances[i] = 0;
          if (!block.found[i].changed()) continue;
          changed.push_back(i);
          const Point<TargetPx> at = tiles.origin(tiles.cells[block.tiles[i]]);
          for (const std::vector<std::uint8_t>* side : {&block.before, &block.after}) {
            const std::vector<std::uint8_t> square = cut_square(*side, block.box, at, tile_px);
            rgb.insert(rgb.end(), square.begin(), square.end());
          }
        }
        std::vector<float> rows(2 * changed.size() * dim);
        if (!changed.empty()) encoder_->encode(rgb, static_cast<int>(2 * changed.size()), tiles.tile_px, rows);
        for (std::size_t k = 0; k < changed.size(); ++k) {
          const auto pair = std::span(rows).subspan(2 * k * dim, 2 * dim);
          block.distances[changed[k]] = static_cast<float>(1 - cosine(pair.first(dim), pair.subspan(dim)));
        }
      },
      [&](std::uint64_t id, DifferenceBlock& block) {
        std::vector<std::byte> part;
        const std::vector<std::uint8_t> difference = paint(id, block, false), heat = paint(id, block, true);
        append_bytes(part, io::encode_block(difference_options, plan.column(id), plan.row(id), difference, decorate));
        append_bytes(part, io::encode_block(heat_options, plan.column(id), plan.row(id), heat, decorate));
        const std::vector<std::uint8_t> difference_share = difference_overview.shrink(difference);
        const std::vector<std::uint8_t> heat_share = heat_overview.shrink(heat);
        append_bytes(part, std::as_bytes(std::span(difference_share)));
        append_bytes(part, std::as_bytes(std::span(heat_share)));
        std::vector<float> figures;
        for (std::size_t i = 0; i < block.tiles.size(); ++i) {
          // A tile that meets several blocks is told of by the one that has its corner.
          const Point<TargetPx> at = tiles.origin(tiles.cells[block.tiles[i]]), origin = plan.origin(id);
          if (at.x < origin.x || at.y < origin.y) continue;
          const TileDifference& found = block.found[i];
          figures.push_back(static_cast<float>(block.tiles[i]));
          figures.push_back(static_cast<float>(found.magnitude));
          for (const double shift : found.shift) figures.push_back(static_cast<float>(shift));
          figures.push_back(block.distances[i]);
        }
        append_bytes(part, std::as_bytes(std::span(figures)));
        return part;
      },
      [](std::uint64_t) { return 1; });

  std::vector<TileRow> rows;
  for (std::uint64_t id = 0; id < plan.count(); ++id) {
    ctx.throw_if_stopped();
    difference_overview.place(plan.column(id), plan.row(id), share_of(ctx.chunks(), id, kDifferenceShare));
    heat_overview.place(plan.column(id), plan.row(id), share_of(ctx.chunks(), id, kHeatShare));
    const std::vector<std::byte> bytes = piece_of(ctx.chunks(), id, kTileFigures);
    std::vector<float> figures(bytes.size() / sizeof(float));
    std::memcpy(figures.data(), bytes.data(), figures.size() * sizeof(float));
    for (std::size_t k = 0; k + kFigures < figures.size(); k += kFigures + 1) {
      TileRow row{tiles.cells[static_cast<std::size_t>(figures[k])], {}};
      std::copy_n(figures.begin() + static_cast<std::ptrdiff_t>(k) + 1, kFigures, row.figures.begin());
      if (row.figures[0] > 0) rows.push_back(row);
    }
  }
  std::ranges::sort(rows, [](const TileRow& a, const TileRow& b) {
    return a.figures[0] != b.figures[0] ? a.figures[0] > b.figures[0] : a.cell < b.cell;
  });
  const std::uint64_t seed = stated.value("seed", std::uint64_t{0});
  const CardText card{options_.pyramid.generator, seed, tiles.target_mpp};
  const auto write = [&](const char* port, const io::PyramidOptions& options, Piece piece, const Overview& overview) {
    io::write_pyramid(
        outputs.at(port), options,
        [&](int column, int row) {
          ctx.throw_if_stopped();
          return piece_of(ctx.chunks(), plan.id(column, row), piece);
        },
        draw_label(card), draw_macro(card, overview.picture()), decorate);
  };
  write("difference", difference_options, kDifferenceBlock, difference_overview);
  write("heatmap", heat_options, kHeatBlock, heat_overview);
  write_file_atomically(outputs.at("table"), table_text(tiles, rows));

  double sum = 0;
  for (const TileRow& row : rows) sum += row.figures[0];
  ctx.report("tiles_with_changed_pixels", rows.size());
  ctx.report("largest_difference", rows.empty() ? 0.0 : double{rows.front().figures[0]});
  ctx.report("mean_difference_of_those", rows.empty() ? 0.0 : sum / static_cast<double>(rows.size()));
  if (rows.empty()) ctx.warn("no tile changed: the denoiser gives the same picture for the changed expression");
}

}  // namespace vtissue::stages
