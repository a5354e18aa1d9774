#include "io/tile_store.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <stdexcept>
#include <tuple>

#include "io/hdf5.h"
#include "io/mpp.h"
#include "io/tile_reader.h"

namespace vtissue::io {
namespace {

constexpr std::string_view kFormat = "vtissue-tiles";
constexpr std::int64_t kVersion = 1;        // the base lattice
constexpr std::int64_t kSecondVersion = 2;  // with what programs of before would misplace or read otherwise
constexpr const char* kArtifacts = "artifacts";
constexpr std::int64_t kLargestSide = 10'000'000;  // pixels; libvips has the same limit

/// Stages lay tiles out in arrays of the slide's size: a tile that lies elsewhere would be written beside them.
std::string misplaced(const TileSet& tiles) {
  for (const std::int64_t side : {tiles.slide_size.width, tiles.slide_size.height}) {
    if (side > kLargestSide)
      return fmt::format("a side of the slide is {} px, at most {} is possible", side, kLargestSide);
  }
  const Size<TargetPx> expected = size_at(tiles.slide_size, tiles.source_mpp, tiles.target_mpp);
  if (expected != tiles.target_size) {
    return fmt::format("target_size is {} x {}, but a slide of {} x {} px has {} x {} at {} instead of {} µm/px",
                       tiles.target_size.width, tiles.target_size.height, tiles.slide_size.width,
                       tiles.slide_size.height, expected.width, expected.height, tiles.target_mpp, tiles.source_mpp);
  }
  // Squares between the tiles of the base lattice meet tiles that reach over the slide's edge, too.
  const bool between = tiles.lattice && tiles.lattice->stride_px == tiles.tile_px &&
                       std::min(tiles.lattice->offset.x, tiles.lattice->offset.y) > -tiles.tile_px &&
                       std::max(tiles.lattice->offset.x, tiles.lattice->offset.y) <= 0;
  const std::int64_t beyond = between ? tiles.tile_px : 0;
  for (const TileCell cell : tiles.cells) {
    const Point<TargetPx> origin = tiles.origin(cell);
    if (origin.x >= expected.width + beyond || origin.y >= expected.height + beyond || origin.x + tiles.tile_px <= 0 ||
        origin.y + tiles.tile_px <= 0) {
      return fmt::format("tile ({}, {}) lies outside the slide of {} x {} target pixels", cell.column, cell.row,
                         expected.width, expected.height);
    }
  }
  return {};
}

std::string wrong_lattice(const TileSet& tiles) {
  const TileLattice& lattice = *tiles.lattice;
  if (lattice.stride_px < 1 || lattice.stride_px > kLargestSide)
    return fmt::format("stride_px is {}", lattice.stride_px);
  if (lattice.cell_px != 1 && 2 * std::int64_t{lattice.cell_px} != lattice.stride_px) {
    return fmt::format("cell_px is {}, expected 1 or half of stride_px = {}", lattice.cell_px, lattice.stride_px);
  }
  if (std::abs(lattice.offset.x) > kLargestSide || std::abs(lattice.offset.y) > kLargestSide) {
    return fmt::format("offset is ({}, {})", lattice.offset.x, lattice.offset.y);
  }
  return {};
}

/// What is wrong with a tile set; empty if nothing. Reader and writer ask the same questions.
std::string inconsistency(const TileSet& tiles) {
  const auto positive = [](double value) { return std::isfinite(value) && value > 0; };
  if (tiles.tile_px <= 0 || tiles.tile_px % 2 != 0) {
    return fmt::format("tile_px is {}, expected an even number above 0", tiles.tile_px);
  }
  if (tiles.lattice) {
    if (std::string problem = wrong_lattice(tiles); !problem.empty()) return problem;
  }
  if (!(tiles.pixel_aspect >= 1 / kLargestAspect && tiles.pixel_aspect <= kLargestAspect)) {
    return fmt::format("pixel_aspect is {}", tiles.pixel_aspect);
  }
  if (!positive(tiles.target_mpp)) return fmt::format("target_mpp is {}", tiles.target_mpp);
  if (!positive(tiles.source_mpp)) return fmt::format("source_mpp is {}", tiles.source_mpp);
  if (!positive(tiles.mask_mpp)) return fmt::format("mask_mpp is {}", tiles.mask_mpp);
  if (tiles.slide_size.empty() || tiles.target_size.empty()) return "the slide's size is not positive";
  if (tiles.tissue_fraction.size() != tiles.cells.size()) {
    return fmt::format("{} tissue fractions for {} cells", tiles.tissue_fraction.size(), tiles.cells.size());
  }
  if (std::ranges::adjacent_find(tiles.cells, std::ranges::greater_equal{}) != tiles.cells.end()) {
    return "cells are not sorted by row and column, or not unique";
  }
  if (!std::ranges::all_of(tiles.tissue_fraction, [](float f) { return f >= 0 && f <= 1; })) {
    return "a tissue fraction is outside 0..1";
  }
  for (const auto& [kind, shares] : tiles.artifacts) {
    if (shares.size() != tiles.cells.size()) {
      return fmt::format("{} shares of '{}' for {} cells", shares.size(), kind, tiles.cells.size());
    }
    if (!std::ranges::all_of(shares, [](float f) { return f >= 0 && f <= 1; })) {
      return fmt::format("a share of '{}' is outside 0..1", kind);
    }
  }
  if (tiles.mask_size.width < 0 || tiles.mask_size.height < 0 ||
      tiles.mask.size() != static_cast<std::size_t>(tiles.mask_size.area())) {
    return fmt::format("{} mask pixels for a mask of {} x {}", tiles.mask.size(), tiles.mask_size.width,
                       tiles.mask_size.height);
  }
  if (!std::ranges::all_of(tiles.mask, [](std::uint8_t m) { return m <= 1; })) return "the mask has values above 1";
  return misplaced(tiles);
}

}  // namespace

Point<Level0Px> TileSet::level0_origin(TileCell cell) const {
  const Point<TargetPx> at = origin(cell);
  return {std::llround(static_cast<double>(at.x) * scale()), std::llround(static_cast<double>(at.y) * scale())};
}

std::int32_t TileSet::neighbour_cells() const {
  if (!lattice) return 2;
  if (lattice->cell_px == 1) return tile_px;
  const auto strides = std::max<std::int64_t>(1, std::llround(static_cast<double>(tile_px) / lattice->stride_px));
  return static_cast<std::int32_t>(2 * strides);
}

std::string TileSet::grid() const {
  if (!lattice) return {};
  return fmt::format("tiles of {} px every {} px, cells of {} px from ({}, {})", tile_px, lattice->stride_px,
                     lattice->cell_px, lattice->offset.x, lattice->offset.y);
}

void write_tiles(const std::filesystem::path& path, const TileSet& tiles) {
  if (const std::string problem = inconsistency(tiles); !problem.empty()) {
    throw std::logic_error("write_tiles: " + problem);
  }
  hdf5::File file = hdf5::File::create(path);
  hdf5::Group root = file.root();
  const bool plain = !tiles.lattice && tiles.pixel_aspect == 1 && !tiles.to_srgb;
  hdf5::write_format(root, kFormat, plain ? kVersion : kSecondVersion);
  if (tiles.pixel_aspect != 1) root.set_number("pixel_aspect", tiles.pixel_aspect);
  if (tiles.to_srgb) root.set_string("icc", "srgb");
  root.set_integer("tile_px", tiles.tile_px);
  if (const auto& lattice = tiles.lattice) {
    root.set_integer("stride_px", lattice->stride_px);
    root.set_integer("cell_px", lattice->cell_px);
    root.set_integers("offset_px", std::array{lattice->offset.x, lattice->offset.y});
  }
  root.set_number("target_mpp", tiles.target_mpp);
  root.set_number("source_mpp", tiles.source_mpp);
  root.set_string("mpp_source", tiles.mpp_source);
  root.set_integers("slide_size", std::array{tiles.slide_size.width, tiles.slide_size.height});
  root.set_integers("target_size", std::array{tiles.target_size.width, tiles.target_size.height});
  root.set_string("slide_sha256", tiles.slide_sha256);
  root.set_number("mask_mpp", tiles.mask_mpp);
  root.set_string("settings", tiles.settings);

  std::vector<std::int32_t> cells;
  cells.reserve(2 * tiles.cells.size());
  for (const TileCell cell : tiles.cells) cells.insert(cells.end(), {cell.column, cell.row});
  const std::uint64_t n = tiles.cells.size();
  root.write<std::int32_t>("cells", std::array{n, std::uint64_t{2}}, cells);
  root.write<float>("tissue_fraction", std::array{n}, tiles.tissue_fraction);
  root.write<std::uint8_t>(
      "mask",
      std::array{static_cast<std::uint64_t>(tiles.mask_size.height), static_cast<std::uint64_t>(tiles.mask_size.width)},
      tiles.mask);
  if (!tiles.artifacts.empty()) {
    hdf5::Group artifacts = root.create_group(kArtifacts);
    for (const auto& [kind, shares] : tiles.artifacts) artifacts.write<float>(kind, std::array{n}, shares);
  }
  file.close();
}

TileSet read_tiles(const std::filesystem::path& path) {
  const hdf5::File file = hdf5::File::open(path);
  const hdf5::Group root = file.root();
  const bool second =
      root.string_attribute("format") == kFormat && root.required_integer("format_version") == kSecondVersion;
  hdf5::require_format(root, kFormat, second ? kSecondVersion : kVersion, "vtissue tile");
  const auto size_attribute = [&](const std::string& name) {
    const auto values = root.integers_attribute(name);
    if (!values || values->size() != 2)
      root.place().fail(fmt::format("attribute '{}' is not a width and a height", name));
    return std::pair{values->at(0), values->at(1)};
  };

  TileSet tiles;
  const std::int64_t tile_px = root.required_integer("tile_px");
  constexpr std::int64_t kLargestTile = 1 << 16;
  if (tile_px > kLargestTile) root.place().fail(fmt::format("tile_px is {}", tile_px));
  tiles.tile_px = static_cast<int>(tile_px);
  if (second) {
    if (root.numbers_attribute("pixel_aspect")) tiles.pixel_aspect = root.required_number("pixel_aspect");
    const std::string icc = root.string_attribute("icc").value_or("");
    if (!icc.empty() && icc != "srgb") root.place().fail(fmt::format("attribute 'icc' is '{}'", icc));
    tiles.to_srgb = icc == "srgb";
  }
  if (second && root.numbers_attribute("stride_px")) {
    TileLattice& lattice = tiles.lattice.emplace();
    const auto small = [&](const char* name) {
      return static_cast<int>(std::clamp<std::int64_t>(root.required_integer(name), -1, kLargestSide + 1));
    };
    lattice.stride_px = small("stride_px");
    lattice.cell_px = small("cell_px");
    std::tie(lattice.offset.x, lattice.offset.y) = size_attribute("offset_px");
  }
  tiles.target_mpp = root.required_number("target_mpp");
  tiles.source_mpp = root.required_number("source_mpp");
  tiles.mpp_source = root.required_string("mpp_source");
  std::tie(tiles.slide_size.width, tiles.slide_size.height) = size_attribute("slide_size");
  std::tie(tiles.target_size.width, tiles.target_size.height) = size_attribute("target_size");
  tiles.slide_sha256 = root.required_string("slide_sha256");
  tiles.mask_mpp = root.required_number("mask_mpp");
  tiles.settings = hdf5::read_settings(root);

  const hdf5::Dataset cells = root.dataset("cells");
  if (cells.shape().size() != 2) cells.place().fail("is not an array [tiles, 2]");
  const std::uint64_t n = cells.shape()[0];
  cells.require_shape(std::array{n, std::uint64_t{2}});
  const hdf5::Dataset fraction = root.dataset("tissue_fraction");
  fraction.require_shape(std::array{n});
  const hdf5::Dataset mask = root.dataset("mask");
  if (mask.shape().size() != 2) mask.place().fail("is not an array [height, width]");

  const std::vector<std::int32_t> numbers = cells.read<std::int32_t>();
  tiles.cells.reserve(n);
  for (std::size_t i = 0; i < n; ++i) tiles.cells.push_back({numbers[2 * i], numbers[2 * i + 1]});
  tiles.tissue_fraction = fraction.read<float>();
  if (root.has_group(kArtifacts)) {
    const hdf5::Group artifacts = root.group(kArtifacts);
    for (const std::string& kind : artifacts.children()) {
      const hdf5::Dataset shares = artifacts.dataset(kind);
      shares.require_shape(std::array{n});
      tiles.artifacts.emplace(kind, shares.read<float>());
    }
  }
  tiles.mask = mask.read<std::uint8_t>();
  tiles.mask_size = {static_cast<std::int64_t>(mask.shape()[1]), static_cast<std::int64_t>(mask.shape()[0])};
  if (const std::string problem = inconsistency(tiles); !problem.empty()) {
    root.place().fail(problem + "; make it again with 'vtissue tile'");
  }
  return tiles;
}

}  // namespace vtissue::io
