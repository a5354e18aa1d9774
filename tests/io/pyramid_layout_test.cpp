#include <gtest/gtest.h>

#include <algorithm>
#include <tuple>

#include "core/error.h"
#include "io/pyramid_writer.h"

namespace vtissue::io {
namespace {

PyramidOptions options_of(std::int64_t width, std::int64_t height) {
  PyramidOptions options;
  options.size = {width, height};
  options.mpp = 0.5;
  return options;
}

TEST(PyramidLayout, HalvesExactlyUntilBothSidesAreSmall) {
  for (const auto& [width, height] :
       {std::pair{1, 1}, {512, 512}, {513, 1}, {1025, 700}, {100000, 80001}, {37, 65537}}) {
    const PyramidOptions options = options_of(width, height);
    const PyramidLayout layout = layout_of(options);
    EXPECT_EQ(layout.levels.front(), (Size<LevelPx>{layout.padded_size.width, layout.padded_size.height}));
    EXPECT_LT(layout.padded_size.width - width, 1 << (layout.levels.size() - 1));
    EXPECT_LT(layout.padded_size.height - height, 1 << (layout.levels.size() - 1));
    for (std::size_t level = 1; level < layout.levels.size(); ++level) {
      EXPECT_EQ(layout.levels[level].width * 2, layout.levels[level - 1].width);
      EXPECT_EQ(layout.levels[level].height * 2, layout.levels[level - 1].height);
      EXPECT_GT(std::max(layout.levels[level - 1].width, layout.levels[level - 1].height), 512);
    }
    EXPECT_LE(std::max(layout.levels.back().width, layout.levels.back().height), 512);
    EXPECT_GE(layout.blocks_x * options.block_px, layout.padded_size.width);
    EXPECT_LE(layout.block_levels, 4);
    EXPECT_LE(layout.block_levels, static_cast<int>(layout.levels.size()));
  }
}

TEST(PyramidLayout, LosslessLevelsAreNoSmallerThanATile) {
  for (const auto& [width, height, levels] : {std::tuple{1, 1, 1}, {2000, 700, 2}, {5000, 100, 1}, {2048, 2048, 3}}) {
    PyramidOptions options = options_of(width, height);
    options.codec = PyramidCodec::kDeflate;
    const PyramidLayout layout = layout_of(options);
    EXPECT_EQ(layout.levels.size(), static_cast<std::size_t>(levels)) << width;
    EXPECT_GE(layout.levels.back().width, options.tile_px);
    EXPECT_GE(layout.levels.back().height, options.tile_px);
  }
}

TEST(PyramidLayout, RefusesOptionsOutOfRange) {
  const auto refused = [](auto change) {
    PyramidOptions options = options_of(1000, 1000);
    change(options);
    try {
      layout_of(options);
      return false;
    } catch (const Error& error) {
      return error.code() == ErrorCode::kUsage;
    }
  };
  EXPECT_TRUE(refused([](PyramidOptions& o) { o.size.width = 0; }));
  EXPECT_TRUE(refused([](PyramidOptions& o) { o.mpp = 0; }));
  EXPECT_TRUE(refused([](PyramidOptions& o) { o.quality = 101; }));
  EXPECT_TRUE(refused([](PyramidOptions& o) { o.tile_px = 250; }));
  EXPECT_TRUE(refused([](PyramidOptions& o) { o.tile_px = 8; }));
  EXPECT_TRUE(refused([](PyramidOptions& o) { o.block_px = 128; }));
  EXPECT_TRUE(refused([](PyramidOptions& o) { o.block_px = 1536; }));
  EXPECT_FALSE(refused([](PyramidOptions&) {}));
}

}  // namespace
}  // namespace vtissue::io
