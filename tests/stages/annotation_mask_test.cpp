#include "stages/tile/annotation_mask.h"

#include <gmock/gmock.h>

#include <algorithm>

#include "core/error.h"
#include "stage_fixture.h"
#include "stages/tile/mask_picture.h"
#include "stages/tile/tissue_geojson.h"

namespace vtissue::stages {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::string box(double left, double top, double right, double bottom) {
  return fmt::format("[[[{0},{1}],[{2},{1}],[{2},{3}],[{0},{3}],[{0},{1}]]]", left, top, right, bottom);
}

std::string annotation(const std::string& coordinates, const std::string& class_name = "Tumor",
                       const std::string& type = "annotation") {
  return R"({"type":"Feature","geometry":{"type":"Polygon","coordinates":)" + coordinates +
         R"(},"properties":{"objectType":")" + type + R"(","classification":)" +
         (class_name.empty() ? "null" : R"({"name":")" + class_name + "\"}") + "}}";
}

class AnnotationMaskTest : public StageFixture {
 protected:
  AnnotationMasks read(const std::string& text, const AnnotationOptions& options = {}) {
    std::ofstream(file("a.geojson")) << text;
    return read_annotation_masks(file("a.geojson"), slide_, options);
  }
  void expect_error(const std::string& text, ErrorCode code, const testing::Matcher<std::string>& message,
                    const AnnotationOptions& options = {}) {
    try {
      read(text, options);
      FAIL() << "no error";
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), code) << e.what();
      EXPECT_THAT(std::string(e.what()), message);
    }
  }
  static std::int64_t set(const BinaryImage& mask) { return std::count(mask.pixels.begin(), mask.pixels.end(), 1); }

  AnnotatedSlide slide_{.size = {8000, 4000}, .bounds_origin = {}, .mask_size = {200, 100}, .downsample = 40};
};

TEST_F(AnnotationMaskTest, FillsByClass) {
  const std::string all =
      "[" + annotation(box(0, 0, 400, 400)) + "," + annotation(box(400, 0, 800, 400), "Tumor: Positive") + "," +
      annotation(box(0, 800, 400, 1200), "Stroma") + "," + annotation(box(200, 200, 600, 400), "Pen") + "," +
      annotation(box(4000, 0, 4400, 400), "") + "]";
  AnnotationMasks masks = read(all);
  EXPECT_TRUE(masks.limits);
  EXPECT_EQ(set(masks.included), 4 * 100);
  EXPECT_EQ(set(masks.excluded), 0);
  EXPECT_THAT(masks.warnings, IsEmpty());
  EXPECT_EQ(masks.figures.at("objects"), 5);
  EXPECT_EQ(masks.figures.at("classes").at("Unclassified"), 1);

  masks = read(all, {.include = {"Tumor"}, .exclude = {"Pen"}});
  EXPECT_EQ(set(masks.included), 200);  // with the derived class
  EXPECT_EQ(set(masks.excluded), 10 * 5);
  EXPECT_EQ(masks.included.pixels[0], 1);
  EXPECT_EQ(set(read(all, {.include = {"Tumor: Positive"}}).included), 100);
  EXPECT_EQ(set(read(all, {.include = {"Unclassified"}}).included), 100);

  masks = read(all, {.exclude = {"Pen"}});  // no limit but what is excluded
  EXPECT_FALSE(masks.limits);
  EXPECT_EQ(set(masks.excluded), 10 * 5);
}

TEST_F(AnnotationMaskTest, LeavesOutDetectionsAndIgnoredClassesAndSaysSo) {
  const AnnotationMasks masks =
      read("[" + annotation(box(0, 0, 400, 400)) + "," + annotation(box(800, 0, 1200, 400), "Tumor", "cell") + "," +
           annotation(box(0, 800, 400, 1200), "Ignore*") +
           R"(,{"type":"Feature","geometry":{"type":"Point","coordinates":[5,5]}}])");
  EXPECT_EQ(set(masks.included), 100);
  EXPECT_THAT(masks.warnings, Contains(HasSubstr("1 detections, cells or tiles were left out")));
  EXPECT_THAT(masks.warnings, Contains(HasSubstr("1 points, lines")));
}

TEST_F(AnnotationMaskTest, RepairsAreSaid) {
  const AnnotationMasks masks =
      read("[" + annotation("[[[0,0],[400,0],[400,400],[0,400]]]") + "," + annotation("[[[0,0],[9,9],[0,0]]]") + "," +
           annotation("[[[800,0],[1200,0],[1200,400],[800,400],[800,0],[1000,0],[1000,200],[800,200],[800,0]]]") + "," +
           annotation(box(2001, 2001, 2003, 2003)) + "," + annotation(box(7900, 3900, 9000, 4100)) + "," +
           annotation(box(9000, 0, 9500, 500)) + "]");
  EXPECT_EQ(set(masks.included), 100 + 100 + 3 * 3);
  EXPECT_THAT(masks.warnings,
              testing::UnorderedElementsAre(
                  HasSubstr("1 outlines were not closed"), HasSubstr("1 rings of fewer than three points"),
                  HasSubstr("1 annotations cross themselves"), HasSubstr("1 annotations are smaller than the pixels"),
                  HasSubstr("2 annotations of 5 lie outside the slide or reach over its edge")));
}

