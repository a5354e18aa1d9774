// Features that another tool has computed, in place of embed's own.

#include "stages/embed/given_features.h"

#include <gmock/gmock.h>

#include <atomic>
#include <numeric>

#include "io/feature_store.h"
#include "tests/stages/synthesis_fixture.h"

namespace vtissue::stages {
namespace {

using ::testing::HasSubstr;

/// The tile's mean colour in [0, 1], and its square; counts the tiles it was asked for.
class ColourEncoder : public models::MorphologyEncoder {
 public:
  const models::ModelInfo& info() const override { return info_; }
  int dim() const override { return 4; }
  void encode(std::span<const std::uint8_t> rgb, int n, int tile_px, std::span<float> out) const override {
    const std::size_t bytes = static_cast<std::size_t>(tile_px) * tile_px * 3;
    for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i) {
      std::array<double, 3> sum{};
      for (std::size_t k = 0; k < bytes; ++k) sum[k % 3] += rgb[i * bytes + k];
      for (std::size_t c = 0; c < 3; ++c) out[4 * i + c] = static_cast<float>(sum[c] * 3 / (255.0 * bytes));
      out[4 * i + 3] = out[4 * i] * out[4 * i];
    }
    tiles_ += n;
  }
  int tiles() const { return tiles_; }

 private:
  models::ModelInfo info_{"colour", "test", "aa", 3};
  mutable std::atomic<int> tiles_ = 0;
};

class GivenFeaturesTest : public SynthesisFixture {
 protected:
  void SetUp() override {
    SynthesisFixture::SetUp();
    make_slide(6, 5);
    run(EmbedStage({.chunk_tiles = 3}, encoder_), {{"slide", file("slide.tif")}, {"tiles", file("tiles.h5")}},
        {{"features", file("own.h5")}}, "own");
    read_own();
  }

  void read_own() {
    const io::FeatureReader reader(file("own.h5"));
    std::vector<std::uint8_t> valid;
    reader.read("morphology", 0, reader.cells().size(), values_, valid);
  }

  /// The store's rows in `order`, as the tool would write them; `change` is applied to each value.
  void give(
      io::PatchTool tool, const std::vector<std::size_t>& order,
      const std::function<float(float)>& change = [](float v) { return v; }, int dim = 4, double side = 128) const {
    io::PatchLayout layout{.name = "s", .patch_px = 128, .scale = side / 128, .level0_mpp = kMpp};
    layout.slide_size = tiles_.slide_size;
    std::vector<Point<Level0Px>> corners;
    for (const std::size_t row : order) corners.push_back(tiles_.level0_origin(tiles_.cells[row]));
    io::PatchFeatureWriter writer(file("given.h5"), tool, layout, corners, dim, "uni2h");
    for (const std::size_t row : order) {
      std::vector<float> values(static_cast<std::size_t>(dim), 0.0f);
      for (std::size_t k = 0; k < values.size() && k < 4; ++k) values[k] = change(values_[4 * row + k]);
      writer.append(values);
    }
    writer.finish();
  }

