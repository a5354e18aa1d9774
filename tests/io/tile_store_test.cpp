#include "io/tile_store.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <array>
#include <functional>

#include "core/hash.h"
#include "io/hdf5.h"
#include "store_test_support.h"

namespace vtissue::io {
namespace {

using testing::HasSubstr;

TileSet example() {
  TileSet tiles;
  tiles.tile_px = 128;
  tiles.target_mpp = 0.7;
  tiles.source_mpp = 0.25;
  tiles.mpp_source = "openslide.mpp-x";
  tiles.slide_size = {20000, 10000};
  tiles.target_size = {7142, 3571};
  tiles.slide_sha256 = std::string(64, 'a');
  tiles.cells = {{2, 0}, {4, 0}, {0, 2}, {-1, 3}};
  std::ranges::sort(tiles.cells);
  tiles.tissue_fraction = {0.5f, 1.0f, 0.0f, 0.25f};
  tiles.artifacts = {{"blur", {0, 0.25f, 0, 1}}, {"pen", {0, 0, 0, 0}}};
  tiles.mask = {0, 1, 1, 0, 1, 0};
  tiles.mask_size = {3, 2};
  tiles.mask_mpp = 8;
  return tiles;
}

TEST(TileStore, WhatIsWrittenIsRead) {
  const TemporaryFolder folder;
  const TileSet tiles = example();
  write_tiles(folder / "tiles.h5", tiles);
  const TileSet read = read_tiles(folder / "tiles.h5");
  EXPECT_EQ(read.tile_px, 128);
  EXPECT_EQ(read.target_mpp, 0.7);
  EXPECT_EQ(read.source_mpp, 0.25);
  EXPECT_EQ(read.mpp_source, "openslide.mpp-x");
  EXPECT_EQ(read.slide_size, tiles.slide_size);
  EXPECT_EQ(read.target_size, tiles.target_size);
  EXPECT_EQ(read.slide_sha256, tiles.slide_sha256);
  EXPECT_EQ(read.cells, tiles.cells);
  EXPECT_EQ(read.tissue_fraction, tiles.tissue_fraction);
  EXPECT_EQ(read.artifacts, tiles.artifacts);
  EXPECT_EQ(read.mask, tiles.mask);
  EXPECT_EQ(read.mask_size, tiles.mask_size);
  EXPECT_EQ(read.mask_mpp, 8);
}

TEST(TileStore, NoTilesIsAStoreToo) {
  const TemporaryFolder folder;
  TileSet tiles = example();
  tiles.cells.clear();
  tiles.tissue_fraction.clear();
  tiles.artifacts.clear();
  write_tiles(folder / "tiles.h5", tiles);
  EXPECT_TRUE(read_tiles(folder / "tiles.h5").cells.empty());
}

TEST(TileStore, EqualTilesGiveEqualBytes) {
  const TemporaryFolder folder;
  write_tiles(folder / "a.h5", example());
  write_tiles(folder / "b.h5", example());
  EXPECT_EQ(sha256_file(folder / "a.h5"), sha256_file(folder / "b.h5"));
}

TEST(TileStore, RefusesToWriteWhatItWouldNotRead) {
  const TemporaryFolder folder;
  TileSet tiles = example();
  std::swap(tiles.cells[0], tiles.cells[1]);
  EXPECT_THROW(write_tiles(folder / "tiles.h5", tiles), std::logic_error);
}

TEST(TileStore, TilesLieOnTheSlideAndItsSizeFollowsFromTheMpp) {
  const TemporaryFolder folder;
  const auto problem = [&](const std::function<void(TileSet&)>& damage) {
    TileSet tiles = example();
    damage(tiles);
    try {
      write_tiles(folder / "tiles.h5", tiles);
    } catch (const std::logic_error& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  EXPECT_EQ(problem([](TileSet&) {}), "");
  for (const TileCell cell :
       {TileCell{112, 0}, TileCell{-2, 0}, TileCell{0, -2}, TileCell{0, 56}, TileCell{2'000'000'000, 2'000'000'000}}) {
    const std::string message = problem([&](TileSet& tiles) {
      tiles.cells = {cell};
      tiles.tissue_fraction = {1};
      tiles.artifacts.clear();
    });
    EXPECT_THAT(message, HasSubstr("outside the slide of 7142 x 3571")) << cell.column << " " << cell.row;
  }
  EXPECT_THAT(problem([](TileSet& tiles) { tiles.target_size.width = 7143; }), HasSubstr("target_size is 7143 x 3571"));
  EXPECT_THAT(problem([](TileSet& tiles) { tiles.artifacts["pen"].pop_back(); }),
              HasSubstr("3 shares of 'pen' for 4 cells"));
  EXPECT_THAT(problem([](TileSet& tiles) { tiles.artifacts["pen"][1] = 1.5f; }), HasSubstr("'pen' is outside 0..1"));
  EXPECT_THAT(problem([](TileSet& tiles) { tiles.source_mpp = 0.5; }), HasSubstr("target_size"));
  EXPECT_THAT(problem([](TileSet& tiles) { tiles.slide_size.width = std::int64_t{1} << 40; }), HasSubstr("at most"));
}

struct Defect {
  std::string name;
  std::function<void(hdf5::Group&)> write;
  std::string message;
};

class TileStoreDefects : public testing::TestWithParam<Defect> {};

/// All of a store but what the defect is about.
void write_store(hdf5::Group& root, bool with_cells = true) {
  const std::array<std::uint64_t, 2> cells_shape{2, 2}, mask_shape{1, 1};
  if (with_cells) root.write<std::int32_t>("cells", cells_shape, std::array<std::int32_t, 4>{0, 0, 2, 0});
  root.write<std::uint8_t>("mask", mask_shape, std::array<std::uint8_t, 1>{1});
  for (const char* name : {"target_mpp", "source_mpp", "mask_mpp"}) root.set_number(name, 1);
  root.set_string("mpp_source", "");
  root.set_string("slide_sha256", "");
  root.set_integer("tile_px", 128);
  for (const char* name : {"slide_size", "target_size"}) root.set_integers(name, std::array<std::int64_t, 2>{9, 9});
}

TEST_P(TileStoreDefects, AreRefused) {
  const TemporaryFolder folder;
  hdf5::File file = hdf5::File::create(folder / "tiles.h5");
  hdf5::Group root = file.root();
  GetParam().write(root);
  file.close();
  const Error error = error_of([&] { read_tiles(folder / "tiles.h5"); });
  EXPECT_EQ(error.code(), ErrorCode::kBadInput);
  EXPECT_THAT(error.what(), HasSubstr(GetParam().message));
  EXPECT_THAT(error.what(), HasSubstr("tiles.h5"));
}

INSTANTIATE_TEST_SUITE_P(
    All, TileStoreDefects,
    testing::Values(
        Defect{"NoFormat", [](hdf5::Group&) {}, "not a vtissue-tiles store"},
        Defect{"OtherFormat", [](hdf5::Group& root) { hdf5::write_format(root, "vtissue-features", 1); },
               "format 'vtissue-features'"},
        Defect{"OtherVersion", [](hdf5::Group& root) { hdf5::write_format(root, "vtissue-tiles", 99); },
               "version 99 of the vtissue-tiles format, this program reads 1; make it again with 'vtissue tile'"},
        Defect{"NoAttributes", [](hdf5::Group& root) { hdf5::write_format(root, "vtissue-tiles", 1); }, "'tile_px'"},
        Defect{"NoCells",
               [](hdf5::Group& root) {
                 hdf5::write_format(root, "vtissue-tiles", 1);
                 write_store(root, false);
               },
               "cells: is missing"},
        Defect{"FewerFractions",
               [](hdf5::Group& root) {
                 hdf5::write_format(root, "vtissue-tiles", 1);
                 write_store(root);
                 root.write<float>("tissue_fraction", std::array<std::uint64_t, 1>{1}, std::array<float, 1>{1});
               },
               "tissue_fraction: has shape [1], expected [2]"},
        Defect{"FractionAboveOne",
               [](hdf5::Group& root) {
                 hdf5::write_format(root, "vtissue-tiles", 1);
                 write_store(root);
                 root.write<float>("tissue_fraction", std::array<std::uint64_t, 1>{2}, std::array<float, 2>{1, 2});
               },
               "outside 0..1"},
        Defect{"ATileOutside",
               [](hdf5::Group& root) {
                 hdf5::write_format(root, "vtissue-tiles", 1);
                 write_store(root);
                 root.write<float>("tissue_fraction", std::array<std::uint64_t, 1>{2}, std::array<float, 2>{1, 1});
               },
               "tile (2, 0) lies outside the slide of 9 x 9 target pixels"},
        Defect{"UnsortedCells",
               [](hdf5::Group& root) {
                 hdf5::write_format(root, "vtissue-tiles", 1);
                 write_store(root, false);
                 root.write<std::int32_t>("cells", std::array<std::uint64_t, 2>{2, 2},
                                          std::array<std::int32_t, 4>{2, 0, 0, 0});
                 root.write<float>("tissue_fraction", std::array<std::uint64_t, 1>{2}, std::array<float, 2>{1, 1});
               },
               "not sorted"}),
    [](const auto& param_info) { return param_info.param.name; });

}  // namespace
}  // namespace vtissue::io
