#include "cli/prediction.h"

#include <nlohmann/json.hpp>

#include "line_fixture.h"

namespace vtissue::testing {
namespace {

using cli::Calibration;
using ::testing::HasSubstr;

TEST(LineThrough, GoesThroughBothMeasurementsWhereThatMakesSense) {
  const Calibration::Line line = cli::line_through(10, 3, 30, 7);
  EXPECT_DOUBLE_EQ(line.per_unit, 0.2);
  EXPECT_DOUBLE_EQ(line.fixed, 1);
  EXPECT_DOUBLE_EQ(line.at(100), 21);
  // More than in proportion: nothing is fixed. Less than before: nothing grows.
  EXPECT_DOUBLE_EQ(cli::line_through(10, 1, 30, 6).at(60), 12);
  EXPECT_DOUBLE_EQ(cli::line_through(10, 5, 30, 4).at(1000), 4);
  EXPECT_DOUBLE_EQ(cli::line_through(0, 0, 0, 4).at(1000), 4);
  EXPECT_DOUBLE_EQ(cli::line_through(10, 4, 10, 4).at(20), 8);
}

TEST(CalibrationJson, KeepsEveryNumber) {
  Calibration calibration;
  calibration.seconds = {{"embed", {0.5, 0.25}}, {"stitch", {1, 0}}};
  calibration.bytes = {{"features.h5", {2048, 100}}};
  calibration.glass_block_seconds = 0.0625;
  calibration.memory_bytes = 1e9;
  calibration.made = "2026-01-02";
  const Calibration again = cli::calibration_from_json(nlohmann::json::parse(cli::to_json(calibration).dump()));
  EXPECT_EQ(cli::to_json(again), cli::to_json(calibration));
  EXPECT_THROW(cli::calibration_from_json({{"seconds", 3}}), nlohmann::json::exception);
}

class PredictionTest : public LineTest {
 protected:
  void SetUp() override { ::setenv("VTISSUE_CACHE", (work_ / "cache").c_str(), 1); }
  void TearDown() override { ::unsetenv("VTISSUE_CACHE"); }

  std::vector<std::string> plan(const std::vector<std::string>& more = {}) const {
    std::vector<std::string> all = arguments(work_ / "out", more);
    all.front() = "plan";
    return all;
  }
};

TEST_F(PredictionTest, IsMadeFromACalibrationThatIsRemembered) {
  EXPECT_THAT(run_program(plan()).out, HasSubstr("--calibrate"));
  const ProgramResult calibrated = run_program(plan({"--calibrate"}));
  ASSERT_EQ(calibrated.exit_code, 0) << calibrated.err;
  EXPECT_THAT(calibrated.out, HasSubstr("predicted"));
  EXPECT_FALSE(std::filesystem::exists(work_ / "out"));
  const ProgramResult again = run_program(plan());
  EXPECT_THAT(again.out, HasSubstr("synthesize "));
  EXPECT_THAT(again.out, HasSubstr("MB of memory"));
  // Other models or threads have another one.
  EXPECT_THAT(run_program(plan({"--threads", "1"})).out, HasSubstr("no prediction"));

  for (const auto& entry : std::filesystem::directory_iterator(work_ / "cache" / "calibration")) {
    std::ofstream(entry.path()) << "{";
  }
  const ProgramResult damaged = run_program(plan());
  EXPECT_EQ(damaged.exit_code, 0);
  EXPECT_THAT(damaged.out, HasSubstr("no prediction"));
  EXPECT_THAT(damaged.err, HasSubstr("not usable as a calibration"));
}

TEST_F(PredictionTest, WhatIsDoneIsNotPredicted) {
  ASSERT_EQ(run_program(plan({"--calibrate"})).exit_code, 0);
  ASSERT_EQ(run_program(arguments(work_ / "out")).exit_code, 0);
  EXPECT_THAT(run_program(plan()).out, ::testing::Not(HasSubstr("predicted")));
}

}  // namespace
}  // namespace vtissue::testing
