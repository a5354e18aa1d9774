#include <gmock/gmock.h>

#include <cstring>
#include <fstream>

#include "io/feature_store.h"
#include "models/device.h"
#include "stages/evaluate/evaluate_stage.h"
#include "stages/report/report_stage.h"
#include "stages/stitch/stitch_stage.h"
#include "tests/stages/synthesis_fixture.h"
#include "tests/support/synthetic_slide.h"

namespace vtissue::stages {
namespace {

using ::testing::Contains;
using ::testing::Each;
using ::testing::HasSubstr;

/// Where the file of a BigTIFF keeps tile `index` of its first directory.
std::uint64_t tile_offset(const std::string& bytes, std::size_t index) {
  const auto number = [&](std::uint64_t at, int size) {
    std::uint64_t value = 0;
    std::memcpy(&value, bytes.data() + at, static_cast<std::size_t>(size));
    return value;
  };
  constexpr std::uint64_t kTileOffsets = 324;
  const std::uint64_t directory = number(8, 8);
  for (std::uint64_t i = 0; i < number(directory, 8); ++i) {
    const std::uint64_t entry = directory + 8 + 20 * i;
    if (number(entry, 2) == kTileOffsets) return number(number(entry + 12, 8) + 8 * index, 8);
  }
  return 0;
}

/// A slide of 4 x 3 stored tiles of 256 px, the one at (1, 1) of which cannot be decoded: of the 8 x 6 tiles of 128 px
/// that are four.
class BadTileTest : public SynthesisFixture {
 protected:
  void SetUp() override {
    SynthesisFixture::SetUp();
    const Size<TargetPx> size{1024, 768};
    testing::write_slide(file("slide.svs"), testing::tissue_picture(size, kMpp), kMpp);
    std::string bytes = read_bytes(file("slide.svs"));
    const std::uint64_t at = tile_offset(bytes, 5);
    ASSERT_GT(at, 0u);
    std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(at), 64, '\xff');
    std::ofstream(file("slide.svs"), std::ios::binary) << bytes;

    tiles_.tile_px = kTilePx;
    tiles_.target_mpp = tiles_.source_mpp = kMpp;
    tiles_.mpp_source = "--mpp";
    tiles_.slide_size = {size.width, size.height};
    tiles_.target_size = size;
    tiles_.slide_sha256 = sha256_file(file("slide.svs"));
    tiles_.mask = {1};
    tiles_.mask_size = {1, 1};
    tiles_.mask_mpp = 1000;
    for (int row = 0; row < 6; ++row) {
      for (int column = 0; column < 8; ++column) {
        tiles_.cells.push_back({2 * column, 2 * row});
        tiles_.tissue_fraction.push_back(1);
      }
    }
    io::write_tiles(file("tiles.h5"), tiles_);
  }

  pipeline::Bindings inputs(std::initializer_list<pipeline::Bindings::value_type> more = {}) const {
    pipeline::Bindings all{{"slide", file("slide.svs")}, {"tiles", file("tiles.h5")}};
    all.insert(more);
    return all;
  }
};

TEST_F(BadTileTest, FailNamesTheTile) {
  const EmbedStage stage({}, models::make_null_morphology_encoder());
  const Error error = error_of([&] { run(stage, inputs(), {{"features", file("features.h5")}}); });
  EXPECT_EQ(error.code(), ErrorCode::kBadInput);
  EXPECT_THAT(error.what(), HasSubstr("slide.svs"));
  EXPECT_THAT(error.what(), HasSubstr("tile (4, 4)"));
}

TEST_F(BadTileTest, SkipLeavesTheTilesOutFromEmbedToReport) {
  const auto encoder = models::make_null_morphology_encoder();
  const Outcome embedded = run(EmbedStage({.on_bad_tile = OnBadTile::kSkip, .chunk_tiles = 5}, encoder), inputs(),
                               {{"features", file("features.h5")}}, "embed");
  const nlohmann::json skipped = {{4, 4}, {6, 4}, {4, 6}, {6, 6}};
  EXPECT_EQ(embedded.reported["tiles_skipped"], 4);
  EXPECT_EQ(embedded.reported["skipped_tiles"], skipped);
  EXPECT_THAT(embedded.warnings, Contains(HasSubstr("4 of 48 tiles could not be read")));
  {
    const io::FeatureReader features(file("features.h5"));
    std::vector<float> values;
    std::vector<std::uint8_t> valid;
    for (std::size_t i = 0; i < tiles_.cells.size(); ++i) {
      features.read("morphology", i, 1, values, valid);
      const nlohmann::json cell = {tiles_.cells[i].column, tiles_.cells[i].row};
      const bool bad = std::ranges::find(skipped, cell) != skipped.end();
      EXPECT_EQ(valid[0], bad ? 0 : 1) << cell;
      if (bad) {
        EXPECT_THAT(values, Each(0.0f)) << cell;
      }
    }
  }

  synthesize();
  run(StitchStage({.generator = "vtissue 9.9"}, models::make_null_autoencoder()),
      {{"latents", file("latents")}, {"tiles", file("tiles.h5")}}, {{"virtual", file("virtual.tiff")}}, "stitch");
  run(EvaluateStage({}, encoder, models::Device::open("cpu", 1)),
      inputs({{"features", file("features.h5")}, {"virtual", file("virtual.tiff")}}),
      {{"metrics", file("metrics.json")}}, "evaluate");
  const nlohmann::json metrics = nlohmann::json::parse(read_bytes(file("metrics.json")));
  EXPECT_EQ(metrics["tiles"]["compared"], 44);
  EXPECT_EQ(metrics["tiles"]["without_embedding"], 4);

  const Outcome reported = run(ReportStage({.tile_pairs = 48, .generator = "vtissue 9.9"}),
                               inputs({{"virtual", file("virtual.tiff")}, {"metrics", file("metrics.json")}}),
                               {{"report", file("report.html")}, {"preview", file("preview.png")}}, "report");
  EXPECT_EQ(reported.reported["tile_pairs"], 44);
  EXPECT_THAT(reported.warnings, Contains(HasSubstr("cannot be decoded")));
  EXPECT_THAT(read_bytes(file("report.html")), HasSubstr("cannot be decoded"));
}

TEST_F(BadTileTest, ASlideWithoutOneReadableTileIsRefusedUnderSkipToo) {
  tiles_.cells = {{4, 4}, {6, 6}};
  tiles_.tissue_fraction = {1, 1};
  io::write_tiles(file("tiles.h5"), tiles_);
  const EmbedStage stage({.on_bad_tile = OnBadTile::kSkip}, models::make_null_morphology_encoder());
  const Error error = error_of([&] { run(stage, inputs(), {{"features", file("features.h5")}}); });
  EXPECT_EQ(error.code(), ErrorCode::kBadInput);
  EXPECT_THAT(error.what(), HasSubstr("not one of the 2 tiles could be read"));
}

}  // namespace
}  // namespace vtissue::stages
