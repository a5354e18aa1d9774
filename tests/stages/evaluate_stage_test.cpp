#include "stages/evaluate/evaluate_stage.h"

#include <gmock/gmock.h>

#include <cmath>
#include <set>

#include "core/error.h"
#include "core/hash.h"
#include "io/feature_store.h"
#include "io/latent_store.h"
#include "io/tile_store.h"
#include "models/null_engines.h"
#include "stage_fixture.h"
#include "stages/evaluate/evaluate_config.h"
#include "stages/evaluate/metrics_report.h"
#include "stages/evaluate/tile_comparison.h"

namespace vtissue::stages {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class InlineDevice : public models::Device {
 public:
  void run(const std::function<void()>& work) override { work(); }
  const std::string& name() const override { return name_; }
  models::Dtype dtype() const override { return models::Dtype::kF32; }
  std::string numerics_class() const override { return "test"; }

 private:
  std::string name_ = "inline";
};

/// Mean colour of the tile.
class ColourEncoder : public models::MorphologyEncoder {
 public:
  const models::ModelInfo& info() const override { return info_; }
  int dim() const override { return 3; }
  void encode(std::span<const std::uint8_t> rgb, int n, int tile_px, std::span<float> out) const override {
    const auto bytes = static_cast<std::size_t>(tile_px * tile_px * 3);
    ASSERT_EQ(rgb.size(), bytes * static_cast<std::size_t>(n));
    for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i) {
      const TilePixels pixels = describe_pixels(rgb.subspan(i * bytes, bytes), tile_px);
      for (std::size_t c = 0; c < 3; ++c) out[3 * i + c] = static_cast<float>(pixels.mean_rgb[c] / 255);
    }
    ++calls;
  }
  models::ModelInfo info_{"colour", "test", "colour-sha", 2};
  mutable int calls = 0;
};

class EvaluateStageTest : public StageFixture {
 protected:
  static constexpr int kSide = 16, kColumns = 6, kRows = 5;

  /// Tiles of random colour with a chequered pattern of the given contrast.
  static Canvas picture(int contrast, int shift) {
    Canvas canvas(kSide * kColumns, kSide * kRows, {0, 0, 0});
    for (std::int64_t y = 0; y < canvas.height; ++y) {
      for (std::int64_t x = 0; x < canvas.width; ++x) {
        const std::int64_t tile = y / kSide * kColumns + x / kSide;
        for (int c = 0; c < 3; ++c) {
          const std::int64_t base = 90 + (tile * 37 + c * 53 + tile * tile * 11) % 80;
          canvas.at(x, y)[c] = static_cast<std::uint8_t>(base + shift + ((x + y) % 2 != 0 ? contrast : -contrast));
        }
      }
    }
    return canvas;
  }

  void SetUp() override {
    StageFixture::SetUp();
    write_tiff(file("slide.tif"), picture(20, 0), 1.0);
    tiles_.tile_px = kSide;
    tiles_.target_mpp = tiles_.source_mpp = 1;
    tiles_.mpp_source = "--mpp";
    tiles_.slide_size = {kSide * kColumns, kSide * kRows};
    tiles_.target_size = {kSide * kColumns, kSide * kRows};
    tiles_.slide_sha256 = sha256_file(file("slide.tif"));
    for (int row = 0; row < kRows; ++row) {
      for (int column = 0; column < kColumns; ++column) {
        tiles_.cells.push_back({2 * column, 2 * row});
        tiles_.tissue_fraction.push_back(1);
      }
    }
    tiles_.mask = {1};
    tiles_.mask_size = {1, 1};
    tiles_.mask_mpp = 100;
    io::write_tiles(file("tiles.h5"), tiles_);
    write_features("colour-sha", {});
  }

  void write_features(const std::string& sha, const std::set<std::size_t>& invalid, const std::string& slide = {}) {
    Canvas canvas = picture(20, 0);
    io::FeatureWriter writer(file("features.h5"), tiles_.cells, slide.empty() ? tiles_.slide_sha256 : slide);
    writer.begin_set({"morphology", "colour", sha, "tile", 1, 3});
    for (std::size_t i = 0; i < tiles_.cells.size(); ++i) {
      std::vector<std::uint8_t> tile;
      const Point<TargetPx> origin = tiles_.origin(tiles_.cells[i]);
      for (int y = 0; y < kSide; ++y) {
        const std::uint8_t* row = canvas.at(origin.x, origin.y + y);
        tile.insert(tile.end(), row, row + 3 * kSide);
      }
      const TilePixels pixels = describe_pixels(tile, kSide);
      std::vector<float> values;
      for (const double mean : pixels.mean_rgb) values.push_back(static_cast<float>(mean / 255));
      const std::uint8_t valid = invalid.contains(i) ? 0 : 1;
      writer.append(values, std::span(&valid, 1));
    }
    writer.finish();
  }

