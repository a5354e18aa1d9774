#include "stages/embed/embed_stage.h"

#include <gmock/gmock.h>

#include <mutex>
#include <utility>

#include "io/feature_store.h"
#include "stages/embed/embed_config.h"
#include "tests/stages/synthesis_fixture.h"

namespace vtissue::stages {
namespace {

using ::testing::HasSubstr;

/// Two numbers a tile, its first and its last red value; remembers the sizes it was given.
class CornerEncoder : public models::MorphologyEncoder {
 public:
  explicit CornerEncoder(std::string sha256) : info_{"corner", "test", std::move(sha256), 3} {}
  const models::ModelInfo& info() const override { return info_; }
  int dim() const override { return 2; }
  void encode(std::span<const std::uint8_t> rgb, int n, int tile_px, std::span<float> out) const override {
    const std::size_t bytes = static_cast<std::size_t>(tile_px) * tile_px * 3;
    ASSERT_EQ(rgb.size(), bytes * static_cast<std::size_t>(n));
    ASSERT_EQ(out.size(), static_cast<std::size_t>(n) * 2);
    for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i) {
      out[2 * i] = rgb[i * bytes];
      out[2 * i + 1] = rgb[i * bytes + bytes - 3];
    }
    std::lock_guard lock(mutex_);
    tile_sizes_.insert(tile_px);
  }
  std::set<int> tile_sizes() const { return tile_sizes_; }

