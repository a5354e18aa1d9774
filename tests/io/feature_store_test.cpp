#include "io/feature_store.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <numeric>
#include <thread>

#include "core/hash.h"
#include "io/hdf5.h"
#include "store_test_support.h"

namespace vtissue::io {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<TileCell> cells_of(std::size_t n) {
  std::vector<TileCell> cells;
  for (std::size_t i = 0; i < n; ++i) cells.push_back({static_cast<int>(i % 7) * 2, static_cast<int>(i / 7) * 2});
  return cells;
}

FeatureSetInfo set_info(const std::string& name, int vectors, int dim) {
  return {name, "encoder", std::string(64, 'e'), "tile", vectors, dim};
}

std::vector<float> numbers(std::size_t n) {
  std::vector<float> values(n);
  std::iota(values.begin(), values.end(), 1.0f);
  return values;
}

/// Two sets; the first is appended `step` rows at a time.
void write_store(const std::filesystem::path& path, std::size_t n, std::size_t step) {
  const auto cells = cells_of(n);
  FeatureWriter writer(path, cells, std::string(64, '5'));
  writer.begin_set(set_info("morphology", 1, 5));
  const auto values = numbers(n * 5);
  const std::vector<std::uint8_t> valid(n, 1);
  for (std::size_t first = 0; first < n; first += step) {
    const std::size_t count = std::min(step, n - first);
    writer.append(std::span(values).subspan(first * 5, count * 5), std::span(valid).subspan(first, count));
  }
  writer.begin_set(set_info("predictor", 10, 3));
  std::vector<std::uint8_t> some(n, 1);
  if (n > 3) some[3] = 0;
  writer.append(numbers(n * 30), some);
  writer.finish();
}

TEST(FeatureStore, WhatIsWrittenIsRead) {
  const TemporaryFolder folder;
  write_store(folder / "features.h5", 150, 32);
  const FeatureReader reader(folder / "features.h5");
  EXPECT_EQ(reader.cells(), cells_of(150));
  EXPECT_EQ(reader.slide_sha256(), std::string(64, '5'));
  ASSERT_EQ(reader.sets().size(), 2u);
  EXPECT_EQ(reader.sets()[0].name, "morphology");
  EXPECT_EQ(reader.info("predictor").vectors, 10);
  EXPECT_EQ(reader.info("predictor").dim, 3);
  EXPECT_EQ(reader.info("predictor").encoder_sha256, std::string(64, 'e'));
  std::vector<float> values;
  std::vector<std::uint8_t> valid;
  reader.read("morphology", 0, 150, values, valid);
  EXPECT_EQ(values, numbers(750));
  reader.read("morphology", 63, 2, values, valid);
  EXPECT_THAT(values, ElementsAre(316, 317, 318, 319, 320, 321, 322, 323, 324, 325));
  reader.read("predictor", 3, 2, values, valid);
  EXPECT_THAT(valid, ElementsAre(0, 1));
  EXPECT_EQ(values[0], 0.0f);  // a row without a condition is zeros
  EXPECT_EQ(values[30], 121.0f);
}

TEST(FeatureStore, BytesDoNotDependOnHowRowsWereAppended) {
  const TemporaryFolder folder;
  write_store(folder / "a.h5", 150, 150);
  for (const std::size_t step : {1, 7, 64, 100}) {
    write_store(folder / "b.h5", 150, step);
    EXPECT_EQ(sha256_file(folder / "a.h5"), sha256_file(folder / "b.h5")) << step;
  }
}

TEST(FeatureStore, NoTilesIsAStoreToo) {
  const TemporaryFolder folder;
  write_store(folder / "empty.h5", 0, 1);
  const FeatureReader reader(folder / "empty.h5");
  EXPECT_TRUE(reader.cells().empty());
  std::vector<float> values;
  std::vector<std::uint8_t> valid;
  reader.read("morphology", 0, 0, values, valid);
  EXPECT_TRUE(values.empty());
}

TEST(FeatureStore, ReadsFromSeveralThreads) {
  const TemporaryFolder folder;
  write_store(folder / "features.h5", 150, 150);
  const FeatureReader reader(folder / "features.h5");
  std::vector<std::jthread> threads;
  std::atomic<int> wrong = 0;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::vector<float> values;
      std::vector<std::uint8_t> valid;
      for (std::size_t row = static_cast<std::size_t>(t); row < 150; row += 4) {
        reader.read("morphology", row, 1, values, valid);
        if (values[0] != static_cast<float>(row * 5 + 1)) ++wrong;
      }
    });
  }
  threads.clear();
  EXPECT_EQ(wrong, 0);
}