  pipeline::Bindings inputs() const {
    return {{"slide", file("slide.tif")},
            {"tiles", file("tiles.h5")},
            {"features", file("features.h5")},
            {"virtual", file("virtual.tif")}};
  }

  nlohmann::json evaluate(const EvaluateOptions& options = {}, const std::string& work = "work") {
    outcome_ = run(EvaluateStage(options, encoder_, device_), inputs(), {{"metrics", file("metrics.json")}}, work);
    return nlohmann::json::parse(read_bytes(file("metrics.json")));
  }

  void expect_preflight_error(ErrorCode code, const testing::Matcher<std::string>& message) {
    try {
      EvaluateStage({}, encoder_, device_).preflight(inputs());
      FAIL() << "no error";
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), code) << e.what();
      EXPECT_THAT(std::string(e.what()), message);
    }
  }

  io::TileSet tiles_;
  Outcome outcome_;
  std::shared_ptr<ColourEncoder> encoder_ = std::make_shared<ColourEncoder>();
  std::shared_ptr<models::Device> device_ = std::make_shared<InlineDevice>();
};

TEST_F(EvaluateStageTest, TheRealSlideItselfIsAtNoDistance) {
  write_tiff(file("virtual.tif"), picture(20, 0), 1.0);
  const nlohmann::json metrics = evaluate();
  EXPECT_NEAR(metrics["frechet_distance"]["real_vs_virtual"].get<double>(), 0, 1e-6);
  EXPECT_EQ(metrics["frechet_distance"]["n_each"], 30);
  EXPECT_GT(metrics["frechet_distance"]["half_real_vs_real"].get<double>(), 0);
  EXPECT_EQ(metrics["frechet_distance"]["n_each_half"], 15);
  // Both halves compare the same tiles here.
  EXPECT_NEAR(metrics["frechet_distance"]["half_real_vs_real"].get<double>(),
              metrics["frechet_distance"]["half_real_vs_virtual"].get<double>(), 1e-6);
  // … also in every resample, and they cover each other.
  for (const char* distance : {"frechet_distance", "kernel_distance"}) {
    const nlohmann::json& excess = metrics["leading_components"][distance]["excess"];
    for (const auto& figure : {excess["value"], excess["interval"][0], excess["interval"][1]}) {
      EXPECT_NEAR(figure.get<double>(), 0, 1e-6) << distance;
    }
  }
  EXPECT_EQ(metrics["leading_components"]["count"], 3);
  EXPECT_NEAR(metrics["leading_components"]["share_of_variance"].get<double>(), 1, 1e-9);
  // Without bias, so that two equal sets are a little nearer than two of one kind.
  EXPECT_LE(metrics["kernel_distance"]["real_vs_virtual_interval"][1], 0);
  EXPECT_EQ(metrics["overlap"]["real_vs_virtual"]["coverage"], 1);
  EXPECT_EQ(metrics["overlap"]["real_vs_virtual"]["precision"], 1);
  EXPECT_EQ(metrics["overlap"]["half_real_vs_real"], metrics["overlap"]["half_real_vs_virtual"]);
  EXPECT_NEAR(metrics["same_tile"]["mean_cosine"].get<double>(), 1, 1e-9);
  EXPECT_EQ(metrics["same_tile"]["mean_colour_difference"], 0);
  EXPECT_EQ(metrics["same_tile"]["gradient_energy_ratio"], 1);
  EXPECT_EQ(metrics["encoder"]["name"], "colour");
  EXPECT_EQ(metrics["encoder"]["sha256"], "colour-sha");
  EXPECT_THAT(metrics["notes"].dump(), HasSubstr("30 tiles are few"));
  EXPECT_EQ(outcome_.warnings.size(), 1u);
}

