#include "stages/ood/ood_stage.h"

#include <gmock/gmock.h>

#include <cmath>
#include <fstream>
#include <random>

#include "io/feature_store.h"
#include "stages/maps/tile_map.h"
#include "tests/stages/synthesis_fixture.h"

namespace vtissue::stages {
namespace {

using ::testing::HasSubstr;

constexpr std::size_t kDim = 6;

/// Normal rows; the first dimensions share a factor, so that distances are not those of single numbers.
std::vector<float> normal_rows(std::size_t n, unsigned seed, float shift = 0) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> rows;
  for (std::size_t i = 0; i < n; ++i) {
    const float common = 3 * normal(random);
    for (std::size_t k = 0; k < kDim; ++k) rows.push_back(normal(random) + (k < 3 ? common : 0) + shift);
  }
  return rows;
}

TEST(ConditionStatistics, DistancesOfWhatItComesFromAreAboutOne) {
  const ModalityStatistics statistics = modality_statistics(normal_rows(5000, 1), kDim, "sha");
  EXPECT_EQ(statistics.rows, 4000u);
  EXPECT_EQ(statistics.held_out, 1000u);
  // The median of a chi-squared variable with 6 degrees of freedom is 5.35.
  EXPECT_NEAR(statistics.quantiles[0], std::sqrt(5.35 / 6), 0.03);
  EXPECT_NEAR(statistics.quantiles[ModalityStatistics::kFar], std::sqrt(16.81 / 6), 0.12);
  EXPECT_LT(statistics.shrinkage, 0.01);
}

TEST(ConditionStatistics, FarMeansAgainstTheCorrelationsToo) {
  const ModalityStatistics statistics = modality_statistics(normal_rows(5000, 1), kDim, "sha");
  const std::vector<float> along = {4, 4, 4, 0, 0, 0}, against = {4, -4, 0, 0, 0, 0};
  EXPECT_LT(statistics.distance(along), statistics.quantiles[1]);
  EXPECT_GT(statistics.distance(against), statistics.quantiles[ModalityStatistics::kFar]);
}

TEST(ConditionStatistics, FewRowsAreShrunkAndTooFewRefused) {
  const ModalityStatistics few = modality_statistics(normal_rows(24, 2), kDim, "sha");
  EXPECT_GT(few.shrinkage, modality_statistics(normal_rows(5000, 2), kDim, "sha").shrinkage);
  EXPECT_THROW(modality_statistics(normal_rows(19, 2), kDim, "sha"), Error);
  EXPECT_THROW(modality_statistics(std::vector<float>(40 * kDim, 1.0f), kDim, "sha"), Error);
  std::vector<float> broken = normal_rows(40, 3);
  broken[7] = std::nanf("");
  EXPECT_THAT(error_of([&] { modality_statistics(broken, kDim, "sha"); }).what(), HasSubstr("nan"));
}

class OodStageTest : public SynthesisFixture {
 protected:
  void SetUp() override {
    SynthesisFixture::SetUp();
    make_slide(12, 12);
  }
  void write_features(float shift, const std::string& encoder = "sha") {
    io::FeatureWriter writer(file("features.h5"), tiles_.cells, tiles_.slide_sha256);
    writer.begin_set({.name = "morphology",
                      .encoder = "e",
                      .encoder_sha256 = encoder,
                      .geometry = "tile",
                      .vectors = 1,
                      .dim = int{kDim}});
    const std::vector<float> rows = normal_rows(tiles_.cells.size(), 9, shift);
    for (std::size_t k = 0; k < tiles_.cells.size(); ++k) {
      writer.append(std::span(rows).subspan(k * kDim, kDim), std::vector<std::uint8_t>(1, 1));
    }
    writer.finish();
  }
  static OodOptions options(OodOptions::Policy policy) {
    OodOptions options{.policy = policy, .denoiser = "net"};
    options.statistics = ConditionStatistics{.morphology = modality_statistics(normal_rows(5000, 1), kDim, "sha")};
    return options;
  }
  Outcome judge(const OodOptions& options) {
    return run(OodStage(options), {{"tiles", file("tiles.h5")}, {"features", file("features.h5")}},
               {{"report", file("ood.json")}, {"map", file("ood.png")}});
  }
  nlohmann::json report() const { return nlohmann::json::parse(read_bytes(file("ood.json"))); }
};

TEST_F(OodStageTest, ASlideLikeTheTrainingIsNear) {
  write_features(0);
  EXPECT_TRUE(judge(options(OodOptions::Policy::kFail)).warnings.empty());
  EXPECT_LT(report()["morphology"]["far_share"].get<double>(), 0.06);
  EXPECT_THAT(read_bytes(file("ood.png")), ::testing::StartsWith("\x89PNG"));
}

TEST_F(OodStageTest, AnotherOneIsFarAndFailsWhereThatIsAsked) {
  write_features(6);
  const Outcome outcome = judge(options(OodOptions::Policy::kWarn));
  ASSERT_EQ(outcome.warnings.size(), 1u);
  EXPECT_THAT(outcome.warnings[0], HasSubstr("a guess"));
  EXPECT_GT(report()["morphology"]["far_share"].get<double>(), 0.9);
  const Error error = error_of([&] { judge(options(OodOptions::Policy::kFail)); });
  EXPECT_EQ(error.code(), ErrorCode::kBadInput);
  EXPECT_THAT(error.what(), HasSubstr("ood.policy=warn"));
}

TEST_F(OodStageTest, WithoutStatisticsOrWithThoseOfAnotherEncoderNothingIsJudgedAndThatIsSaid) {
  write_features(6);
  OodOptions none = options(OodOptions::Policy::kFail);
  none.statistics.reset();
  EXPECT_THAT(judge(none).warnings.at(0), HasSubstr("not known"));
  EXPECT_EQ(report()["morphology"]["judged"], false);
  write_features(6, "other");
  judge(options(OodOptions::Policy::kFail));
  EXPECT_THAT(report()["morphology"]["reason"].get<std::string>(), HasSubstr("another encoder"));
}

TEST_F(OodStageTest, StatisticsSurviveTheirFileAndADamagedOneIsNamed) {
  const ConditionStatistics before{.morphology = modality_statistics(normal_rows(100, 1), kDim, "sha")};
  write_condition_statistics(file("c.safetensors"), before);
  const auto after = read_condition_statistics(file("c.safetensors"));
  ASSERT_TRUE(after && after->morphology && !after->gene);
  EXPECT_EQ(after->morphology->mean, before.morphology->mean);
  EXPECT_EQ(after->morphology->factor, before.morphology->factor);
  EXPECT_EQ(after->morphology->quantiles, before.morphology->quantiles);
  EXPECT_FALSE(read_condition_statistics(file("absent")).has_value());
  std::filesystem::resize_file(file("c.safetensors"), 50);
  EXPECT_THAT(error_of([&] { read_condition_statistics(file("c.safetensors")); }).what(), HasSubstr("c.safetensors"));
}

TEST(TileMap, ColoursGrowLighterAndPlacesAreTheTiles) {
  const auto lightness = [](io::Rgb c) { return 299 * c.red + 587 * c.green + 114 * c.blue; };
  for (int k = 1; k <= 20; ++k) EXPECT_GT(lightness(heat_colour(k / 20.0)), lightness(heat_colour((k - 1) / 20.0)));
  io::TileSet tiles;
  tiles.cells = {{0, 0}, {4, 0}, {0, 2}};
  const std::vector<std::optional<double>> values = {0.0, 1.0, std::nullopt};
  const io::RgbImage map = draw_tile_map(tiles, values, {"title", "unit", 0, 1});
  std::size_t low = 0, high = 0, none = 0;
  for (std::size_t k = 0; k < map.rgb.size(); k += 3) {
    const io::Rgb at{map.rgb[k], map.rgb[k + 1], map.rgb[k + 2]};
    low += at == heat_colour(0), high += at == heat_colour(1), none += at == io::Rgb{212, 212, 214};
  }
  EXPECT_GE(low, 24u * 24);
  EXPECT_GE(high, 24u * 24);
  EXPECT_EQ(none, 24u * 24);
  const std::vector<std::optional<double>> equal = {2.0, 2.0};
  EXPECT_LT(colour_range(equal).first, colour_range(equal).second);
}

}  // namespace
}  // namespace vtissue::stages