  std::vector<std::size_t> in_order() const {
    std::vector<std::size_t> order(tiles_.cells.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    return order;
  }

  /// TRIDENT goes down the columns.
  std::vector<std::size_t> by_column() const {
    std::vector<std::size_t> order = in_order();
    std::ranges::stable_sort(order, {}, [&](std::size_t row) { return tiles_.cells[row].column; });
    return order;
  }

  pipeline::Bindings inputs() const {
    return {{"slide", file("slide.tif")}, {"tiles", file("tiles.h5")}, {"patch_features", file("given.h5")}};
  }

  Outcome embed_given(const std::shared_ptr<ColourEncoder>& encoder, const std::string& out = "features.h5") {
    return run(EmbedStage({.chunk_tiles = 3}, encoder), inputs(), {{"features", file(out)}}, "work" + out);
  }

  std::string refusal() {
    const Error error = error_of([&] { embed_given(std::make_shared<ColourEncoder>()); });
    EXPECT_FALSE(std::filesystem::exists(file("features.h5")));
    return error.what();
  }

  std::shared_ptr<ColourEncoder> encoder_ = std::make_shared<ColourEncoder>();
  std::vector<float> values_;
};

TEST_F(GivenFeaturesTest, AreTakenInTheTilesOrderWithoutComputing) {
  for (const io::PatchTool tool : {io::PatchTool::kClam, io::PatchTool::kTrident}) {
    give(tool, by_column());
    const auto encoder = std::make_shared<ColourEncoder>();
    const std::string name = std::string(to_string(tool)) + ".h5";
    const Outcome outcome = embed_given(encoder, name);
    EXPECT_EQ(encoder->tiles(), 16);  // those compared
    const io::FeatureReader reader(file(name));
    EXPECT_EQ(reader.cells(), tiles_.cells);
    std::vector<float> values;
    std::vector<std::uint8_t> valid;
    reader.read("morphology", 0, tiles_.cells.size(), values, valid);
    EXPECT_EQ(values, values_);
    EXPECT_THAT(valid, ::testing::Each(1));
    EXPECT_EQ(reader.info("morphology").encoder_sha256, "aa");
    // What made them is in the store, and from there in the virtual slide.
    const nlohmann::json stated = nlohmann::json::parse(reader.settings()).at("patch_features");
    EXPECT_EQ(stated["sha256"], sha256_file(file("given.h5")));
    EXPECT_EQ(stated["encoder"], tool == io::PatchTool::kTrident ? "uni2h" : "");
    EXPECT_EQ(stated["agreement"], "1.00");
    EXPECT_EQ(stated["tiles_compared"], 16);
    EXPECT_EQ(outcome.reported["patch_features"]["agreement"], "1.00");
  }
}

TEST_F(GivenFeaturesTest, OwnFeaturesSayNothingOfIt) {
  EXPECT_EQ(io::FeatureReader(file("own.h5")).settings().find("patch_features"), std::string::npos);
}

TEST_F(GivenFeaturesTest, RoundingIsAgreed) {
  give(io::PatchTool::kClam, in_order(), [](float v) { return std::round(v * 200) / 200; });
  EXPECT_NO_THROW(embed_given(std::make_shared<ColourEncoder>()));
}

TEST_F(GivenFeaturesTest, OthersAreRefusedHoweverTheyCallThemselves) {
  const auto other = [&](const std::function<float(float)>& change) {
    give(io::PatchTool::kTrident, in_order(), change);
    return refusal();
  };
  EXPECT_THAT(other([](float v) { return 1 - v; }), HasSubstr("given.h5: not the features that models.encoder gives"));
  EXPECT_THAT(other([](float) { return 0.5f; }), HasSubstr("of 16 tiles compared"));
  EXPECT_THAT(other([](float v) { return 3 * v; }), HasSubstr("unscaled"));
  EXPECT_THAT(other([](float) { return NAN; }), HasSubstr("given.h5: features: value nan in row 0"));
}

TEST_F(GivenFeaturesTest, RowsOfAnotherOrderAreRefused) {
  // The coordinates stay, the rows are turned round.
  const std::vector<float> kept = values_;
  for (std::size_t i = 0; i < tiles_.cells.size(); ++i) {
    std::copy_n(kept.begin() + static_cast<std::ptrdiff_t>(4 * (tiles_.cells.size() - 1 - i)), 4,
                values_.begin() + static_cast<std::ptrdiff_t>(4 * i));
  }
  give(io::PatchTool::kClam, in_order());
  EXPECT_THAT(refusal(), HasSubstr("the share of variance that agrees is -"));
}

TEST_F(GivenFeaturesTest, WhatDoesNotFitIsNamedBeforeAnythingRuns) {
  give(
      io::PatchTool::kTrident, in_order(), [](float v) { return v; }, 5);
  const EmbedStage stage({}, encoder_);
  const Error dim = error_of([&] { stage.preflight(inputs()); });
  EXPECT_EQ(dim.code(), ErrorCode::kModel);
  EXPECT_THAT(dim.what(), HasSubstr("5 values a tile (encoder uni2h), but models.encoder gives 4"));
  give(
      io::PatchTool::kTrident, in_order(), [](float v) { return v; }, 4, 256);
  EXPECT_THAT(error_of([&] { stage.preflight(inputs()); }).what(),
              HasSubstr("features of patches of 256 level-0 pixels, but the tiles have 128.0"));
  std::vector<std::size_t> fewer = in_order();
  fewer.pop_back();
  give(io::PatchTool::kClam, fewer);
  EXPECT_THAT(error_of([&] { stage.preflight(inputs()); }).what(), HasSubstr("has no features for 1 of"));
}

TEST_F(GivenFeaturesTest, ThePredictorsOwnSetIsComputed) {
  give(io::PatchTool::kClam, in_order());
  const auto encoder = std::make_shared<ColourEncoder>();
  run(EmbedStage({.predictor_subtiles = true, .chunk_tiles = 3}, encoder, encoder), inputs(),
      {{"features", file("features.h5")}}, "sub");
  const io::FeatureReader reader(file("features.h5"));
  std::vector<float> values;
  std::vector<std::uint8_t> valid;
  reader.read("predictor", 0, tiles_.cells.size(), values, valid);
  for (std::size_t i = 0; i < tiles_.cells.size(); ++i) EXPECT_EQ(values[40 * i], values_[4 * i]);
  reader.read("morphology", 0, tiles_.cells.size(), values, valid);
  EXPECT_EQ(values, values_);
}

TEST_F(GivenFeaturesTest, AnInterruptionEndsInEqualBytes) {
  give(io::PatchTool::kClam, by_column());
  const EmbedStage stage({.chunk_tiles = 1}, encoder_);
  run_with(stage, inputs(), {{"features", file("a.h5")}}, "a", 1);
  run_interrupted(stage, inputs(), {{"features", file("b.h5")}}, "b", 2);
  EXPECT_EQ(read_bytes(file("a.h5")), read_bytes(file("b.h5")));
}

}  // namespace
}  // namespace vtissue::stages
