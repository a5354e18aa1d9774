#include "io/patch_coordinates.h"

#include <gmock/gmock.h>
#include <hdf5.h>

#include <array>
#include <cmath>
#include <fstream>
#include <functional>
#include <iterator>
#include <numeric>

#include "io/hdf5.h"
#include "store_test_support.h"

namespace vtissue::io {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

PatchLayout layout() {
  PatchLayout result;
  result.name = "slide";
  result.patch_px = 128;
  result.scale = 1.4;
  result.level0_mpp = 0.5;
  result.slide_size = {2000, 1500};
  result.level_size = {2000, 1500};
  return result;
}

const std::vector<Point<Level0Px>> kCorners = {{0, 0}, {179, 0}, {358, 179}};

TEST(PatchCoordinates, WhatIsWrittenIsRead) {
  const TemporaryFolder folder;
  for (const PatchTool tool : {PatchTool::kClam, PatchTool::kTrident}) {
    write_patch_coordinates(folder / "a.h5", tool, layout(), kCorners);
    const PatchCoordinates read = read_patch_coordinates(folder / "a.h5");
    EXPECT_EQ(read.tool, tool);
    EXPECT_EQ(read.corners, kCorners);
    EXPECT_EQ(read.side_px, 179);
    EXPECT_EQ(read.slide_size, (Size<Level0Px>{2000, 1500}));
    EXPECT_EQ(read.stride_px, tool == PatchTool::kTrident ? std::optional(179.0) : std::nullopt);
  }
}

TEST(PatchCoordinates, ClamPatchesOfALowerLevel) {
  const TemporaryFolder folder;
  PatchLayout lower = layout();
  lower.scale = 4.2;
  lower.level = 1;
  lower.downsample = 4;
  lower.level_size = {500, 375};
  write_patch_coordinates(folder / "a.h5", PatchTool::kClam, lower, kCorners);
  const PatchCoordinates read = read_patch_coordinates(folder / "a.h5");
  EXPECT_EQ(read.side_px, std::round(128 * 4.2 / 4) * 4);
  EXPECT_EQ(read.slide_size, std::nullopt);  // the level's size does not tell it
}

TEST(PatchCoordinates, TridentStrideIsRoundedAsTridentRounds) {
  const TemporaryFolder folder;
  PatchLayout overlapping = layout();
  overlapping.overlap_px = 33;
  write_patch_coordinates(folder / "a.h5", PatchTool::kTrident, overlapping, kCorners);
  EXPECT_EQ(read_patch_coordinates(folder / "a.h5").stride_px, 179 - std::round(33 * 179.0 / 128));
}

TEST(PatchCoordinates, MagnificationsAreTridents) {
  EXPECT_EQ(nominal_magnification(0.1), 80);
  EXPECT_EQ(nominal_magnification(0.2525), 40);
  EXPECT_EQ(nominal_magnification(0.4991), 20);
  EXPECT_EQ(nominal_magnification(1.0), 10);
  EXPECT_EQ(nominal_magnification(2), 5);
  EXPECT_EQ(nominal_magnification(5), 2);
  EXPECT_EQ(trident_folder(layout()), "14.29x_128px_0px_overlap");
}

TEST(PatchFeatures, WhatIsWrittenIsReadInAnyBlocks) {
  const TemporaryFolder folder;
  std::vector<float> values(3 * 5);
  std::iota(values.begin(), values.end(), 0.25f);
  for (const PatchTool tool : {PatchTool::kClam, PatchTool::kTrident}) {
    PatchFeatureWriter writer(folder / "f.h5", tool, layout(), kCorners, 5, "uni2h");
    writer.append(std::span(values).first(5));
    writer.append(std::span(values).subspan(5));
    writer.finish();
    const PatchFeatures read(folder / "f.h5");
    EXPECT_EQ(read.corners(), kCorners);
    EXPECT_EQ(read.dim(), 5);
    EXPECT_EQ(read.encoder(), tool == PatchTool::kTrident ? "uni2h" : "");
    EXPECT_EQ(read.side_px(), tool == PatchTool::kTrident ? std::optional(179.0) : std::nullopt);
    std::vector<float> two(10);
    read.read(1, 2, two);
    EXPECT_TRUE(std::equal(two.begin(), two.end(), values.begin() + 5));
    EXPECT_THROW(read.read(2, 2, two), std::out_of_range);
  }
}

TEST(PatchFeatures, LeadingAxisOfOneAndHalvesAreRead) {
  const TemporaryFolder folder;
  {
    hdf5::File file = hdf5::File::create(folder / "f.h5");
    hdf5::Group root = file.root();
    root.write<float>("features", std::array<std::uint64_t, 3>{1, 3, 2}, std::vector<float>{0, 1, 2, 3, 4, 5});
    root.write<double>("coords", std::array<std::uint64_t, 3>{1, 3, 2}, std::vector<double>{0, 0, 10, 0, 20, 10});
    file.close();
  }
  const PatchFeatures read(folder / "f.h5");
  EXPECT_EQ(read.dim(), 2);
  EXPECT_EQ(read.corners(), (std::vector<Point<Level0Px>>{{0, 0}, {10, 0}, {20, 10}}));
  std::vector<float> two(4);
  read.read(1, 2, two);
  EXPECT_EQ(two, (std::vector<float>{2, 3, 4, 5}));
}

TEST(PatchFiles, EqualContentGivesEqualBytes) {
  const TemporaryFolder folder;
  const auto bytes = [&](const char* name) {
    std::ifstream file(folder / name, std::ios::binary);
    return std::string{std::istreambuf_iterator<char>(file), {}};
  };
  for (const char* name : {"a.h5", "b.h5"})
    write_patch_coordinates(folder / name, PatchTool::kClam, layout(), kCorners);
  EXPECT_EQ(bytes("a.h5"), bytes("b.h5"));
  for (const std::size_t step : {1u, 3u}) {
    PatchFeatureWriter writer(folder / ("f" + std::to_string(step)), PatchTool::kTrident, layout(), kCorners, 2, "e");
    for (std::size_t row = 0; row < 3; row += step) writer.append(std::vector<float>(2 * step, 1.5f));
    writer.finish();
  }
  EXPECT_EQ(bytes("f1"), bytes("f3"));
}

TEST(PatchFiles, NoPatchesAreAFileToo) {
  const TemporaryFolder folder;
  write_patch_coordinates(folder / "a.h5", PatchTool::kTrident, layout(), {});
  EXPECT_THAT(error_of([&] { read_patch_coordinates(folder / "a.h5"); }).what(), HasSubstr("coords: has no patches"));
  PatchFeatureWriter writer(folder / "f.h5", PatchTool::kClam, layout(), {}, 4, "");
  writer.finish();
  EXPECT_TRUE(fs::exists(folder / "f.h5"));
}

TEST(PatchFeatureWriter, UnfinishedLeavesNothing) {
  const TemporaryFolder folder;
  {
    PatchFeatureWriter writer(folder / "f.h5", PatchTool::kClam, layout(), kCorners, 4, "");
    writer.append(std::vector<float>(8));
    EXPECT_THROW(writer.append(std::vector<float>(8)), std::logic_error);
    EXPECT_THROW(writer.append(std::vector<float>(3)), std::logic_error);
    EXPECT_THROW(writer.finish(), std::logic_error);
  }
  EXPECT_FALSE(fs::exists(folder / "f.h5"));
}

/// A file with a defect, and the message.
struct BrokenPatches {
  std::string name;
  std::function<void(hdf5::Group& root)> write;
  std::string message;
  bool features = false;
};

class BrokenPatchFiles : public testing::TestWithParam<BrokenPatches> {};

TEST_P(BrokenPatchFiles, AreRefusedByName) {
  const TemporaryFolder folder;
  {
    hdf5::File file = hdf5::File::create(folder / "p.h5");
    hdf5::Group root = file.root();
    GetParam().write(root);
    file.close();
  }
  const Error error = error_of([&] {
    if (!GetParam().features) {
      read_patch_coordinates(folder / "p.h5");
      return;
    }
    const PatchFeatures features(folder / "p.h5");
    std::vector<float> values(features.corners().size() * static_cast<std::size_t>(features.dim()));
    features.read(0, features.corners().size(), values);
  });
  EXPECT_EQ(error.code(), ErrorCode::kBadInput);
  EXPECT_THAT(error.what(), HasSubstr(GetParam().message));
  EXPECT_THAT(error.what(), HasSubstr((folder / "p.h5").string()));
}

hdf5::Dataset coords(hdf5::Group& root, std::vector<double> numbers = {0, 0, 10, 20}) {
  return root.write<double>("coords", std::array<std::uint64_t, 2>{numbers.size() / 2, 2}, numbers);
}

hdf5::Dataset clam(hdf5::Group& root, double size = 256, double level = 0) {
  hdf5::Dataset dataset = coords(root);
  dataset.set_number("patch_size", size);
  dataset.set_number("patch_level", level);
  return dataset;
}

hdf5::Dataset trident(hdf5::Group& root, double side = 256, double overlap = 0) {
  hdf5::Dataset dataset = coords(root);
  dataset.set_number("patch_size", 256);
  dataset.set_number("patch_size_level0", side);
  dataset.set_number("overlap", overlap);
  return dataset;
}

void with_features(hdf5::Group& root, std::uint64_t rows, std::uint64_t dim, const std::vector<float>& values) {
  coords(root);
  root.write<float>("features", std::array{rows, dim}, values);
}

INSTANTIATE_TEST_SUITE_P(
    All, BrokenPatchFiles,
    testing::Values(
        BrokenPatches{"NoCoords", [](hdf5::Group& root) { root.create_group("other"); }, "coords: is missing"},
        BrokenPatches{"CoordsAreAGroup", [](hdf5::Group& root) { root.create_group("coords"); },
                      "coords: is not a dataset"},
        BrokenPatches{"CoordsAreText",
                      [](hdf5::Group& root) {
                        root.write_strings("coords", std::vector<std::string>{"0", "0"});
                      },
                      "coords: has shape [2], expected 2 axes"},
        BrokenPatches{"ThreeColumns",
                      [](hdf5::Group& root) {
                        root.write<double>("coords", std::array<std::uint64_t, 2>{1, 3}, std::vector<double>{0, 0, 0});
                      },
                      "has shape [1, 3], expected x and y a row"},
        BrokenPatches{"NaNPlace",
                      [](hdf5::Group& root) {
                        coords(root, {0, 0, NAN, 5});
                      },
                      "row 1 is (nan, 5)"},
        BrokenPatches{"FractionPlace",
                      [](hdf5::Group& root) {
                        coords(root, {0.5, 0});
                      },
                      "row 0 is (0.5, 0)"},
        BrokenPatches{"HugePlace",
                      [](hdf5::Group& root) {
                        coords(root, {0, 1e12});
                      },
                      "row 0 is (0, 1000000000000)"},
        BrokenPatches{"NoAttributes", [](hdf5::Group& root) { coords(root); },
                      "has neither TRIDENT's attributes (patch_size_level0) nor CLAM's"},
        BrokenPatches{"ClamWithoutSize", [](hdf5::Group& root) { coords(root).set_number("patch_level", 0); },
                      "attribute 'patch_size' is missing"},
        BrokenPatches{"ClamNegativeSize", [](hdf5::Group& root) { clam(root, -256); },
                      "attribute 'patch_size' is -256"},
        BrokenPatches{"ClamSizeNaN", [](hdf5::Group& root) { clam(root, NAN); }, "attribute 'patch_size' is no number"},
        BrokenPatches{"ClamHugeSize", [](hdf5::Group& root) { clam(root, 1e9); },
                      "attribute 'patch_size' is 1000000000"},
        BrokenPatches{"ClamLevelIsAFraction", [](hdf5::Group& root) { clam(root, 256, 1.5); },
                      "attribute 'patch_level' is 1.5"},
        BrokenPatches{"ClamLowerLevelWithoutDownsample", [](hdf5::Group& root) { clam(root, 256, 1); },
                      "attribute 'downsample' is missing"},
        BrokenPatches{"ClamSizeIsText",
                      [](hdf5::Group& root) {
                        hdf5::Dataset dataset = coords(root);
                        dataset.set_number("patch_level", 0);
                        dataset.set_string("patch_size", "256");
                      },
                      "attribute 'patch_size' is not a number"},
        BrokenPatches{"TridentZeroSide", [](hdf5::Group& root) { trident(root, 0); },
                      "attribute 'patch_size_level0' is 0"},
        BrokenPatches{"TridentOverlapTooLarge", [](hdf5::Group& root) { trident(root, 512, 256); },
                      "attribute 'overlap' is 256 for patches of 256 px"},
        BrokenPatches{"FeaturesMissing", [](hdf5::Group& root) { coords(root); }, "features: is missing", true},
        BrokenPatches{"FeaturesSwappedForCoordinates",
                      [](hdf5::Group& root) {
                        root.write<std::int32_t>("features", std::array<std::uint64_t, 2>{2, 2},
                                                 std::vector<std::int32_t>{1, 2, 3, 4});
                        coords(root);
                      },
                      "features: does not hold floats", true},
        BrokenPatches{"FeaturesNaN",
                      [](hdf5::Group& root) {
                        with_features(root, 2, 2, {0, 1, NAN, 3});
                      },
                      "features: value nan in row 1", true},
        BrokenPatches{"FeaturesFewerRows",
                      [](hdf5::Group& root) {
                        with_features(root, 1, 2, {0, 1});
                      },
                      "features: has 1 rows, but there are coordinates of 2 patches", true},
        BrokenPatches{"FeaturesFlat",
                      [](hdf5::Group& root) {
                        coords(root);
                        root.write<float>("features", std::array<std::uint64_t, 1>{2}, std::vector<float>{1, 2});
                      },
                      "features: has shape [2], expected 2 axes", true},
        BrokenPatches{"FeaturesHuge",
                      [](hdf5::Group& root) {
                        coords(root);
                        root.create_growable_dataset("features", H5T_NATIVE_FLOAT,
                                                     std::array<std::uint64_t, 2>{std::uint64_t{1} << 42, 4}, 64);
                      },
                      "features: claims 17592186044416 elements", true}),
    [](const auto& param_info) { return param_info.param.name; });

TEST(BrokenPatchFiles, NoHdf5AndCutOnes) {
  const TemporaryFolder folder;
  write_patch_coordinates(folder / "a.h5", PatchTool::kClam, layout(), std::vector<Point<Level0Px>>(5000));
  fs::resize_file(folder / "a.h5", fs::file_size(folder / "a.h5") / 2);
  EXPECT_THAT(error_of([&] { read_patch_coordinates(folder / "a.h5"); }).what(),
              HasSubstr("a.h5: cannot be opened as HDF5"));
  write_text(folder / "b.h5", "");
  EXPECT_THAT(error_of([&] { read_patch_coordinates(folder / "b.h5"); }).what(), HasSubstr("is not an HDF5 file"));
  EXPECT_THAT(error_of([&] { PatchFeatures(folder / "c.h5"); }).what(), HasSubstr("c.h5: no such file"));
}

}  // namespace
}  // namespace vtissue::io
