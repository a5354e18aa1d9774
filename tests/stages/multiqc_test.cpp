#include "stages/evaluate/multiqc.h"

#include <gmock/gmock.h>

#include "core/error.h"

namespace vtissue::stages {
namespace {

nlohmann::json metrics_of(double cosine) {
  return {{"format", 1},
          {"tiles", {{"compared", 103}}},
          {"same_tile", {{"mean_cosine", cosine}, {"gradient_energy_ratio", nullptr}}},
          {"kernel_distance", {{"excess", {{"value", 0.19}}}}}};
}

TEST(MultiQc, HasARowASlideAndAColumnAFigure) {
  const nlohmann::json section = multiqc_section({{"one", metrics_of(0.8)}, {"two", metrics_of(0.7)}});
  EXPECT_EQ(section["plot_type"], "generalstats");
  EXPECT_EQ(section["data"]["one"]["cosine"], 0.8);
  EXPECT_EQ(section["data"]["two"]["tiles"], 103);
  EXPECT_EQ(section["data"]["two"]["kernel_excess"], 0.19);
  // What could not be computed has no cell.
  EXPECT_FALSE(section["data"]["one"].contains("sharpness"));
  EXPECT_FALSE(section["data"]["one"].contains("seams"));
  for (const auto& column : section["pconfig"]) {
    ASSERT_EQ(column.size(), 1u);
    EXPECT_FALSE(column.begin().value()["description"].get<std::string>().empty());
  }
}

TEST(MultiQc, RefusesAnotherJson) {
  try {
    multiqc_section({{"mine", {{"a", 1}}}});
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kBadInput);
    EXPECT_THAT(e.what(), ::testing::HasSubstr("mine"));
  }
}

}  // namespace
}  // namespace vtissue::stages
