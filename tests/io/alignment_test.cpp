#include "io/alignment.h"

#include <gmock/gmock.h>

#include <cmath>
#include <map>
#include <random>

#include "io/gene_panel.h"
#include "io/slide_reader.h"
#include "io/spot_mapping.h"
#include "store_test_support.h"

namespace vtissue::io {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr Size<Level0Px> kSlide{4000, 3000};

/// An L of tissue on a slide of 4000 x 3000, darker towards its corner, in cells of 10 px; spots of an array of 100 px
/// on it, whose counts follow the darkness.
struct Section {
  TissueMap tissue{{400, 300}, 10, std::vector<float>(400 * 300, 0.0f)};
  SpotTable spots;
  std::vector<double> totals;
};

Section section() {
  Section made;
  std::mt19937 random(3);
  std::uniform_real_distribution<double> noise(0.8, 1.2);
  const auto dark = [](double x, double y) {
    const bool on = (x > 500 && x < 1200 && y > 400 && y < 2600) || (x > 500 && x < 3000 && y > 400 && y < 1000);
    return on ? 0.2 + 0.3 * (1 - x / 4000) + 0.2 * (1 - y / 3000) : 0.0;
  };
  for (int row = 0; row < 300; ++row) {
    for (int column = 0; column < 400; ++column) {
      made.tissue.density[static_cast<std::size_t>(row * 400 + column)] =
          static_cast<float>(dark(10 * column + 5, 10 * row + 5));
    }
  }
  for (int y = 50; y < 3000; y += 100) {
    for (int x = 50; x < 4000; x += 100) {
      if (dark(x, y) == 0) continue;
      made.spots.x.push_back(x);
      made.spots.y.push_back(y);
      made.totals.push_back(10000 * dark(x, y) * noise(random));
    }
  }
  made.spots.source = "h5ad";
  made.spots.pitch_px = 100;
  return made;
}

std::vector<Placing> eight() {
  std::vector<Placing> all;
  for (int i = 0; i < 8; ++i) all.push_back({(i & 4) != 0, (i & 2) != 0, (i & 1) != 0, 1});
  return all;
}

/// Spots that are wrong so that `placing` makes them right.
SpotTable misplaced(const SpotTable& spots, const Placing& placing, Size<Level0Px> slide) {
  SpotTable wrong = spots;
  for (std::size_t i = 0; i < spots.x.size(); ++i) {
    double& x = wrong.x[i];
    double& y = wrong.y[i];
    x /= placing.scale, y /= placing.scale;
    if (placing.mirrored_x) x = static_cast<double>(slide.width) - x;
    if (placing.mirrored_y) y = static_cast<double>(slide.height) - y;
    if (placing.swapped) std::swap(x, y);
  }
  return wrong;
}

TEST(Alignment, RightSpotsAreLeftAlone) {
  const Section made = section();
  const Alignment alignment = check_alignment(made.spots, made.totals, made.tissue, kSlide);
  EXPECT_FALSE(alignment.refuted);
  EXPECT_FALSE(alignment.better) << alignment.advice();
  EXPECT_EQ(alignment.given.on_slide, 1);
  EXPECT_GT(alignment.given.correlation, 0.5);
  EXPECT_EQ(alignment.advice(), "");
}

TEST(Alignment, EachWrongOrientationIsNamed) {
  // A square slide, so that swapped spots stay on it.
  Section made = section();
  made.tissue.size = {400, 400};
  made.tissue.density.resize(400 * 400, 0.0f);
  const Size<Level0Px> square{4000, 4000};
  for (const Placing& placing : eight()) {
    if (placing.as_given()) continue;
    const Alignment alignment =
        check_alignment(misplaced(made.spots, placing, square), made.totals, made.tissue, square);
    ASSERT_TRUE(alignment.refuted) << placing.describe();
    EXPECT_EQ(alignment.better->placing.describe(), placing.describe());
  }
}

TEST(Alignment, AMaskTellsOrientationsToo) {
  Section made = section();
  std::vector<std::uint8_t> mask(400 * 400, 0);
  for (std::size_t i = 0; i < made.tissue.density.size(); ++i) mask[i] = made.tissue.density[i] > 0 ? 1 : 0;
  const TissueMap tissue = tissue_map_of_mask(mask, {400, 400}, 10);
  const Size<Level0Px> square{4000, 4000};
  for (const Placing& placing : eight()) {
    const Alignment alignment = check_alignment(misplaced(made.spots, placing, square), made.totals, tissue, square);
    EXPECT_EQ(alignment.refuted, !placing.as_given()) << placing.describe();
    if (placing.as_given()) continue;
    EXPECT_EQ(alignment.better->placing.describe(), placing.describe());
  }
}

TEST(Alignment, AWrongScaleIsNamed) {
  const Section made = section();
  for (const double scale : {0.5, 0.25, 2.0}) {
    const SpotTable wrong = misplaced(made.spots, {.scale = scale}, kSlide);
    const Alignment alignment = check_alignment(wrong, made.totals, made.tissue, kSlide);
    ASSERT_TRUE(alignment.refuted) << scale;
    EXPECT_NEAR(alignment.better->placing.scale / scale, 1, 0.05);
  }
}

TEST(Alignment, TissueEverywhereRefutesNothing) {
  Section made = section();
  std::ranges::fill(made.tissue.density, 0.4f);
  const Alignment alignment = check_alignment(made.spots, made.totals, made.tissue, kSlide);
  EXPECT_FALSE(alignment.refuted);
  std::ranges::fill(made.tissue.density, 0.0f);
  EXPECT_FALSE(check_alignment(made.spots, made.totals, made.tissue, kSlide).refuted);
  made.spots.x.resize(5), made.spots.y.resize(5), made.totals.resize(5);
  EXPECT_FALSE(check_alignment(made.spots, made.totals, section().tissue, kSlide).better);
}

TEST(Alignment, PlacingsSayWhatTheyDo) {
  EXPECT_EQ((Placing{true, false, false, 1}).describe(), "x and y are swapped");
  EXPECT_EQ((Placing{true, true, false, 1}).describe(), "x and y are swapped and then x is mirrored");
  EXPECT_EQ((Placing{false, true, true, 1}).describe(), "x and y are mirrored");
  EXPECT_EQ((Placing{.scale = 0.25}).describe(), "x and y are multiplied by 0.25");
  EXPECT_EQ((Placing{true, true, false, 1}).apply(10, 20, kSlide), (std::pair<double, double>{3980, 10}));
}

TEST(Alignment, SpotsOffTheSlideAreExplained) {
  const Section made = section();
  const auto message = [&](const SpotTable& spots, std::optional<double> mpp) {
    return std::string(error_of([&] { check_placement(spots, kSlide, mpp, "outs", &made.tissue); }).what());
  };
  // Of the long arm, moved to the right, a third lies below the slide once it is swapped. Bounds alone tell that.
  SpotTable arm;
  for (std::size_t i = 0; i < made.spots.x.size(); ++i) {
    if (made.spots.y[i] < 1000) arm.x.push_back(made.spots.x[i] + 900), arm.y.push_back(made.spots.y[i]);
  }
  const SpotTable swapped = misplaced(arm, {.swapped = true}, kSlide);
  EXPECT_THAT(error_of([&] { check_placement(swapped, kSlide, {}, "outs"); }).what(),
              AllOf(HasSubstr("lie outside the slide"), HasSubstr("; spots fit when x and y are swapped:")));
  SpotTable scaled = misplaced(made.spots, {.scale = 0.25}, kSlide);
  EXPECT_THAT(message(scaled, {}), HasSubstr("; spots fit when x and y are multiplied by 0.2"));
  // The same by the array's pitch, also where they are still on the slide.
  scaled = misplaced(made.spots, {.scale = 2}, kSlide);
  scaled.pitch_px = 50, scaled.pitch_um = 100;
  EXPECT_THAT(message(scaled, 1.0), AllOf(HasSubstr("makes 2.000 µm/px, but the slide has 1.000"),
                                          HasSubstr("; spots fit when x and y are multiplied by 2:")));
}

TEST(SpotPlacement, StatedScaleSizeAndSectionsAreCompared) {
  SpotTable spots = section().spots;
  const auto message = [&] {
    return std::string(error_of([&] { check_placement(spots, kSlide, 0.5, "f.h5ad"); }).what());
  };
  spots.mpp = 0.25;
  EXPECT_THAT(message(), HasSubstr("f.h5ad: the spots' file states 0.250 µm/px, but the slide has 0.500"));
  spots.mpp = 0.52;
  EXPECT_EQ(check_placement(spots, kSlide, 0.5, "f").mpp_from_pitch, 0.52);
  spots.image_size = {8000, 6000};
  EXPECT_THAT(message(), HasSubstr("belong to an image of 8000 x 6000 px, the slide has 4000 x 3000"));
  spots.image_size = {4001, 2999};
  EXPECT_NO_THROW(check_placement(spots, kSlide, 0.5, "f"));
  for (std::size_t i = 0; i + 1 < spots.x.size(); i += 4) spots.x[i + 1] = spots.x[i], spots.y[i + 1] = spots.y[i];
  EXPECT_THAT(message(), HasSubstr("spots lie at another spot's place: are these several sections"));
}

/// Section and picture of data/her2st.
struct RealSection {
  SpotTable spots;
  std::vector<double> totals;
  TissueMap tissue;
  Size<Level0Px> slide;
};

std::optional<RealSection> her2st(const std::string& name) {
  const auto counts = real_data("her2st/" + name + "_counts.tsv.gz"),
             spots = real_data("her2st/" + name + "_selection.tsv");
  const auto image = real_data("her2st/" + name + ".jpg");
  if (!counts || !spots || !image) return std::nullopt;
  RealSection section{read_legacy_st(*counts, *spots), {}, {}, {}};
  section.totals = spot_totals(section.spots);
  const auto reader = SlideReader::open(*image, {.mpp = 0.686});
  const auto size = reader->info().levels.front().size;
  section.slide = {size.width, size.height};
  const SlideReader::Picture picture = reader->thumbnail(1024);
  section.tissue = tissue_map(picture.rgb, picture.size, picture.downsample);
  return section;
}

TEST(AlignmentRealData, Her2stInEachOrientationAndScale) {
  for (const char* name : {"B4", "C2", "C3", "C4", "C5"}) {
    const auto section = her2st(name);
    if (!section) GTEST_SKIP() << "set VTISSUE_DATA to the folder with her2st";
    for (const Placing& placing : eight()) {
      const SpotTable spots = misplaced(section->spots, placing, section->slide);
      const Alignment alignment = check_alignment(spots, section->totals, section->tissue, section->slide);
      if (placing.as_given()) {
        EXPECT_FALSE(alignment.better) << name << ": " << alignment.advice();
        EXPECT_GT(alignment.given.correlation, 0.4) << name;
        continue;
      }
      ASSERT_TRUE(alignment.refuted) << name << ": " << placing.describe();
      EXPECT_EQ(alignment.better->placing.describe(), placing.describe()) << name;
    }
    for (const double scale : {0.25, 0.5, 4.0}) {
      SpotTable spots = misplaced(section->spots, {.scale = 1 / scale}, section->slide);
      // Of an array whose pitch is known.
      spots.pitch_px = *section->spots.pitch_px * scale;
      const std::string message =
          error_of([&] { check_placement(spots, section->slide, 0.686, name, &section->tissue); }).what();
      EXPECT_THAT(message, HasSubstr(fmt::format("spots fit when x and y are multiplied by {:.2g}", 1 / scale)))
          << name;
      // Of one whose pitch is not.
      spots.pitch_um.reset();
      if (scale > 1) {
        EXPECT_THAT(error_of([&] { check_placement(spots, section->slide, 0.686, name, &section->tissue); }).what(),
                    HasSubstr("spots fit when x and y are multiplied by 0.2"));
        continue;
      }
      const Alignment alignment = check_alignment(spots, section->totals, section->tissue, section->slide);
      ASSERT_TRUE(alignment.refuted) << name << " " << scale;
      EXPECT_NEAR(alignment.better->placing.scale * scale, 1, 0.15) << name << " " << scale;
    }
  }
}

}  // namespace
}  // namespace vtissue::io
