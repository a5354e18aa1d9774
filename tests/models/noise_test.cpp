#include "models/noise.h"

#include <bit>
#include <cmath>

#include "tests/models/golden.h"

namespace vtissue::models {
namespace {

std::uint32_t hex32(const nlohmann::json& value) {
  return static_cast<std::uint32_t>(std::stoul(value.get<std::string>(), nullptr, 16));
}

template <std::size_t N>
std::array<std::uint32_t, N> words(const nlohmann::json& values) {
  std::array<std::uint32_t, N> result{};
  for (std::size_t i = 0; i < N; ++i) result[i] = hex32(values[i]);
  return result;
}

Box<Latent> box(std::int64_t x, std::int64_t y, std::int64_t width, std::int64_t height) {
  return {{x, y}, {width, height}};
}

TEST(Philox, AgreesWithRandom123) {
  int vectors = 0;
  const auto golden = golden_json("philox/philox.json");
  for (const auto& v : golden["random123"]) {
    const auto counter = words<4>(v["counter"]);
    const auto key = words<2>(v["key"]);
    EXPECT_EQ(philox4x32(v["rounds"].get<int>(), counter, key), words<4>(v["out"]));
    if (v["rounds"] == 10) {
      EXPECT_EQ(philox4x32_10(counter, key), words<4>(v["out"]));
    }
    ++vectors;
  }
  EXPECT_EQ(vectors, 6);
}

TEST(LatentNoise, ExtremeWordsGiveFiniteNormals) {
  const auto golden = golden_json("philox/philox.json");
  ASSERT_FALSE(golden["extreme_words"].empty());
  for (const auto& sample : golden["extreme_words"]) {
    const auto z = normals_of_words(words<4>(sample["words"]));
    for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR(z[i], sample["z_float64"][i].get<double>(), 1e-12);
  }
}

TEST(LatentNoise, WordsAndNormalsAreExact) {
  const auto golden = golden_json("philox/philox.json");
  ASSERT_FALSE(golden["samples"].empty());
  for (const auto& sample : golden["samples"]) {
    const std::uint64_t seed = std::stoull(sample["key64"].get<std::string>(), nullptr, 16);
    const auto x = sample["x"].get<std::int64_t>();
    const auto y = sample["y"].get<std::int64_t>();
    const auto draw = sample["step"].get<std::uint32_t>();
    for (std::uint32_t group = 0; group < sample["words"].size(); ++group) {
      EXPECT_EQ(philox4x32_10({static_cast<std::uint32_t>(x), static_cast<std::uint32_t>(y), draw, group},
                              {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)}),
                words<4>(sample["words"][group]));
    }
    const auto& expected = sample["z_float32_hex"];
    std::vector<float> z(expected.size());
    latent_noise(seed, draw, box(x, y, 1, 1), static_cast<int>(z.size()), z);
    for (std::size_t c = 0; c < z.size(); ++c) EXPECT_EQ(std::bit_cast<std::uint32_t>(z[c]), hex32(expected[c]));
  }
}

TEST(LatentNoise, BlockIsExact) {
  const std::vector<float> expected = to_vector(golden("philox/block.safetensors").get("z"));
  std::vector<float> z(16 * 6 * 5);
  latent_noise(0x5eed5eed12345678, 7, box(1000, 2000, 5, 6), 16, z);
  EXPECT_EQ(z, expected);
}

TEST(LatentNoise, DependsOnThePositionAlone) {
  constexpr int kChannels = 6;  // not a multiple of the four that one counter gives
  std::vector<float> whole(kChannels * 8 * 7);
  latent_noise(42, 3, box(-3, -2, 7, 8), kChannels, whole);
  std::vector<float> part(kChannels * 4 * 3);
  latent_noise(42, 3, box(-1, 1, 3, 4), kChannels, part);
  for (std::size_t c = 0; c < kChannels; ++c) {
    for (std::size_t row = 0; row < 4; ++row) {
      for (std::size_t column = 0; column < 3; ++column) {
        EXPECT_EQ(part[(c * 4 + row) * 3 + column], whole[(c * 8 + row + 3) * 7 + column + 2]);
      }
    }
  }
}

TEST(LatentNoise, SeedDrawAndChannelChangeIt) {
  const auto field = [](std::uint64_t seed, std::uint32_t draw) {
    std::vector<float> z(8 * 4 * 4);
    latent_noise(seed, draw, box(0, 0, 4, 4), 8, z);
    return z;
  };
  const auto base = field(1, 0);
  EXPECT_EQ(field(1, 0), base);
  EXPECT_NE(field(1, 1), base);
  EXPECT_NE(field(2, 0), base);
  EXPECT_NE(field(1 + (std::uint64_t{1} << 32), 0), base);
  EXPECT_NE(std::vector<float>(base.begin(), base.begin() + 16),
            std::vector<float>(base.begin() + 64, base.begin() + 80));
}

TEST(LatentNoise, IsStandardNormal) {
  std::vector<float> z(4 * 100 * 100);
  latent_noise(7, 0, box(0, 0, 100, 100), 4, z);
  double sum = 0;
  double squares = 0;
  for (const float v : z) sum += v, squares += double{v} * v;
  const auto n = static_cast<double>(z.size());
  EXPECT_NEAR(sum / n, 0.0, 4 / std::sqrt(n));
  EXPECT_NEAR(squares / n, 1.0, 4 * std::sqrt(2 / n));
}

TEST(LatentNoise, RefusesAnArrayThatDoesNotFit) {
  std::vector<float> z(7);
  const auto [code, text] = error_of([&] { latent_noise(1, 0, box(0, 0, 2, 2), 2, z); });
  EXPECT_EQ(code, ErrorCode::kUsage);
  EXPECT_THAT(text, testing::HasSubstr("2 channels x 2 x 2"));
}

}  // namespace
}  // namespace vtissue::models
