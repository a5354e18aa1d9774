#include "run_fixture.h"

#include <fmt/format.h>

#include <fstream>

#include "../support/synthetic_slide.h"
#include "core/hash.h"
#include "io/anndata.h"

namespace vtissue::testing {
namespace {

namespace fs = std::filesystem;

constexpr double kSlideMpp = 0.5, kTargetMpp = 0.7;
constexpr Size<TargetPx> kSlideSize{1500, 1300};

io::TileSet make_tiles(const fs::path& slide) {
  io::TileSet tiles;
  tiles.tile_px = 128;
  tiles.target_mpp = kTargetMpp;
  tiles.source_mpp = kSlideMpp;
  tiles.mpp_source = "openslide.mpp-x";
  tiles.slide_size = {kSlideSize.width, kSlideSize.height};
  tiles.target_size = {1071, 928};
  tiles.slide_sha256 = sha256_file(slide);
  for (std::int32_t row = 2; row < 12; row += 2) {
    for (std::int32_t column = 2; column < 14; column += 2) {
      tiles.cells.push_back({column, row});
      tiles.tissue_fraction.push_back(static_cast<float>(column) / 14.0F);
    }
  }
  tiles.mask_size = {94, 82};
  tiles.mask_mpp = 8;
  for (std::int64_t y = 0; y < 82; ++y) {
    for (std::int64_t x = 0; x < 94; ++x) tiles.mask.push_back(x > 10 && x < 80 && y > 10 && y < 70 ? 1 : 0);
  }
  return tiles;
}

void write_text(const fs::path& path, const std::string& text) { std::ofstream(path) << text; }

}  // namespace

MadeRun make_run(const fs::path& folder, const fs::path& slide, std::size_t genes) {
  fs::create_directories(folder);
  MadeRun made{.folder = folder, .slide = slide};
  io::PyramidOptions real;
  real.mpp = kSlideMpp;
  real.sampling = io::ChromaSampling::k420;
  write_slide(slide, tissue_picture(kSlideSize, kSlideMpp), real);
  made.tiles = make_tiles(slide);
  io::write_tiles(folder / "tiles.h5", made.tiles);

  io::PyramidOptions synthetic;
  synthetic.mpp = kTargetMpp;
  synthetic.provenance_json = R"({"synthetic": true, "seed": 7})";
  write_slide(folder / "virtual.tiff", tissue_picture({1071, 928}, kTargetMpp, 9), synthetic);

  const std::size_t n = made.tiles.cells.size();
  io::AnnData table;
  std::vector<std::int64_t> columns, rows;
  std::vector<std::uint8_t> expressed(n, 1);
  std::vector<double> spots;
  expressed[kTileWithoutExpression] = 0;
  for (std::size_t gene = 0; gene < genes; ++gene) made.genes.push_back(fmt::format("GENE{}", gene));
  for (std::size_t tile = 0; tile < n; ++tile) {
    const TileCell cell = made.tiles.cells[tile];
    columns.push_back(cell.column);
    rows.push_back(cell.row);
    spots.push_back(tile % 3 == 0 ? 1 : 2);
    table.obs.index.push_back(fmt::format("tile-{}-{}", cell.column, cell.row));
    for (std::size_t gene = 0; gene < genes; ++gene) {
      const float value =
          gene == 0 ? static_cast<float>(cell.column) / 4.0F : static_cast<float>((tile * 7 + gene * 13) % 11) / 8.0F;
      made.expression.push_back(expressed[tile] != 0 ? value : 0.0F);
    }
  }
  table.obs.columns = {{"cell_column", columns}, {"cell_row", rows}, {"has_expression", expressed}, {"n_spots", spots}};
  table.x.genes = made.genes;
  table.strings = {{"source", "predicted"}, {"unit", "log1p of counts per 10,000"}};
  io::H5adWriter writer(folder / "expression.h5ad", n, genes);
  writer.append(made.expression);
  writer.finish(table);

  write_text(folder / "metrics.json", R"({"format": 1})");
  write_text(folder / "run.json",
             fmt::format(R"({{"inputs": {{"tile.slide": {{"name": "{}"}}}}}})", slide.filename().string()));
  return made;
}

}  // namespace vtissue::testing
