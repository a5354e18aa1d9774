#include "io/latent_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "io/half.h"
#include "tests/support/temp_folder.h"

namespace vtissue::io {
namespace {

using ::testing::HasSubstr;
using vtissue::testing::TempFolder;

std::string bytes_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void overwrite(const std::filesystem::path& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
}

std::vector<TileCell> line_of_cells(std::size_t n) {
  std::vector<TileCell> cells;
  for (std::size_t i = 0; i < n; ++i)
    cells.push_back({static_cast<std::int32_t>(2 * (i % 50)), static_cast<std::int32_t>(2 * (i / 50))});
  return cells;
}

/// A store whose value k is k/8 of its place in the whole.
void write_store(const std::filesystem::path& folder, const LatentStoreInfo& info, std::size_t tiles,
                 std::size_t at_once) {
  const std::vector<TileCell> cells = line_of_cells(tiles);
  LatentWriter writer(folder, info, cells);
  const auto per_tile = static_cast<std::size_t>(info.channels * info.size * info.size);
  for (std::size_t first = 0; first < tiles; first += at_once) {
    std::vector<std::uint16_t> values;
    for (std::size_t k = first * per_tile; k < std::min(tiles, first + at_once) * per_tile; ++k) {
      values.push_back(float_to_half(static_cast<float>(k % 1000) / 8));
    }
    writer.append(values);
  }
  writer.finish();
}

void expect_bad(const std::filesystem::path& folder, const std::string& words) {
  try {
    LatentReader reader(folder);
    FAIL() << "opened; expected: " << words;
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kBadInput);
    EXPECT_THAT(e.what(), HasSubstr(words));
  }
}

TEST(HalfTest, EveryHalfSurvivesTheWayThroughFloat) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const float value = half_to_float(half);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(half_to_float(float_to_half(value))));
    } else {
      ASSERT_EQ(float_to_half(value), half) << value;
    }
  }
}

TEST(HalfTest, RoundsToNearestAndTiesToEven) {
  // Between two neighbouring halves: below, at and above the middle.
  for (std::uint16_t low = 0; low < 0x7bff; low = static_cast<std::uint16_t>(low + 13)) {
    const auto high = static_cast<std::uint16_t>(low + 1);
    const float middle = (half_to_float(low) + half_to_float(high)) / 2;
    EXPECT_EQ(float_to_half(std::nextafter(middle, 0.0f)), low);
    EXPECT_EQ(float_to_half(middle), low % 2 == 0 ? low : high);
    EXPECT_EQ(float_to_half(std::nextafter(middle, 1e9f)), high);
    EXPECT_EQ(float_to_half(-middle), 0x8000 | (low % 2 == 0 ? low : high));
  }
  EXPECT_EQ(float_to_half(65519.99f), 0x7bff);
  EXPECT_EQ(float_to_half(65520.0f), 0x7c00);
  EXPECT_EQ(float_to_half(std::numeric_limits<float>::infinity()), 0x7c00);
}

TEST(LatentStoreTest, ReadsBackEachTileFromEachPart) {
  const TempFolder temp;
  const LatentStoreInfo info{
      .channels = 2, .size = 2, .tile_px = 16, .seed = 0xffffffffffffffffull, .slide_sha256 = std::string(64, '5')};
  write_store(temp / "latents", info, kLatentPartTiles + 3, 100);
  const LatentReader reader(temp / "latents");
  EXPECT_EQ(reader.info(), info);
  EXPECT_EQ(reader.cells(), line_of_cells(kLatentPartTiles + 3));
  std::vector<float> tile(8);
  for (const std::size_t index : {kLatentPartTiles + 2, std::size_t{0}, kLatentPartTiles - 1, kLatentPartTiles}) {
    reader.read(index, tile);
    for (std::size_t k = 0; k < tile.size(); ++k) EXPECT_EQ(tile[k], static_cast<float>((index * 8 + k) % 1000) / 8);
  }
}

