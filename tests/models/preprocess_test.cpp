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

struct WholeCase {
  const char* tile;
  int height, width;
  int side;
};

class PreprocessGolden : public testing::TestWithParam<WholeCase> {};

/// Everything that is stored of a resized and of a normalised image, whole or every eighth pixel and a corner.
void compare(const StateDict& io, const std::string& name, const at::Tensor& ours, double tolerance) {
  const std::string every8 = name + "_every8";
  if (io.contains(name)) expect_close(ours, io.get(name), tolerance);
  if (io.contains(every8)) expect_close(ours.slice(1, 0, {}, 8).slice(2, 0, {}, 8), io.get(every8), tolerance);
  EXPECT_TRUE(io.contains(name) || io.contains(every8)) << name;
}

TEST_P(PreprocessGolden, BothPathsAgree) {
  const auto [tile, height, width, side] = GetParam();
  const StateDict io = golden("preprocess/io.safetensors");
  const nlohmann::json results = golden_json("preprocess/expected.json")["results"];
  const std::vector<std::uint8_t> input = to_bytes(io.get(std::string(tile) + "/input_u8"));
  const ImageSize size = resized_size({height, width}, side);
  for (const ResizePath path : {ResizePath::kPil, ResizePath::kTensor}) {
    for (const Interpolation interpolation : {Interpolation::kBilinear, Interpolation::kBicubic}) {
      const std::string name = std::string(tile) +
                               (interpolation == Interpolation::kBilinear ? "/bilinear" : "/bicubic") +
                               (path == ResizePath::kPil ? "_pil" : "_tensor");
      SCOPED_TRACE(name);
      const double tolerance = path == ResizePath::kPil ? 1e-6 : 1e-5;
      EXPECT_EQ(size.height, results[name]["shape"][1].get<int>());
      EXPECT_EQ(size.width, results[name]["shape"][2].get<int>());
      Preprocessing how{.path = path, .interpolation = interpolation, .resize_px = side, .crop_px = side};
      std::vector<float> planes(static_cast<std::size_t>(3 * side * side));
      preprocess(input, height, width, how, planes);
      const at::Tensor normalised = at::tensor(planes).view({3, side, side});
      compare(io, name + "/normalised", normalised, tolerance);
      EXPECT_NEAR(normalised.to(at::kDouble).sum().item<double>(), results[name]["normalised_sum"].get<double>(),
                  1e-5 * normalised.abs().sum().item<double>());

      at::Tensor resized;
      if (path == ResizePath::kTensor) {
        resized = at::tensor(resize_planes(input, height, width, size.height, size.width, interpolation))
                      .view({3, size.height, size.width});
      } else {
        const auto bytes = resize_rgb(input, height, width, size.height, size.width, interpolation);
        resized = at::tensor(at::ArrayRef<std::uint8_t>(bytes.data(), bytes.size()))
                      .view({size.height, size.width, 3})
                      .permute({2, 0, 1})
                      .to(at::kFloat) /
                  255;
      }
      compare(io, name + "/resized", resized, tolerance);
      if (io.contains(name + "/corner16")) {
        expect_close(resized.slice(1, -16).slice(2, -16), io.get(name + "/corner16"), tolerance);
      }
      EXPECT_NEAR(resized.min().item<double>(), results[name]["min"].get<double>(), 1e-5);
      EXPECT_NEAR(resized.max().item<double>(), results[name]["max"].get<double>(), 1e-5);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Tiles, PreprocessGolden,
                         testing::Values(WholeCase{"a", 256, 256, 224}, WholeCase{"b", 256, 256, 224},
                                         WholeCase{"spot160", 160, 160, 224}, WholeCase{"small64", 64, 64, 56},
                                         WholeCase{"odd101x80", 101, 80, 56}),
                         [](const auto& test) { return std::string(test.param.tile); });

TEST(Preprocess, OtherFiltersOfPilAreExact) {
  const StateDict io = golden("preprocess/io.safetensors");
  const auto input = to_bytes(io.get("small64/input_u8"));
  EXPECT_EQ(resize_rgb(input, 64, 64, 56, 56, Interpolation::kBox), to_bytes(io.get("small64/box_pil/resized_u8")));
  EXPECT_EQ(resize_rgb(input, 64, 64, 56, 56, Interpolation::kLanczos),
            to_bytes(io.get("small64/lanczos_pil/resized_u8")));
}

TEST(Preprocess, WithoutResizingOnlyNormalises) {
  const StateDict io = golden("preprocess/io.safetensors");
  // The autoencoder takes [-1, 1].
  const auto input = to_bytes(io.get("small64/input_u8"));
  std::vector<float> planes(input.size());
  Preprocessing how{.resize_px = 64, .crop_px = 64, .mean = {0.5f, 0.5f, 0.5f}, .std = {0.5f, 0.5f, 0.5f}};
  preprocess(input, 64, 64, how, planes);
  expect_close(at::tensor(planes).view({3, 64, 64}), io.get("small64/vae_input"), 1e-6);
  how = {.resize_px = 256,
         .crop_px = 256,
         .mean = {0.707223f, 0.578729f, 0.703617f},
         .std = {0.211883f, 0.230117f, 0.177517f}};
  planes.resize(static_cast<std::size_t>(3 * 256 * 256));
  preprocess(to_bytes(io.get("a/input_u8")), 256, 256, how, planes);
  const at::Tensor whole = at::tensor(planes).view({3, 256, 256});
  // Stored of the first 224 rows and columns.
  expect_close(whole.slice(1, 0, 224, 8).slice(2, 0, 224, 8), io.get("a/hoptimus0_normalised_every8_no_resize"), 1e-6);
}

TEST(Preprocess, SidesAndOffsets) {
  EXPECT_EQ(resized_size({80, 101}, 56), (ImageSize{56, 70}));
  EXPECT_EQ(resized_size({101, 80}, 56), (ImageSize{70, 56}));
  EXPECT_EQ(resized_size({7, 7}, 3), (ImageSize{3, 3}));
  EXPECT_EQ(center_crop_offset(70, 56), 7);
  EXPECT_EQ(center_crop_offset(61, 56), 2);  // 2.5
  EXPECT_EQ(center_crop_offset(63, 56), 4);  // 3.5
}

TEST(Preprocess, RefusesWhatDoesNotFit) {
  std::vector<std::uint8_t> image(4 * 4 * 3);
  std::vector<float> planes(3 * 2 * 2);
  EXPECT_EQ(error_of([&] { preprocess(image, 4, 4, {.resize_px = 2, .crop_px = 3}, planes); }).first,
            ErrorCode::kUsage);
  EXPECT_EQ(error_of([&] { preprocess(image, 4, 4, {.resize_px = 3, .crop_px = 3}, planes); }).first,
            ErrorCode::kUsage);
  EXPECT_EQ(error_of([&] { preprocess(image, 4, 5, {.resize_px = 2, .crop_px = 2}, planes); }).first,
            ErrorCode::kUsage);
  EXPECT_EQ(error_of([&] { quantize_rgb(planes, std::span(image).first(9)); }).first, ErrorCode::kUsage);
}

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