TEST_F(AnnotationMaskTest, RefusesWhatCannotBeMeant) {
  expect_error("[]", ErrorCode::kBadInput, HasSubstr("no annotations in it"));
  expect_error("[" + annotation(box(0, 0, 9, 9), "Tumor", "cell") + "]", ErrorCode::kBadInput,
               AllOf(HasSubstr("none of its 1 objects"), HasSubstr("1 detections")));
  expect_error("[" + annotation(box(0, 0, 400, 400)) + "," + annotation(box(0, 0, 400, 400), "Stroma") + "," +
                   annotation(box(0, 0, 9, 9), "Stroma") + "]",
               ErrorCode::kUsage,
               AllOf(HasSubstr("tissue.include_classes: no annotation of class 'Tumour'"),
                     HasSubstr("nearest is 'Tumor'"), HasSubstr("Stroma (2), Tumor (1)")),
               {.include = {"Tumour"}});
  expect_error("[" + annotation(box(0, 0, 400, 400)) + "]", ErrorCode::kUsage,
               HasSubstr("tissue.exclude_classes: no annotation of class 'Pen'"), {.exclude = {"Pen"}});
  expect_error("[" + annotation(box(100, 5000, 900, 7000)) + "]", ErrorCode::kBadInput,
               AllOf(HasSubstr("no annotation lies inside the slide of 8000 x 4000"), HasSubstr("y 5000 to 7000"),
                     HasSubstr("x and y are swapped")));
  expect_error("[" + annotation(box(40000, 20000, 60000, 30000)) + "]", ErrorCode::kBadInput,
               HasSubstr("at least 7.5 times as large"));
  expect_error("[" + annotation(box(-900, -900, -100, -100)) + "]", ErrorCode::kBadInput,
               HasSubstr("are they of this slide?"));
  expect_error("[" + annotation(box(2001, 2001, 2003, 2003)) + "]", ErrorCode::kBadInput,
               HasSubstr("cover no pixel of the tissue mask"));
}

TEST_F(AnnotationMaskTest, CountsFromTheNonEmptyAreaIfAsked) {
  slide_.bounds_origin = {2000, 1000};
  const std::string one = "[" + annotation(box(0, 0, 400, 400)) + "]";
  const AnnotationMasks moved = read(one, {.from_bounds = true});
  EXPECT_EQ(moved.included.pixels[static_cast<std::size_t>(25 * 200 + 50)], 1);
  EXPECT_EQ(moved.included.pixels[0], 0);
  EXPECT_THAT(moved.warnings, IsEmpty());
  EXPECT_THAT(read(one).warnings, ElementsAre(HasSubstr("tissue.annotations_origin bounds")));
  expect_error("[" + annotation(box(-1900, -900, -1500, -500)) + "]", ErrorCode::kBadInput,
               HasSubstr("they fit with tissue.annotations_origin bounds"));
}

TEST_F(AnnotationMaskTest, WhatExportWritesReadsBackAsTheSameMask) {
  io::TileSet tiles;
  tiles.source_mpp = 0.25;
  tiles.mask_mpp = 0.25 * 40;
  tiles.slide_size = slide_.size;
  tiles.mask_size = slide_.mask_size;
  for (std::int64_t i = 0; i < slide_.mask_size.area(); ++i) {
    const auto x = static_cast<double>(i % 200) - 90, y = static_cast<double>(i / 200) - 50;
    const double r = std::hypot(x, y);
    tiles.mask.push_back((r < 40 && r > 12) || (r < 5) || (i * 2654435761u >> 9) % 11 == 0);
  }
  const AnnotationMasks masks = read(tissue_geojson(tiles), {.include = {"Tissue"}});
  EXPECT_EQ(masks.included.pixels, tiles.mask);
  EXPECT_THAT(masks.warnings, IsEmpty());
  slide_.bounds_origin = {1000, 800};
  EXPECT_EQ(read(tissue_geojson(tiles, slide_.bounds_origin), {.from_bounds = true}).included.pixels, tiles.mask);
}

class MaskPictureTest : public StageFixture {
 protected:
  /// Tissue in the left third of the picture, `value` bright.
  void make(std::int64_t width, std::int64_t height, std::uint8_t value) {
    Canvas canvas(width, height, {0, 0, 0});
    for (std::int64_t y = 0; y < height; ++y) {
      for (std::int64_t x = 0; x < width / 3; ++x) std::fill_n(canvas.at(x, y), 3, value);
    }
    write_tiff(file("mask.tif"), canvas, std::nullopt);
  }
  std::string refusal() {
    try {
      read_mask_picture(file("mask.tif"), {9000, 4500}, {90, 45}, 100);
    } catch (const Error& e) {
      return e.what();
    }
    return "no error";
  }
};

TEST_F(MaskPictureTest, OfAnyScaleAndOfLabels) {
  for (const std::int64_t width : {30, 90, 300, 1111}) {
    for (const std::uint8_t value : {1, 60, 200, 255}) {
      make(width, (width + 1) / 2, value);
      const BinaryImage mask = read_mask_picture(file("mask.tif"), {9000, 4500}, {90, 45}, 100);
      for (std::int64_t y = 0; y < 45; ++y) {
        for (std::int64_t x = 0; x < 90; ++x) {
          if (x == 29 || x == 30) continue;  // the edge
          ASSERT_EQ(mask.pixels[static_cast<std::size_t>(y * 90 + x)], x < 30) << width << " px, " << x << ", " << y;
        }
      }
    }
  }
}

TEST_F(MaskPictureTest, RefusesAnotherAspectAndNothingSet) {
  make(100, 100, 255);
  EXPECT_THAT(refusal(),
              AllOf(HasSubstr("mask.tif"), HasSubstr("100 x 100"), HasSubstr("9000 x 4500"), HasSubstr("200 px wide")));
  make(50, 100, 255);
  EXPECT_THAT(refusal(), HasSubstr("turned by 90 degrees"));
  make(200, 100, 0);
  EXPECT_THAT(refusal(), HasSubstr("black throughout"));
  std::ofstream(file("mask.tif")) << "no picture";
  EXPECT_THAT(refusal(), HasSubstr("mask.tif"));
}

}  // namespace
}  // namespace vtissue::stages