TEST(FeatureStore, MisuseIsALogicError) {
  const TemporaryFolder folder;
  const auto cells = cells_of(3);
  {
    FeatureWriter writer(folder / "a.h5", cells, "");
    EXPECT_THROW(writer.append(numbers(5), std::vector<std::uint8_t>{1}), std::logic_error);
    EXPECT_THROW(writer.begin_set(set_info("a/b", 1, 5)), std::logic_error);
    EXPECT_THROW(writer.begin_set(set_info("a", 0, 5)), std::logic_error);
    writer.begin_set(set_info("a", 1, 5));
    EXPECT_THROW(writer.append(numbers(4), std::vector<std::uint8_t>{1}), std::logic_error);
    writer.append(numbers(10), std::vector<std::uint8_t>{1, 1});
    EXPECT_THROW(writer.append(numbers(10), std::vector<std::uint8_t>{1, 1}), std::logic_error);
    EXPECT_THROW(writer.finish(), std::logic_error);
    writer.append(numbers(5), std::vector<std::uint8_t>{1});
    EXPECT_THROW(writer.begin_set(set_info("a", 1, 5)), std::logic_error);
  }
  EXPECT_FALSE(std::filesystem::exists(folder / "a.h5"));
}

TEST(FeatureStore, RefusesOtherFiles) {
  const TemporaryFolder folder;
  write_store(folder / "features.h5", 20, 20);
  const FeatureReader reader(folder / "features.h5");
  Error error = error_of([&] { reader.info("tokens"); });
  EXPECT_EQ(error.code(), ErrorCode::kBadInput);
  EXPECT_THAT(error.what(), HasSubstr("no feature set 'tokens' (it has: morphology, predictor)"));
  std::vector<float> values;
  std::vector<std::uint8_t> valid;
  EXPECT_THROW(reader.read("morphology", 19, 2, values, valid), std::out_of_range);

  {
    hdf5::File file = hdf5::File::create(folder / "tiles.h5");
    hdf5::Group root = file.root();
    hdf5::write_format(root, "vtissue-tiles", 1);
    file.close();
  }
  error = error_of([&] { FeatureReader other(folder / "tiles.h5"); });
  EXPECT_EQ(error.code(), ErrorCode::kBadInput);
  EXPECT_THAT(error.what(), HasSubstr("format 'vtissue-tiles'"));
  EXPECT_THAT(error.what(), HasSubstr("vtissue embed"));

  {
    hdf5::File file = hdf5::File::create(folder / "shape.h5");
    hdf5::Group root = file.root();
    hdf5::write_format(root, "vtissue-features", 2);
    root.set_string("slide_sha256", "");
    root.write<std::int32_t>("cells", std::array<std::uint64_t, 2>{1, 2}, std::array<std::int32_t, 2>{0, 0});
    hdf5::Group set = root.create_group("sets").create_group("morphology");
    for (const char* name : {"encoder", "encoder_sha256", "geometry"}) set.set_string(name, "");
    set.write<float>("values", std::array<std::uint64_t, 3>{2, 1, 1}, std::array<float, 2>{0, 0});
    set.write<std::uint8_t>("valid", std::array<std::uint64_t, 1>{1}, std::array<std::uint8_t, 1>{1});
    file.close();
  }
  EXPECT_THAT(error_of([&] { FeatureReader other(folder / "shape.h5"); }).what(),
              HasSubstr("sets/morphology/values: is not a float array [1, vectors, dim]"));
}

}  // namespace
}  // namespace vtissue::io
