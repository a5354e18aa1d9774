#include "models/training/training_set.h"

#include <gmock/gmock.h>

#include "core/error.h"
#include "tests/models/training/toy_set.h"

namespace vtissue::models::training {
namespace {

TEST(TrainingSet, ReadsSections) {
  const TemporaryFolder folder;
  const TrainingSet set = TrainingSet::open(write_toy_set(folder.path()));
  EXPECT_EQ(set.mpp(), 0.7);
  EXPECT_EQ(set.genes().size(), 6u);
  ASSERT_EQ(set.sections().size(), 3u);
  EXPECT_FALSE(set.sections()[0].validation);
  EXPECT_TRUE(set.sections()[2].validation);
  EXPECT_EQ(set.sections()[1].spots(), 9);
  EXPECT_EQ(spots_of(set, Split::kTrain).size(), 18u);
  EXPECT_EQ(spots_of(set, Split::kValidation).size(), 9u);
}

TEST(TrainingSet, RefusesOtherFiles) {
  const TemporaryFolder folder;
  const std::vector<float> values{1, 2};
  const auto path = folder.path() / "other.safetensors";
  write_safetensors(path, {{"x", "F32", {2}, std::as_bytes(std::span(values))}});
  try {
    TrainingSet::open(path);
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kBadInput);
    EXPECT_THAT(e.what(), testing::HasSubstr("not a training set"));
  }
  write_safetensors(
      path, {{"x", "F32", {2}, std::as_bytes(std::span(values))}},
      {{"info", R"({"format":1,"mpp":0.7,"genes":[],"sections":[{"name":"a","split":"train","spots":0}]})"}});
  try {
    TrainingSet::open(path);
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kBadInput);
    EXPECT_THAT(e.what(), testing::HasSubstr("section/0/rgb"));
  }
}

/// The pixel that read() must show at (x, y), from the definition of the symmetries.
std::uint8_t expected_red(const TrainingSection& section, const Crop& crop, int px, int x, int y) {
  int u = x;
  int v = y;
  if ((crop.symmetry & 4) != 0) std::swap(u, v);
  if ((crop.symmetry & 1) != 0) u = px - 1 - u;
  if ((crop.symmetry & 2) != 0) v = px - 1 - v;
  return section.rgb[static_cast<std::size_t>(((crop.y + v) * section.width + crop.x + u) * 3)];
}

TEST(TrainingSet, SymmetriesMoveEveryPixelOnce) {
  const TemporaryFolder folder;
  const TrainingSet set = TrainingSet::open(write_toy_set(folder.path()));
  constexpr int kPx = 24;
  for (int symmetry = 0; symmetry < 8; ++symmetry) {
    const Crop crop{1, 31, 47, symmetry};
    std::vector<std::uint8_t> rgb(kPx * kPx * 3);
    set.read(crop, kPx, rgb);
    for (int y = 0; y < kPx; ++y) {
      for (int x = 0; x < kPx; ++x) {
        ASSERT_EQ(rgb[static_cast<std::size_t>((y * kPx + x) * 3)], expected_red(set.sections()[1], crop, kPx, x, y));
      }
    }
  }
}

TEST(TrainingSet, MirrorsAtTheBorder) {
  const TemporaryFolder folder;
  const TrainingSet set = TrainingSet::open(write_toy_set(folder.path()));
  std::vector<std::uint8_t> rgb(16 * 16 * 3);
  set.read({0, -4, 0, 0}, 16, rgb);
  EXPECT_EQ(rgb[0], rgb[8 * 3]);      // column -4 is column 4
  EXPECT_EQ(rgb[3 * 3], rgb[5 * 3]);  // -1 is 1
}

TEST(CropSampler, StaysOnTissueAndRepeats) {
  const TemporaryFolder folder;
  const TrainingSet set = TrainingSet::open(write_toy_set(folder.path()));
  const CropSampler sampler(set, Split::kTrain, 64, 0.9);
  for (std::uint32_t i = 0; i < 200; ++i) {
    RandomStream random(1, Purpose::kCrop, 0, i);
    RandomStream same(1, Purpose::kCrop, 0, i);
    const Crop crop = sampler.draw(random, true);
    const Crop again = sampler.draw(same, true);
    EXPECT_EQ(std::tie(crop.section, crop.x, crop.y, crop.symmetry),
              std::tie(again.section, again.x, again.y, again.symmetry));
    EXPECT_LT(crop.section, 2);
    EXPECT_GE(crop.y, 16);  // the first row of the mask is no tissue
    EXPECT_LE(crop.x + 64, 192);
    EXPECT_LE(crop.y + 64, 192);
  }
}

TEST(CropSampler, SaysWhereThereIsNoTissue) {
  const TemporaryFolder folder;
  const TrainingSet set = TrainingSet::open(write_toy_set(folder.path()));
  try {
    const CropSampler sampler(set, Split::kTrain, 192, 0.99);
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kBadInput);
    EXPECT_THAT(e.what(), testing::HasSubstr("192 px"));
  }
}

TEST(CropAround, IsCentredOnTheSpot) {
  const TemporaryFolder folder;
  const TrainingSet set = TrainingSet::open(write_toy_set(folder.path()));
  const Crop crop = crop_around(set, {0, 4}, 32, 3, -2);
  EXPECT_EQ(crop.x, 96 - 16 + 3);
  EXPECT_EQ(crop.y, 104 - 16 - 2);
}

}  // namespace
}  // namespace vtissue::models::training