TEST(LatentStoreTest, BytesDoNotDependOnHowTilesArrive) {
  const TempFolder temp;
  const LatentStoreInfo info{.channels = 1, .size = 1, .tile_px = 8, .seed = 3, .slide_sha256 = ""};
  write_store(temp / "a", info, 2100, 2100);
  write_store(temp / "b", info, 2100, 7);
  for (const char* name :
       {"index.json", "part-00000.safetensors", "part-00001.safetensors", "part-00002.safetensors"}) {
    EXPECT_EQ(bytes_of(temp / "a" / name), bytes_of(temp / "b" / name)) << name;
    EXPECT_FALSE(bytes_of(temp / "a" / name).empty()) << name;
  }
}

TEST(LatentStoreTest, AnEmptyStoreHasNoParts) {
  const TempFolder temp;
  write_store(temp / "latents", {.channels = 4, .size = 16, .tile_px = 128, .seed = 0, .slide_sha256 = ""}, 0, 1);
  EXPECT_TRUE(LatentReader(temp / "latents").cells().empty());
}

TEST(LatentStoreTest, ADamagedPartIsFoundWhenItIsRead) {
  const TempFolder temp;
  write_store(temp / "latents", {.channels = 1, .size = 4, .tile_px = 32, .seed = 0, .slide_sha256 = ""}, 5, 5);
  std::string part = bytes_of(temp / "latents" / "part-00000.safetensors");
  part[part.size() - 60] = static_cast<char>(part[part.size() - 60] ^ 1);
  overwrite(temp / "latents" / "part-00000.safetensors", part);
  const LatentReader reader(temp / "latents");
  std::vector<float> tile(16);
  try {
    reader.read(0, tile);
    FAIL() << "was read";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kBadInput);
    EXPECT_THAT(e.what(), HasSubstr("SHA-256"));
    EXPECT_THAT(e.what(), HasSubstr("part-00000.safetensors"));
  }
}

TEST(LatentStoreTest, RefusesWhatIsNotAWholeStore) {
  const TempFolder temp;
  expect_bad(temp / "nothing", "cannot be opened");
  write_store(temp / "latents", {.channels = 1, .size = 4, .tile_px = 32, .seed = 0, .slide_sha256 = ""}, 5, 5);
  const std::filesystem::path index_path = temp / "latents" / "index.json";
  const std::filesystem::path part_path = temp / "latents" / "part-00000.safetensors";
  const nlohmann::json index = nlohmann::json::parse(bytes_of(index_path));
  const std::string part = bytes_of(part_path);

  const auto with = [&](const char* pointer, const nlohmann::json& value) {
    nlohmann::json changed = index;
    changed[nlohmann::json::json_pointer(pointer)] = value;
    overwrite(index_path, changed.dump());
  };
  with("/format", "other");
  expect_bad(temp / "latents", "format is \"other\"");
  with("/format_version", 99);
  expect_bad(temp / "latents", "format version 99");
  with("/channels", 0);
  expect_bad(temp / "latents", "channels is 0");
  with("/tiles", 2000);
  expect_bad(temp / "latents", "1 parts for 2000 tiles");
  with("/parts/0/file", "../elsewhere.safetensors");
  expect_bad(temp / "latents", "expected part-00000.safetensors");
  with("/size", 2);
  expect_bad(temp / "latents", "no tensor latents F16 [5, 1, 2, 2]");
  with("/seed", "x");
  expect_bad(temp / "latents", "index.json");
  overwrite(index_path, "{");
  expect_bad(temp / "latents", "not valid JSON");

  overwrite(index_path, index.dump());
  overwrite(part_path, part.substr(0, part.size() - 1));
  expect_bad(temp / "latents", "run synthesize again");
  std::filesystem::remove(part_path);
  expect_bad(temp / "latents", "part-00000.safetensors");
}

TEST(LatentStoreTest, TheWriterWantsOneTileACell) {
  const TempFolder temp;
  const std::vector<TileCell> cells = line_of_cells(2);
  const LatentStoreInfo info{.channels = 1, .size = 1, .tile_px = 8, .seed = 0, .slide_sha256 = ""};
  LatentWriter fewer(temp / "fewer", info, cells);
  fewer.append(std::vector<std::uint16_t>(1));
  EXPECT_THROW(fewer.finish(), std::logic_error);
  LatentWriter more(temp / "more", info, cells);
  more.append(std::vector<std::uint16_t>(3));
  EXPECT_THROW(more.finish(), std::logic_error);
}

}  // namespace
}  // namespace vtissue::io
