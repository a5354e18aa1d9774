#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/safetensors.h"
#include "models/training/random.h"

namespace vtissue::models::training {

/// A folder that is removed with its content.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    path_ = std::filesystem::temp_directory_path() /
            (std::string("vtissue-") + test->test_suite_name() + "-" + test->name() + "-" + std::to_string(::getpid()));
    std::filesystem::remove_all(path_);
    std::filesystem::create_directories(path_);
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// A training set of three small sections with coloured stripes; the expression of gene 0 follows the stripes' phase.
/// Two sections train, with spots; the third is held out, with spots.
inline std::filesystem::path write_toy_set(const std::filesystem::path& folder, int genes = 6) {
  constexpr int kSide = 192;
  constexpr int kSpots = 9;
  std::vector<std::vector<std::byte>> storage;
  std::vector<SafetensorsOutput> tensors;
  const auto add = [&](const std::string& name, const std::string& dtype, std::vector<std::int64_t> shape,
                       auto values) {
    const auto bytes = std::as_bytes(std::span(values));
    storage.emplace_back(bytes.begin(), bytes.end());
    tensors.push_back({name, dtype, std::move(shape), {}});
  };
  nlohmann::json info{
      {"format", 1}, {"mpp", 0.7}, {"genes", nlohmann::json::array()}, {"sections", nlohmann::json::array()}};
  for (int g = 0; g < genes; ++g) info["genes"].push_back("G" + std::to_string(g));
  for (int s = 0; s < 3; ++s) {
    info["sections"].push_back({{"name", "toy-" + std::to_string(s)},
                                {"split", s == 2 ? "val" : "train"},
                                {"spots", kSpots},
                                {"license", "none"},
                                {"source", "generated"}});
    const auto colour = [&](int x, int y, int c) {
      return 140.0 + 80.0 * std::sin(0.05 * (x + s * 40) + c) * std::cos(0.21 * y);
    };
    std::vector<std::uint8_t> rgb;
    for (int y = 0; y < kSide; ++y) {
      for (int x = 0; x < kSide; ++x) {
        for (int c = 0; c < 3; ++c) rgb.push_back(static_cast<std::uint8_t>(std::lround(colour(x, y, c))));
      }
    }
    const std::string prefix = "section/" + std::to_string(s) + "/";
    add(prefix + "rgb", "U8", {kSide, kSide, 3}, rgb);
    std::vector<std::uint8_t> mask(144, 1);
    for (int i = 0; i < 12; ++i) mask[static_cast<std::size_t>(i)] = 0;  // no tissue in the first 16 rows of pixels
    add(prefix + "mask", "U8", {12, 12}, mask);
    std::vector<float> xy;
    std::vector<float> counts;
    std::vector<float> total;
    for (int i = 0; i < kSpots; ++i) {
      xy.push_back(static_cast<float>(48 + i % 3 * 48));
      xy.push_back(static_cast<float>(64 + i / 3 * 40));
      RandomStream random(7, Purpose::kCounts, static_cast<std::uint32_t>(s), static_cast<std::uint32_t>(i));
      const double phase = std::sin(0.05 * (xy[xy.size() - 2] + static_cast<float>(s) * 40.0f));
      for (int g = 0; g < genes; ++g) {
        counts.push_back(static_cast<float>(std::lround(20 + 15 * phase * (g % 2 == 0 ? 1 : -1)) + random.below(4)));
      }
      total.push_back(400.0f);
    }
    add(prefix + "spots_xy", "F32", {kSpots, 2}, xy);
    add(prefix + "counts", "F32", {kSpots, genes}, counts);
    add(prefix + "total", "F32", {kSpots}, total);
  }
  for (std::size_t i = 0; i < tensors.size(); ++i) tensors[i].data = storage[i];
  const auto path = folder / "toy.safetensors";
  write_safetensors(path, tensors, {{"info", info.dump()}});
  return path;
}

}  // namespace vtissue::models::training