TEST_F(EvaluateStageTest, MeasuresColourAndContrast) {
  write_tiff(file("virtual.tif"), picture(10, 5), 1.0);
  const nlohmann::json metrics = evaluate();
  EXPECT_NEAR(metrics["same_tile"]["mean_colour_difference"].get<double>(), 5, 1e-9);
  EXPECT_NEAR(metrics["same_tile"]["mean_colour_shift_rgb"][1].get<double>(), 5, 1e-9);
  EXPECT_NEAR(metrics["same_tile"]["gradient_energy_ratio"].get<double>(), 0.25, 1e-6);
  // A shift by s in each of three dimensions moves the means only.
  EXPECT_NEAR(metrics["frechet_distance"]["real_vs_virtual"].get<double>(), 3 * std::pow(5.0 / 255, 2), 1e-6);
  EXPECT_LT(metrics["same_tile"]["mean_cosine"].get<double>(), 1);
  const nlohmann::json& kernel = metrics["kernel_distance"];
  EXPECT_LE(kernel["real_vs_virtual_interval"][0], kernel["real_vs_virtual"]);
  EXPECT_GE(kernel["real_vs_virtual_interval"][1], kernel["real_vs_virtual"]);
  EXPECT_NEAR(kernel["excess"]["value"].get<double>(),
              kernel["half_real_vs_virtual"].get<double>() - kernel["half_real_vs_real"].get<double>(), 1e-12);
}

TEST_F(EvaluateStageTest, AVirtualSlideMayBePaddedButNotOfAnotherPlace) {
  Canvas padded(kSide * kColumns + 32, kSide * kRows + 48, {255, 255, 255});
  Canvas content = picture(20, 0);
  for (std::int64_t y = 0; y < content.height; ++y) std::copy_n(content.at(0, y), 3 * content.width, padded.at(0, y));
  write_tiff(file("virtual.tif"), padded, 1.0);
  EXPECT_NEAR(evaluate()["frechet_distance"]["real_vs_virtual"].get<double>(), 0, 1e-6);
  write_tiff(file("virtual.tif"), padded, 0.5);
  expect_preflight_error(ErrorCode::kBadInput, AllOf(HasSubstr("virtual.tif"), HasSubstr("0.5 µm/px")));
  write_tiff(file("virtual.tif"), Canvas(40, 40, {9, 9, 9}), 1.0);
  expect_preflight_error(ErrorCode::kBadInput, HasSubstr("40 x 40"));
}

TEST_F(EvaluateStageTest, RefusesAnotherSlideOfTheSameSize) {
  write_tiff(file("virtual.tif"), picture(20, 0), 1.0);
  write_features("colour-sha", {}, std::string(64, 'b'));
  expect_preflight_error(ErrorCode::kBadInput, AllOf(HasSubstr("features.h5"), HasSubstr("another slide")));
  write_features("colour-sha", {});
  write_tiff(file("slide.tif"), picture(19, 0), 1.0);
  try {
    evaluate();
    FAIL() << "no error";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kBadInput);
    EXPECT_THAT(e.what(), HasSubstr("slide.tif: not the slide that the tiles were made from"));
  }
}

TEST_F(EvaluateStageTest, RefusesFeaturesOfAnotherEncoder) {
  write_tiff(file("virtual.tif"), picture(20, 0), 1.0);
  write_features("another-sha", {});
  expect_preflight_error(ErrorCode::kModel, AllOf(HasSubstr("another-sha"), HasSubstr("colour-sha")));
}

