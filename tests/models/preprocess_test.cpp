#include "models/preprocess.h"

#include "tests/models/golden.h"

namespace vtissue::models {
namespace {

std::uint32_t crc32(const std::vector<std::uint8_t>& bytes) {
  std::uint32_t crc = 0xffffffff;
  for (const std::uint8_t byte : bytes) {
    crc ^= byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xedb88320 : 0);
  }
  return ~crc;
}

struct Case {
  const char* tile;
  Interpolation interpolation;
};

class PilGolden : public testing::TestWithParam<Case> {};

TEST_P(PilGolden, ResizeIsExact) {
  const auto [tile, interpolation] = GetParam();
  const std::string name =
      std::string(tile) + (interpolation == Interpolation::kBilinear ? "/bilinear_pil" : "/bicubic_pil");
  const StateDict io = golden("preprocess/io.safetensors");
  const at::Tensor input = io.get(std::string(tile) + "/input_u8");
  const nlohmann::json expected = golden_json("preprocess/expected.json")["results"][name];
  const auto resized = resize_rgb(to_bytes(input), static_cast<int>(input.size(0)), static_cast<int>(input.size(1)),
                                  expected["shape"][1].get<int>(), expected["shape"][2].get<int>(), interpolation);
  EXPECT_EQ(crc32(resized), expected["u8_crc32"].get<std::uint32_t>());
  if (io.contains(name + "/resized_u8")) {
    EXPECT_EQ(resized, to_bytes(io.get(name + "/resized_u8")));
  }
}

INSTANTIATE_TEST_SUITE_P(
    Tiles, PilGolden,
    testing::Values(Case{"a", Interpolation::kBilinear}, Case{"a", Interpolation::kBicubic},
                    Case{"b", Interpolation::kBilinear}, Case{"b", Interpolation::kBicubic},
                    Case{"spot160", Interpolation::kBilinear}, Case{"spot160", Interpolation::kBicubic},
                    Case{"small64", Interpolation::kBilinear}, Case{"small64", Interpolation::kBicubic},
                    Case{"odd101x80", Interpolation::kBilinear}, Case{"odd101x80", Interpolation::kBicubic}));

TEST(ResizeRgb, SameSizeIsTheSameImage) {
  std::vector<std::uint8_t> image(5 * 7 * 3);
  for (std::size_t i = 0; i < image.size(); ++i) image[i] = static_cast<std::uint8_t>(i * 37);
  EXPECT_EQ(resize_rgb(image, 5, 7, 5, 7), image);
}

TEST(ResizeRgb, RefusesAnArrayThatDoesNotFit) {
  const std::vector<std::uint8_t> image(10);
  const auto [code, text] = error_of([&] { (void)resize_rgb(image, 2, 2, 4, 4); });
  EXPECT_EQ(code, ErrorCode::kUsage);
  EXPECT_THAT(text, testing::HasSubstr("array of 10"));
  EXPECT_EQ(error_of([&] { (void)resize_rgb(std::span(image).first(3), 1, 1, 0, 4); }).first, ErrorCode::kUsage);
}

TEST(NormalizeRgb, AgreesWithTheReference) {
  const StateDict io = golden("preprocess/io.safetensors");
  const auto resized = to_bytes(io.get("small64/bilinear_pil/resized_u8"));
  std::vector<float> planes(resized.size());
  normalize_rgb(resized, {0.485f, 0.456f, 0.406f}, {0.229f, 0.224f, 0.225f}, planes);
  expect_close(at::tensor(planes).view({3, 56, 56}), io.get("small64/bilinear_pil/normalised"), 1e-6);
}

}  // namespace
}  // namespace vtissue::models
