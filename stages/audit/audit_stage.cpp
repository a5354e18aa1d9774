#include "stages/audit/audit_stage.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <utility>

#include "core/atomic_file.h"
#include "core/error.h"
#include "io/anndata.h"
#include "io/feature_store.h"
#include "io/png.h"
#include "io/slide_reader.h"
#include "io/tile_store.h"
#include "pipeline/run_context.h"
#include "stages/encode/expression_rows.h"
#include "stages/evaluate/tile_comparison.h"
#include "stages/maps/tile_map.h"
#include "stages/perturb/latent_subset.h"

namespace vtissue::stages {
namespace {

namespace fs = std::filesystem;

using TileFigures = std::vector<std::optional<double>>;  // by tile

/// Cosines of the set "morphology" of two stores of the same tiles.
TileFigures morphology_cosines(const fs::path& asked_path, const fs::path& seen_path, const io::TileSet& tiles,
                               pipeline::RunContext& ctx) {
  constexpr std::size_t kAtOnce = 1024;
  constexpr std::string_view kMorphology = "morphology";
  const io::FeatureReader asked(asked_path), seen(seen_path);
  for (const auto& [reader, path] : {std::pair(&asked, &asked_path), std::pair(&seen, &seen_path)}) {
    if (reader->cells() == tiles.cells) continue;
    throw Error(ErrorCode::kBadInput, "{}: made for other tiles; both stores must be of one run", path->string());
  }
  const io::FeatureSetInfo one = asked.info(kMorphology), two = seen.info(kMorphology);
  if (one.encoder_sha256 != two.encoder_sha256 || one.dim != two.dim) {
    throw Error(ErrorCode::kModel, "{} was made by {} ({}), {} by {} ({}); both must come from one encoder",
                asked_path.string(), one.encoder, one.encoder_sha256, seen_path.string(), two.encoder,
                two.encoder_sha256);
  }
  TileFigures figures(tiles.cells.size());
  const auto dim = static_cast<std::size_t>(one.dim);
  std::vector<float> a, b;
  std::vector<std::uint8_t> a_valid, b_valid;
  for (std::size_t first = 0; first < figures.size(); first += kAtOnce) {
    ctx.throw_if_stopped();
    const std::size_t n = std::min(kAtOnce, figures.size() - first);
    asked.read(kMorphology, first, n, a, a_valid);
    seen.read(kMorphology, first, n, b, b_valid);
    for (std::size_t i = 0; i < n; ++i) {
      if (a_valid[i] == 0 || b_valid[i] == 0) continue;
      figures[first + i] = cosine(std::span(a).subspan(i * dim, dim), std::span(b).subspan(i * dim, dim));
    }
  }
  return figures;
}

/// A table of expression, dense; rows without expression are not valid.
struct DenseExpression {
  std::vector<std::string> genes;
  std::vector<std::uint8_t> valid;
  std::vector<float> values;  ///< [tiles, genes]
};

/// The genes `wanted` of a table, or all of them.
DenseExpression read_dense(const fs::path& path, const io::TileSet& tiles, const std::vector<std::string>& wanted) {
  constexpr std::size_t kAtOnce = 1024;
  const io::H5adRows table(path);
  const ExpressionRows rows = expression_rows(path, table);
  if (rows.cells != tiles.cells) {
    throw Error(ErrorCode::kBadInput, "{}: its rows are not the run's tiles; both tables must be of one run",
                path.string());
  }
  const std::vector<std::string>& genes = table.table().x.genes;
  DenseExpression dense{.genes = wanted, .valid = rows.valid, .values = {}};
  std::vector<std::int64_t> place(genes.size(), -1);
  for (std::size_t g = 0; g < genes.size(); ++g) {
    const auto found = std::ranges::find(wanted, genes[g]);
    if (found != wanted.end()) place[g] = found - wanted.begin();
  }
  dense.values.assign(tiles.cells.size() * wanted.size(), 0.0f);
  for (std::size_t first = 0; first < table.rows(); first += kAtOnce) {
    const io::ExpressionMatrix x = table.read(first, std::min(kAtOnce, table.rows() - first));
    for (std::size_t row = 0; row < x.rows; ++row) {
      for (auto k = static_cast<std::size_t>(x.indptr[row]); k < static_cast<std::size_t>(x.indptr[row + 1]); ++k) {
        const std::int64_t gene = place[static_cast<std::size_t>(x.indices[k])];
        if (gene >= 0) dense.values[(first + row) * wanted.size() + static_cast<std::size_t>(gene)] = x.values[k];
      }
    }
  }
  return dense;
}

/// The genes that both tables have and that vary in the first.
std::vector<std::string> common_genes(const fs::path& one, const fs::path& two) {
  const io::H5adRows a(one), b(two);
  std::vector<std::string> genes = a.table().x.genes, others = b.table().x.genes, common;
  std::ranges::sort(genes);
  std::ranges::sort(others);
  genes.erase(std::unique(genes.begin(), genes.end()), genes.end());
  std::ranges::set_intersection(genes, others, std::back_inserter(common));
  return common;
}

std::optional<double> correlation(const std::vector<double>& a, const std::vector<double>& b) {
  const double n = static_cast<double>(a.size());
  if (a.size() < 3) return std::nullopt;
  double mean_a = 0, mean_b = 0, ab = 0, aa = 0, bb = 0;
  for (std::size_t k = 0; k < a.size(); ++k) mean_a += a[k] / n, mean_b += b[k] / n;
  for (std::size_t k = 0; k < a.size(); ++k) {
    ab += (a[k] - mean_a) * (b[k] - mean_b);
    aa += (a[k] - mean_a) * (a[k] - mean_a);
    bb += (b[k] - mean_b) * (b[k] - mean_b);
  }
  if (!(aa > 0) || !(bb > 0)) return std::nullopt;
  return ab / std::sqrt(aa * bb);
}

struct ExpressionAudit {
  TileFigures tiles;
  std::vector<double> genes;  ///< correlation over the tiles, by gene
  std::size_t compared_genes = 0;
};

ExpressionAudit audit_expression(const fs::path& asked_path, const fs::path& seen_path, const io::TileSet& tiles) {
  constexpr double kConstant = 1e-6;
  const std::vector<std::string> genes = common_genes(asked_path, seen_path);
  const DenseExpression asked = read_dense(asked_path, tiles, genes), seen = read_dense(seen_path, tiles, genes);
  std::vector<std::size_t> rows;
  for (std::size_t i = 0; i < tiles.cells.size(); ++i) {
    if (asked.valid[i] != 0 && seen.valid[i] != 0) rows.push_back(i);
  }
  ExpressionAudit audit;
  audit.tiles.resize(tiles.cells.size());
  if (rows.empty()) return audit;
  const double n = static_cast<double>(rows.size());
  std::vector<std::size_t> used;
  std::vector<double> mean_asked(genes.size()), mean_seen(genes.size()), deviation(genes.size());
  for (std::size_t g = 0; g < genes.size(); ++g) {
    std::vector<double> a, b;
    for (const std::size_t row : rows) {
      a.push_back(asked.values[row * genes.size() + g]);
      b.push_back(seen.values[row * genes.size() + g]);
      mean_asked[g] += a.back() / n;
      mean_seen[g] += b.back() / n;
    }
    double squares = 0;
    for (const double value : a) squares += (value - mean_asked[g]) * (value - mean_asked[g]);
    deviation[g] = std::sqrt(squares / n);
    if (deviation[g] < kConstant) continue;
    used.push_back(g);
    audit.genes.push_back(correlation(a, b).value_or(0));
  }
  audit.compared_genes = used.size();
  for (const std::size_t row : rows) {
    std::vector<double> a, b;
    for (const std::size_t g : used) {
      a.push_back((asked.values[row * genes.size() + g] - mean_asked[g]) / deviation[g]);
      b.push_back((seen.values[row * genes.size() + g] - mean_seen[g]) / deviation[g]);
    }
    audit.tiles[row] = correlation(a, b);
  }
  return audit;
}

nlohmann::json summarize(std::vector<double> values) {
  if (values.empty()) return nullptr;
  std::ranges::sort(values);
  double sum = 0;
  for (const double value : values) sum += value;
  return {{"n", values.size()},
          {"mean", sum / static_cast<double>(values.size())},
          {"median", values[values.size() / 2]},
          {"tenth_percentile", values[values.size() / 10]},
          {"least", values.front()}};
}

std::vector<double> present(const TileFigures& figures) {
  std::vector<double> values;
  for (const std::optional<double>& figure : figures) {
    if (figure) values.push_back(*figure);
  }
  return values;
}

nlohmann::json read_metrics(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  nlohmann::json metrics = nlohmann::json::parse(file, nullptr, false);
  if (!metrics.is_object()) throw Error(ErrorCode::kBadInput, "{}: are no metrics; run evaluate again", path.string());
  return metrics;
}

/// Squares of the tiles, in level-0 pixels of the slide that the tiles lie on.
nlohmann::json tile_squares(const io::TileSet& tiles, const std::vector<std::size_t>& chosen) {
  nlohmann::json features = nlohmann::json::array();
  const double scale = tiles.target_mpp / tiles.source_mpp;
  for (const std::size_t tile : chosen) {
    const Point<TargetPx> at = tiles.origin(tiles.cells[tile]);
    const double x0 = static_cast<double>(at.x) * scale, y0 = static_cast<double>(at.y) * scale;
    const double x1 = x0 + tiles.tile_px * scale, y1 = y0 + tiles.tile_px * scale;
    const nlohmann::json ring = {{x0, y0}, {x1, y0}, {x1, y1}, {x0, y1}, {x0, y0}};
    features.push_back(
        {{"type", "Feature"},
         {"properties", {{"name", fmt::format("tile {},{}", tiles.cells[tile].column, tiles.cells[tile].row)}}},
         {"geometry", {{"type", "Polygon"}, {"coordinates", nlohmann::json::array({ring})}}}});
  }
  return {{"type", "FeatureCollection"}, {"features", std::move(features)}};
}

}  // namespace

std::optional<double> lower_fence(std::vector<double> values) {
  constexpr std::size_t kFewest = 4;
  constexpr double kWhiskers = 1.5;
  if (values.size() < kFewest) return std::nullopt;
  std::ranges::sort(values);
  const double low = values[values.size() / 4], high = values[values.size() * 3 / 4];
  return low - kWhiskers * (high - low);
}

nlohmann::json AuditTilesStage::identity() const { return nlohmann::json::object(); }

void AuditTilesStage::run(const pipeline::Bindings& inputs, const pipeline::Bindings& outputs,
                          pipeline::RunContext& ctx) const {
  io::TileSet tiles = io::read_tiles(inputs.at("tiles"));
  const fs::path& path = inputs.at("virtual");
  const auto size = io::SlideReader::open(path, {.mpp = tiles.target_mpp})->info().levels.front().size;
  if (size.width < tiles.target_size.width || size.height < tiles.target_size.height) {
    throw Error(ErrorCode::kBadInput,
                "{}: {} x {} pixels, fewer than the {} x {} of the tiles; it is not their virtual slide", path.string(),
                size.width, size.height, tiles.target_size.width, tiles.target_size.height);
  }
  tiles.source_mpp = tiles.target_mpp;
  tiles.mpp_source = "tiles";
  tiles.slide_size = {size.width, size.height};
  tiles.target_size = {size.width, size.height};  // with the padding of its pyramid
  tiles.slide_sha256 = ctx.input_sha256("virtual", path);
  io::write_tiles(outputs.at("seen"), tiles);
}

std::vector<pipeline::Port> AuditStage::inputs() const {
  return {{.name = "tiles"},
          {.name = "features", .optional = true},
          {.name = "features_seen", .optional = true},
          {.name = "expression", .optional = true},
          {.name = "expression_seen", .optional = true},
          {.name = "metrics", .optional = true}};
}

std::vector<pipeline::Port> AuditStage::outputs() const {
  return {{.name = "report"},
          {.name = "table"},
          {.name = "morphology_map"},
          {.name = "expression_map"},
          {.name = "failing"}};
}

nlohmann::json AuditStage::identity() const {
  nlohmann::json identity = {{"least_cosine", nullptr}};
  if (options_.least_cosine) identity["least_cosine"] = *options_.least_cosine;
  return identity;
}

void AuditStage::run(const pipeline::Bindings& inputs, const pipeline::Bindings& outputs,
                     pipeline::RunContext& ctx) const {
  const io::TileSet tiles = io::read_tiles(inputs.at("tiles"));
  ctx.set_total(1, "slide");
  TileFigures cosines(tiles.cells.size());
  ExpressionAudit expression{.tiles = TileFigures(tiles.cells.size()), .genes = {}};
  const auto features = optional_input(inputs, "features"), features_seen = optional_input(inputs, "features_seen");
  if (features && features_seen) cosines = morphology_cosines(*features, *features_seen, tiles, ctx);
  const auto table = optional_input(inputs, "expression"), table_seen = optional_input(inputs, "expression_seen");
  if (table && table_seen) expression = audit_expression(*table, *table_seen, tiles);

  const std::optional<double> fence = options_.least_cosine ? options_.least_cosine : lower_fence(present(cosines));
  std::vector<std::size_t> failing;
  for (std::size_t i = 0; fence && i < cosines.size(); ++i) {
    if (cosines[i] && *cosines[i] < *fence) failing.push_back(i);
  }
  nlohmann::json report = {{"format", 1},
                           {"tiles", tiles.cells.size()},
                           {"morphology_cosine", summarize(present(cosines))},
                           {"expression_correlation", summarize(present(expression.tiles))},
                           {"gene_correlation", summarize(expression.genes)},
                           {"genes_compared", expression.compared_genes},
                           {"least_cosine", nullptr},
                           {"failing_tiles", failing.size()}};
  if (fence) report["least_cosine"] = *fence;
  nlohmann::json metrics = nlohmann::json::object();
  if (const auto path = optional_input(inputs, "metrics")) metrics = read_metrics(*path);
  metrics["condition_fidelity"] = report;
  write_file_atomically(outputs.at("report"), metrics.dump(2) + "\n");

  std::string rows = "cell_column\tcell_row\tmorphology_cosine\texpression_correlation\tfails\n";
  const auto cell_text = [](const std::optional<double>& value) {
    return value ? fmt::format("{:.6f}", *value) : std::string();
  };
  for (std::size_t i = 0; i < tiles.cells.size(); ++i) {
    rows += fmt::format("{}\t{}\t{}\t{}\t{}\n", tiles.cells[i].column, tiles.cells[i].row, cell_text(cosines[i]),
                        cell_text(expression.tiles[i]), std::ranges::binary_search(failing, i) ? 1 : 0);
  }
  write_file_atomically(outputs.at("table"), rows);
  const auto write_map = [&](const char* port, const TileFigures& values, const std::string& title,
                             const std::string& unit) {
    const auto [low, high] = colour_range(values);
    const std::vector<std::byte> png = io::encode_png(draw_tile_map(tiles, values, {title, unit, low, high}));
    write_file_atomically(outputs.at(port), png);
  };
  write_map("morphology_map", cosines, "Virtual tiles embedded again: agreement with the morphology asked for",
            "cosine");
  write_map("expression_map", expression.tiles,
            "Virtual tiles' expression predicted again: agreement with what was asked", "correlation");
  write_file_atomically(outputs.at("failing"), tile_squares(tiles, failing).dump() + "\n");

  for (const char* key : {"morphology_cosine", "expression_correlation", "gene_correlation", "failing_tiles"})
    ctx.report(key, report[key]);
  ctx.advance();
}

}  // namespace vtissue::stages
