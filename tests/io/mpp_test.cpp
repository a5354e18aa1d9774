#include "io/mpp.h"

#include <gmock/gmock.h>

#include "core/error.h"

namespace vtissue::io {
namespace {

using ::testing::HasSubstr;

struct MppCase {
  const char* name;
  SlideProperties properties;
  std::optional<double> override_mpp;
  double x, y;  ///< 0: no answer
  const char* source;
};

class MppOrder : public ::testing::TestWithParam<MppCase> {};

TEST_P(MppOrder, PicksTheFirstPlausibleValue) {
  const MppCase& test = GetParam();
  const auto mpp = resolve_mpp(test.properties, test.override_mpp, "a.svs");
  ASSERT_EQ(mpp.has_value(), test.x != 0);
  if (!mpp) return;
  EXPECT_NEAR(mpp->x, test.x, 1e-9);
  EXPECT_NEAR(mpp->y, test.y, 1e-9);
  EXPECT_EQ(mpp->source, test.source);
}

INSTANTIATE_TEST_SUITE_P(
    FormatsMd14, MppOrder,
    ::testing::Values(
        MppCase{"Nothing", {}, {}, 0, 0, ""},
        MppCase{"Override", {{"openslide.mpp-x", "0.25"}, {"openslide.mpp-y", "0.25"}}, 0.5, 0.5, 0.5, "--mpp"},
        MppCase{"OpenSlide",
                {{"openslide.mpp-x", "0.25"}, {"openslide.mpp-y", "0.251"}, {"aperio.MPP", "0.5"}},
                {},
                0.25,
                0.251,
                "openslide.mpp-x"},
        MppCase{"OneAxis", {{"openslide.mpp-x", "0.25"}}, {}, 0.25, 0.25, "openslide.mpp-x"},
        MppCase{"Zero",
                {{"openslide.mpp-x", "0"}, {"openslide.mpp-y", "0"}, {"aperio.MPP", "0.499"}},
                {},
                0.499,
                0.499,
                "aperio.MPP"},
        MppCase{"DecimalComma", {{"aperio.MPP", " 0,2527 "}}, {}, 0.2527, 0.2527, "aperio.MPP"},
        MppCase{"Centimetre",
                {{"tiff.XResolution", "20000"}, {"tiff.YResolution", "20000"}, {"tiff.ResolutionUnit", "centimeter"}},
                {},
                0.5,
                0.5,
                "tiff.XResolution"},
        MppCase{
            "Inch", {{"tiff.XResolution", "50800"}, {"tiff.ResolutionUnit", "inch"}}, {}, 0.5, 0.5, "tiff.XResolution"},
        MppCase{"UnitIsInchByDefault", {{"tiff.XResolution", "50800"}}, {}, 0.5, 0.5, "tiff.XResolution"},
        MppCase{"ScreenResolution", {{"tiff.XResolution", "72"}, {"tiff.ResolutionUnit", "inch"}}, {}, 0, 0, ""},
        MppCase{"NoUnit", {{"tiff.XResolution", "50800"}, {"tiff.ResolutionUnit", "none"}}, {}, 0, 0, ""},
        MppCase{"Objective", {{"openslide.objective-power", "20"}}, {}, 0.5, 0.5, "objective-power"},
        MppCase{"DecimalAppMag", {{"aperio.AppMag", "40.000000"}}, {}, 0.25, 0.25, "objective-power"},
        MppCase{
            "MppBeforeAppMag", {{"aperio.AppMag", "20"}, {"aperio.MPP", "0.2325"}}, {}, 0.2325, 0.2325, "aperio.MPP"},
        MppCase{"Garbage", {{"aperio.MPP", "0.25 um"}, {"aperio.AppMag", "x40"}}, {}, 0, 0, ""}),
    [](const auto& instance) { return instance.param.name; });

TEST(Mpp, RefusesPixelsThatNoScannerMakes) {
  try {
    resolve_mpp({{"openslide.mpp-x", "0.25"}, {"openslide.mpp-y", "0.51"}}, {}, "a.svs");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kBadInput);
    EXPECT_THAT(error.what(), HasSubstr("a.svs: pixels of 0.25 x 0.51 µm (openslide.mpp-x) are not believed"));
    EXPECT_THAT(error.what(), HasSubstr("--mpp"));
  }
  EXPECT_EQ(resolve_mpp({{"openslide.mpp-x", "0.25"}, {"openslide.mpp-y", "0.51"}}, 0.25, "a.svs")->x, 0.25);
  const auto oblong = resolve_mpp({{"openslide.mpp-x", "0.25"}, {"openslide.mpp-y", "0.26"}}, {}, "a.svs");
  EXPECT_EQ(oblong->y, 0.26);
  EXPECT_FALSE(is_square(*oblong));
  EXPECT_TRUE(is_square({0.25, 0.2524, ""}));
}

TEST(Mpp, RefusesAnOverrideOutOfRange) {
  for (const double mpp : {0.0, -1.0, 0.01, 264.6}) {
    try {
      resolve_mpp({}, mpp, "a.svs");
      FAIL() << mpp;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kUsage);
    }
  }
}

}  // namespace
}  // namespace vtissue::io
