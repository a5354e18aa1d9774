#include "models/noise.h"

#include <cmath>
#include <numbers>

#include "core/error.h"

namespace vtissue::models {
namespace {

constexpr std::uint32_t kMultiplier0 = 0xD2511F53;
constexpr std::uint32_t kMultiplier1 = 0xCD9E8D57;
constexpr std::uint32_t kWeyl0 = 0x9E3779B9;  // golden ratio
constexpr std::uint32_t kWeyl1 = 0xBB67AE85;  // sqrt(3) - 1
constexpr int kRounds = 10;
constexpr int kWords = 4;

/// In (0, 1); every step is exact.
double uniform(std::uint32_t word) { return (static_cast<double>(word) + 0.5) * 0x1p-32; }

/// Two normals from two words. Everything is in double, whose last bits, which a platform's libm may
/// round differently, the conversion to float all but never lets through.
void box_muller(std::uint32_t word0, std::uint32_t word1, double& z0, double& z1) {
  const double radius = std::sqrt(-2.0 * std::log(uniform(word0)));
  const double angle = 2.0 * std::numbers::pi * uniform(word1);
  z0 = radius * std::cos(angle);
  z1 = radius * std::sin(angle);
}

}  // namespace

std::array<std::uint32_t, 4> philox4x32_10(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key) {
  return philox4x32(kRounds, counter, key);
}

std::array<double, 4> normals_of_words(const std::array<std::uint32_t, 4>& words) {
  std::array<double, kWords> z{};
  box_muller(words[0], words[1], z[0], z[1]);
  box_muller(words[2], words[3], z[2], z[3]);
  return z;
}

std::array<std::uint32_t, 4> philox4x32(int rounds, std::array<std::uint32_t, 4> counter,
                                        std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < rounds; ++round) {
    const std::uint64_t product0 = std::uint64_t{kMultiplier0} * counter[0];
    const std::uint64_t product1 = std::uint64_t{kMultiplier1} * counter[2];
    counter = {static_cast<std::uint32_t>(product1 >> 32) ^ counter[1] ^ key[0], static_cast<std::uint32_t>(product1),
               static_cast<std::uint32_t>(product0 >> 32) ^ counter[3] ^ key[1], static_cast<std::uint32_t>(product0)};
    key[0] += kWeyl0;
    key[1] += kWeyl1;
  }
  return counter;
}

void latent_noise(std::uint64_t seed, std::uint32_t draw, Box<Latent> box, int channels, std::span<float> out) {
  const std::int64_t area = box.size.area();
  if (channels < 0 || box.size.width < 0 || box.size.height < 0 ||
      out.size() != static_cast<std::size_t>(channels) * static_cast<std::size_t>(area)) {
    throw Error(ErrorCode::kUsage, "noise of {} channels x {} x {} does not fit an array of {}", channels,
                box.size.height, box.size.width, out.size());
  }
  const std::array<std::uint32_t, 2> key{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)};
  for (int group = 0; group * kWords < channels; ++group) {
    for (std::int64_t row = 0; row < box.size.height; ++row) {
      for (std::int64_t column = 0; column < box.size.width; ++column) {
        // Coordinates are 32-bit two's complement in the counter.
        const auto words =
            philox4x32_10({static_cast<std::uint32_t>(box.origin.x + column),
                           static_cast<std::uint32_t>(box.origin.y + row), draw, static_cast<std::uint32_t>(group)},
                          key);
        const std::array<double, kWords> z = normals_of_words(words);
        for (int j = 0; j < kWords && group * kWords + j < channels; ++j) {
          const std::int64_t channel = group * kWords + j;
          out[static_cast<std::size_t>(channel * area + row * box.size.width + column)] =
              static_cast<float>(z[static_cast<std::size_t>(j)]);
        }
      }
    }
  }
}

}  // namespace vtissue::models