 private:
  models::ModelInfo info_;
  mutable std::mutex mutex_;
  mutable std::set<int> tile_sizes_;
};

class EmbedStageTest : public SynthesisFixture {
 protected:
  void SetUp() override {
    SynthesisFixture::SetUp();
    make_slide(4, 3);
  }
  pipeline::Bindings inputs() const { return {{"slide", file("slide.tif")}, {"tiles", file("tiles.h5")}}; }
  pipeline::Bindings output(const std::string& name) const { return {{"features", file(name)}}; }
};

TEST_F(EmbedStageTest, OneSetWhereTheEncoderIsShared) {
  const auto encoder = std::make_shared<CornerEncoder>("aa");
  const Outcome outcome = run(EmbedStage({.chunk_tiles = 2}, encoder, encoder), inputs(), output("features.h5"));
  const io::FeatureReader reader(file("features.h5"));
  EXPECT_EQ(reader.cells(), tiles_.cells);
  ASSERT_EQ(reader.sets().size(), 1u);
  EXPECT_EQ(reader.info("morphology").encoder_sha256, "aa");
  EXPECT_EQ(reader.info("morphology").geometry, "tile");
  std::vector<float> values;
  std::vector<std::uint8_t> valid;
  reader.read("morphology", 0, tiles_.cells.size(), values, valid);
  for (std::size_t i = 0; i < tiles_.cells.size(); ++i) {
    EXPECT_EQ(values[2 * i], colour_of(tiles_.cells[i])[0]);
    EXPECT_EQ(values[2 * i + 1], colour_of(tiles_.cells[i])[0]);
    EXPECT_EQ(valid[i], 1);
  }
  EXPECT_EQ(outcome.reported["tiles"], tiles_.cells.size());
  EXPECT_TRUE(outcome.warnings.empty());
}

TEST_F(EmbedStageTest, SubtilesLieRowByRowAndLeaveTheRemainderOut) {
  // A slide whose red value is the column of 8 px and whose tiles begin at a known place.
  Canvas canvas(512, 384, {0, 0, 0});
  for (std::int64_t y = 0; y < 384; ++y) {
    for (std::int64_t x = 0; x < 512; ++x)
      *canvas.at(x, y) = static_cast<std::uint8_t>((x % 128) + (y % 128) / 43 * 10);
  }
  write_tiff(file("slide.tif"), canvas, kMpp);
  tiles_.slide_sha256 = sha256_file(file("slide.tif"));
  io::write_tiles(file("tiles.h5"), tiles_);
  const auto encoder = std::make_shared<CornerEncoder>("aa");
  run(EmbedStage({.predictor_subtiles = true}, encoder, encoder), inputs(), output("features.h5"));
  EXPECT_EQ(encoder->tile_sizes(), (std::set<int>{42, 128}));
  const io::FeatureReader reader(file("features.h5"));
  EXPECT_EQ(reader.info("predictor").vectors, 10);
  EXPECT_EQ(reader.info("predictor").geometry, "tile+3x3");
  std::vector<float> values;
  std::vector<std::uint8_t> valid;
  reader.read("predictor", 1, 1, values, valid);
  ASSERT_EQ(values.size(), 20u);
  EXPECT_EQ(values[0], 0);         // the tile's first pixel
  EXPECT_EQ(values[1], 127 + 20);  // and its last
  for (int sub = 0; sub < 9; ++sub) {
    const int top = sub / 3 * 42;
    EXPECT_EQ(values[2 + 2 * sub], sub % 3 * 42 + top / 43 * 10) << sub;
    EXPECT_EQ(values[3 + 2 * sub], sub % 3 * 42 + 41 + (top + 41) / 43 * 10) << sub;
  }
}

TEST_F(EmbedStageTest, TwoEncodersMakeTwoSets) {
  run(EmbedStage({}, std::make_shared<CornerEncoder>("aa"), std::make_shared<CornerEncoder>("bb")), inputs(),
      output("features.h5"));
  const io::FeatureReader reader(file("features.h5"));
  EXPECT_EQ(reader.sets().size(), 2u);
  EXPECT_EQ(reader.info("predictor").encoder_sha256, "bb");
  EXPECT_EQ(reader.info("predictor").vectors, 1);
}

TEST_F(EmbedStageTest, BytesDoNotDependOnScheduling) {
  const EmbedStage stage({.chunk_tiles = 1}, std::make_shared<CornerEncoder>("aa"),
                         std::make_shared<CornerEncoder>("bb"));
  for (const int in_flight : {1, 3, 8}) {
    const std::string n = std::to_string(in_flight);
    run_with(stage, inputs(), output(n + ".h5"), "work" + n, in_flight);
    EXPECT_EQ(read_bytes(file(n + ".h5")), read_bytes(file("1.h5")));
  }
  run_interrupted(stage, inputs(), output("resumed.h5"), "work-resumed", 2);
  EXPECT_EQ(read_bytes(file("resumed.h5")), read_bytes(file("1.h5")));
}

TEST_F(EmbedStageTest, RefusesAnotherSlide) {
  write_tiff(file("slide.tif"), Canvas(256, 256, {200, 100, 150}), kMpp);
  const EmbedStage stage({}, std::make_shared<CornerEncoder>("aa"));
  const Error error = error_of([&] { stage.preflight(inputs()); });
  EXPECT_EQ(error.code(), ErrorCode::kBadInput);
  EXPECT_THAT(error.what(), HasSubstr("256 x 256 pixels, but the tiles were made from a slide of 512 x 384"));
}

TEST_F(EmbedStageTest, RefusesAnotherSlideOfTheSameSize) {
  write_tiff(file("slide.tif"), Canvas(512, 384, {200, 100, 150}), kMpp);
  const EmbedStage stage({}, std::make_shared<CornerEncoder>("aa"));
  const Error error = error_of([&] { run(stage, inputs(), output("features.h5")); });
  EXPECT_EQ(error.code(), ErrorCode::kBadInput);
  EXPECT_THAT(error.what(), HasSubstr("slide.tif: not the slide that the tiles were made from"));
  EXPECT_FALSE(std::filesystem::exists(file("features.h5")));
}

TEST_F(EmbedStageTest, TheEngineNeedNotHashTheSlideAgain) {
  // Its digest is believed: the slide is not read for it.
  SilentProgress progress;
  pipeline::RunContext ctx("embed", pipeline::ChunkStore(file("work")), {}, progress, {},
                           {{"slide", std::string(64, 'b')}});
  const EmbedStage stage({}, std::make_shared<CornerEncoder>("aa"));
  EXPECT_THAT(error_of([&] { stage.run(inputs(), output("features.h5"), ctx); }).what(), HasSubstr("bbbb"));
}

TEST_F(EmbedStageTest, TheStoreNamesTheSlide) {
  run(EmbedStage({}, std::make_shared<CornerEncoder>("aa")), inputs(), output("features.h5"));
  EXPECT_EQ(io::FeatureReader(file("features.h5")).slide_sha256(), sha256_file(file("slide.tif")));
}

TEST_F(EmbedStageTest, IdentityTellsWhatDecidesTheBytes) {
  const auto encoder = std::make_shared<CornerEncoder>("aa");
  const nlohmann::json plain = EmbedStage({}, encoder).identity();
  EXPECT_EQ(plain, EmbedStage({}, std::make_shared<CornerEncoder>("aa")).identity());
  EXPECT_NE(plain, EmbedStage({}, std::make_shared<CornerEncoder>("bb")).identity());
  EXPECT_NE(plain, EmbedStage({.predictor_subtiles = true}, encoder, encoder).identity());
  EXPECT_NE(plain, EmbedStage({.on_bad_tile = OnBadTile::kSkip}, encoder).identity());
  EXPECT_NE(plain, EmbedStage({.numerics_class = "other"}, encoder).identity());
}

TEST(EmbedConfigTest, DefaultsAndChoices) {
  pipeline::ConfigSchema schema;
  schema.add(embed_config_keys());
  pipeline::Config config = pipeline::Config::defaults(schema);
  EXPECT_EQ(embed_options(config).on_bad_tile, OnBadTile::kFail);
  config.set("embed.on_bad_tile=skip");
  EXPECT_EQ(embed_options(config).on_bad_tile, OnBadTile::kSkip);
  EXPECT_THROW(config.set("embed.on_bad_tile=ignore"), Error);
}

}  // namespace
}  // namespace vtissue::stages