TEST_F(EvaluateStageTest, SeamsNeedLatentsOfTheseTilesAndTheirAutoencoder) {
  const auto write_latents = [&](const std::string& slide) {
    std::filesystem::remove_all(file("latents"));
    io::LatentWriter writer(file("latents"),
                            {.channels = 4, .size = kSide / 8, .tile_px = kSide, .slide_sha256 = slide}, tiles_.cells);
    for (std::size_t i = 0; i < tiles_.cells.size(); ++i) {
      writer.append(std::vector<std::uint16_t>(4 * (kSide / 8) * (kSide / 8), 0));
    }
    writer.finish();
  };
  const pipeline::Bindings bindings{{"tiles", file("tiles.h5")}, {"latents", file("latents")}};
  const auto refused = [&](std::shared_ptr<const models::Autoencoder> autoencoder) -> std::string {
    try {
      EvaluateStage({}, std::make_shared<ColourEncoder>(), nullptr, std::move(autoencoder)).preflight(bindings);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  write_latents(tiles_.slide_sha256);
  EXPECT_EQ(refused(models::make_null_autoencoder()), "");
  EXPECT_THAT(refused(nullptr), HasSubstr("set models.autoencoder"));
  EXPECT_THAT(refused(models::make_null_autoencoder(3)), HasSubstr("4 channels"));
  write_latents(std::string(64, 'b'));
  EXPECT_THAT(refused(models::make_null_autoencoder()), HasSubstr("another slide"));
}

TEST_F(EvaluateStageTest, ComparesTilesWithAnEmbeddingAndAtMostSoMany) {
  write_tiff(file("virtual.tif"), picture(10, 5), 1.0);
  write_features("colour-sha", {0, 7});
  nlohmann::json metrics = evaluate();
  EXPECT_EQ(metrics["tiles"]["compared"], 28);
  EXPECT_EQ(metrics["tiles"]["without_embedding"], 2);
  EXPECT_EQ(metrics["tiles"]["of_slide"], 30);
  metrics = evaluate({.max_tiles = 9}, "work9");
  EXPECT_EQ(metrics["tiles"]["compared"], 9);
}

TEST_F(EvaluateStageTest, ChunksAndResumptionDoNotChangeTheBytes) {
  write_tiff(file("virtual.tif"), picture(14, -3), 1.0);
  evaluate({.chunk_tiles = 64}, "w1");
  const std::string once = read_bytes(file("metrics.json"));
  evaluate({.chunk_tiles = 4}, "w2");
  EXPECT_EQ(read_bytes(file("metrics.json")), once);
  encoder_->calls = 0;
  evaluate({.chunk_tiles = 4}, "w2");
  EXPECT_EQ(encoder_->calls, 0);
  EXPECT_EQ(read_bytes(file("metrics.json")), once);
}

TEST(MetricsReport, LeavesOutWhatTooFewTilesCannotTell) {
  InlineDevice device;
  TileComparisons tiles;
  tiles.dim = 2;
  for (int i = 0; i < 3; ++i) {
    tiles.real.insert(tiles.real.end(), {1.0f + static_cast<float>(i), 2});
    tiles.made.insert(tiles.made.end(), {2, 1.0f - static_cast<float>(i)});
    tiles.real_pixels.push_back({});
    tiles.made_pixels.push_back({});
  }
  const nlohmann::json metrics = metrics_report(tiles, device);
  EXPECT_TRUE(metrics["frechet_distance"]["real_vs_virtual"].is_number());
  EXPECT_TRUE(metrics["frechet_distance"]["half_real_vs_real"].is_null());
  EXPECT_TRUE(metrics["same_tile"]["gradient_energy_ratio"].is_null());
  EXPECT_TRUE(metrics["kernel_distance"]["excess"]["interval"].is_null());
  EXPECT_TRUE(metrics["leading_components"].is_null());
  EXPECT_TRUE(metrics["overlap"]["real_vs_virtual"].is_null());
  EXPECT_THAT(metrics["notes"].dump(), HasSubstr("3 tiles are too few"));
}

TEST(MetricsReport, SaysWhenTheNumberOfTilesRulesTheDistance) {
  InlineDevice device;
  TileComparisons tiles;
  tiles.dim = 8;
  for (int i = 0; i < 6 * 8; ++i) {
    tiles.real.push_back(static_cast<float>(i * i % 7));
    tiles.made.push_back(static_cast<float>(i * 5 % 11));
  }
  tiles.real_pixels.resize(6);
  tiles.made_pixels.resize(6);
  EXPECT_THAT(metrics_report(tiles, device)["notes"].dump(), HasSubstr("6 tiles for 8 dimensions"));
}

TEST(TileComparison, DescribesPixels) {
  std::vector<std::uint8_t> rgb;
  for (int i = 0; i < 16; ++i)
    rgb.insert(rgb.end(), {static_cast<std::uint8_t>(i % 4 * 10), static_cast<std::uint8_t>(i % 4 * 10),
                           static_cast<std::uint8_t>(i % 4 * 10)});
  const TilePixels ramp = describe_pixels(rgb, 4);
  EXPECT_DOUBLE_EQ(ramp.mean_rgb[2], 15);
  EXPECT_NEAR(ramp.gradient_energy, 100 / 2.0, 1e-9);  // 10 per pixel along rows, 0 along columns
  const std::vector<float> a = {3, 4}, b = {-4, 3}, zero = {0, 0};
  EXPECT_DOUBLE_EQ(cosine(a, a), 1);
  EXPECT_DOUBLE_EQ(cosine(a, b), 0);
  EXPECT_EQ(cosine(a, zero), 0);
}

TEST(EvaluateOptions, EveryKeyChangesTheIdentity) {
  pipeline::ConfigSchema schema;
  schema.add(evaluate_config_keys());
  const auto identity = [&](const char* assignment) {
    pipeline::Config config = pipeline::Config::defaults(schema);
    if (*assignment) config.set(assignment);
    return EvaluateStage(evaluate_options(config), std::make_shared<ColourEncoder>(), nullptr,
                         models::make_null_autoencoder())
        .identity()
        .dump();
  };
  std::set<std::string> identities = {identity(""), identity("evaluate.max_tiles=7"),
                                      identity("evaluate.chunk_tiles=8"), identity("evaluate.seam_boxes=3")};
  EXPECT_EQ(identities.size(), schema.keys().size() + 1);
}

}  // namespace
}  // namespace vtissue::stages
