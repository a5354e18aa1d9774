#include "stages/stitch/stitch_stage.h"

#include <gmock/gmock.h>
#include <openslide/openslide.h>

#include <cstdlib>
#include <random>

#include "io/bitmap_font.h"
#include "io/half.h"
#include "io/latent_store.h"
#include "io/pyramid_metadata.h"
#include "io/slide_reader.h"
#include "stages/stitch/overview.h"
#include "stages/stitch/provenance.h"
#include "stages/stitch/slide_cards.h"
#include "stages/stitch/stitch_config.h"
#include "stages/stitch/stitch_names.h"
#include "stages/stitch/synthetic_mark.h"
#include "tests/stages/synthesis_fixture.h"

namespace vtissue::stages {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::array<std::uint8_t, 3> kGlass = {244, 243, 245};

class StitchStageTest : public SynthesisFixture {
 protected:
  pipeline::Bindings inputs() const { return {{"latents", file("latents")}, {"tiles", file("tiles.h5")}}; }
  pipeline::Bindings output(const std::string& name) const { return {{"virtual", file(name)}}; }

  static StitchOptions lossless() { return {.codec = io::PyramidCodec::kDeflate, .generator = "vtissue 9.9"}; }

  /// Latents whose tiles are random colours, one a latent; the pixels that they stand for go to picture_.
  void make_latents() {
    picture_.assign(static_cast<std::size_t>(tiles_.target_size.area()) * 3, 0);
    const io::LatentStoreInfo info{
        .channels = 4,
        .size = 16,
        .tile_px = kTilePx,
        .seed = 42,
        .slide_sha256 = tiles_.slide_sha256,
        .made_by = {{"settings", {{"steps", 20}}}, {"conditions", {{"embed", {{"on_bad_tile", "fail"}}}}}}};
    io::LatentWriter writer(file("latents"), info, tiles_.cells);
    std::mt19937 random(1);
    for (const TileCell cell : tiles_.cells) {
      std::vector<std::uint16_t> values(4 * 16 * 16);
      for (int c = 0; c < 3; ++c) {
        for (int y = 0; y < 16; ++y) {
          for (int x = 0; x < 16; ++x) {
            const auto colour = static_cast<std::uint8_t>(random() % 200);
            values[static_cast<std::size_t>((c * 16 + y) * 16 + x)] = io::float_to_half(colour / 127.5f - 1);
            for (int k = 0; k < 64; ++k) {
              const Point<TargetPx> at = tiles_.origin(cell) + Point<TargetPx>{x * 8 + k % 8, y * 8 + k / 8};
              picture_[static_cast<std::size_t>(at.y * tiles_.target_size.width + at.x) * 3 + c] = colour;
            }
          }
        }
      }
      writer.append(values);
    }
    writer.finish();
  }

  bool in_tile(std::int64_t x, std::int64_t y) const {
    const TileCell cell{static_cast<std::int32_t>(x / kTilePx * 2), static_cast<std::int32_t>(y / kTilePx * 2)};
    return std::ranges::binary_search(tiles_.cells, cell);
  }

  static std::vector<std::uint8_t> read_level(const std::filesystem::path& path, int level, Size<LevelPx> size) {
    const auto slide = io::SlideReader::open(path);
    std::vector<std::uint8_t> rgb(static_cast<std::size_t>(size.area()) * 3);
    slide->read(level, {0, 0}, size, rgb);
    return rgb;
  }

  std::vector<std::uint8_t> picture_;
};

TEST_F(StitchStageTest, StitchOfTilesIsThePictureAndTheNoticeStaysOutside) {
  make_slide(18, 4);  // two blocks, two levels; the tiles meet the border
  make_latents();
  run(StitchStage(lossless(), models::make_null_autoencoder()), inputs(), output("virtual.tiff"));
  const auto slide = io::SlideReader::open(file("virtual.tiff"));
  ASSERT_TRUE(slide->info().mpp);
  EXPECT_DOUBLE_EQ(slide->info().mpp->x, kMpp);
  const std::int64_t width = tiles_.target_size.width, height = tiles_.target_size.height;
  const std::vector<std::uint8_t> rgb = read_level(file("virtual.tiff"), 0, {width, height});
  std::size_t inked = 0, glass = 0;
  for (std::int64_t y = 0; y < height; ++y) {
    for (std::int64_t x = 0; x < width; ++x) {
      const auto at = static_cast<std::size_t>(y * width + x) * 3;
      for (std::size_t c = 0; c < 3; ++c) {
        if (in_tile(x, y)) {
          ASSERT_EQ(rgb[at + c], picture_[at + c]) << x << " " << y;
        } else {
          ASSERT_LE(rgb[at + c], kGlass[c]);
          ASSERT_GE(rgb[at + c], kGlass[c] - 40) << "the notice on glass is pale";
        }
      }
      if (!in_tile(x, y)) ++(rgb[at] < kGlass[0] ? inked : glass);
    }
  }
  EXPECT_GT(inked, 500u);
  EXPECT_GT(glass, 8 * inked);
}

TEST_F(StitchStageTest, SmallLevelsCarryTheNoticeOverTheTissue) {
  make_slide(18, 9);
  tiles_.cells.clear();
  tiles_.tissue_fraction.clear();
  for (int row = 0; row < 9; ++row) {
    for (int column = 0; column < 18; ++column)
      tiles_.cells.push_back({2 * column, 2 * row}), tiles_.tissue_fraction.push_back(1);
  }
  io::write_tiles(file("tiles.h5"), tiles_);
  io::LatentWriter writer(file("latents"),
                          {.channels = 4, .size = 16, .tile_px = kTilePx, .seed = 0, .slide_sha256 = ""}, tiles_.cells);
  for (std::size_t i = 0; i < tiles_.cells.size(); ++i)
    writer.append(std::vector<std::uint16_t>(4 * 256, io::float_to_half(0.4f)));
  writer.finish();
  run(StitchStage(lossless(), models::make_null_autoencoder()), inputs(), output("virtual.tiff"));
  const auto slide = io::SlideReader::open(file("virtual.tiff"));
  const int last = static_cast<int>(slide->info().levels.size()) - 1;
  ASSERT_GE(last, 2);
  const auto darker = [&](int level) {
    const std::vector<std::uint8_t> rgb = read_level(file("virtual.tiff"), level, {200, 128});
    std::size_t count = 0;
    for (const std::uint8_t value : rgb) count += value < 170 ? 1 : 0;
    return count;
  };
  EXPECT_EQ(darker(0), 0u);
  EXPECT_EQ(darker(last - 1), 0u);
  EXPECT_GT(darker(last), 200u);
}

TEST_F(StitchStageTest, ASlideOfOneLevelCarriesTheNoticeOverItsTissueAndInItsThumbnail) {
  make_slide(3, 3);
  tiles_.cells.clear();
  tiles_.tissue_fraction.clear();
  for (int row = 0; row < 3; ++row) {
    for (int column = 0; column < 3; ++column)
      tiles_.cells.push_back({2 * column, 2 * row}), tiles_.tissue_fraction.push_back(1);
  }
  io::write_tiles(file("tiles.h5"), tiles_);
  io::LatentWriter writer(file("latents"),
                          {.channels = 4, .size = 16, .tile_px = kTilePx, .seed = 0, .slide_sha256 = ""}, tiles_.cells);
  for (std::size_t i = 0; i < tiles_.cells.size(); ++i)
    writer.append(std::vector<std::uint16_t>(4 * 256, io::float_to_half(0.4f)));
  writer.finish();
  run(StitchStage(lossless(), models::make_null_autoencoder()), inputs(), output("virtual.tiff"));
  ASSERT_EQ(io::SlideReader::open(file("virtual.tiff"))->info().levels.size(), 1u);
  const auto darker = [](std::span<const std::uint8_t> rgb) {
    return std::ranges::count_if(rgb, [](std::uint8_t value) { return value < 170; });
  };
  EXPECT_GT(darker(read_level(file("virtual.tiff"), 0, {384, 384})), 200);
  openslide_t* const slide = openslide_open(file("virtual.tiff").c_str());
  std::int64_t width = 0, height = 0;
  openslide_get_associated_image_dimensions(slide, "thumbnail", &width, &height);
  ASSERT_EQ(width, 384);
  std::vector<std::uint32_t> argb(static_cast<std::size_t>(width * height));
  openslide_read_associated_image(slide, "thumbnail", argb.data());
  EXPECT_EQ(openslide_get_error(slide), nullptr);
  openslide_close(slide);
  EXPECT_GT(std::ranges::count_if(argb, [](std::uint32_t pixel) { return (pixel & 255) < 170; }), 60);
}

TEST_F(StitchStageTest, RefusesLatentsOfAnotherSlide) {
  make_slide(4, 3);
  make_latents();
  tiles_.slide_sha256 = std::string(64, 'b');
  io::write_tiles(file("tiles.h5"), tiles_);
  const Error error = error_of([&] { StitchStage(lossless(), models::make_null_autoencoder()).preflight(inputs()); });
  EXPECT_EQ(error.code(), ErrorCode::kBadInput);
  EXPECT_THAT(error.what(), HasSubstr("another slide"));
}

TEST_F(StitchStageTest, BytesDoNotDependOnScheduling) {
  make_slide(18, 17);
  make_latents();
  const StitchStage stage({.generator = "vtissue 9.9"}, models::make_null_autoencoder());
  for (const int in_flight : {1, 3, 8}) {
    const std::string n = std::to_string(in_flight);
    run_with(stage, inputs(), output(n + ".tiff"), "work" + n, in_flight);
    EXPECT_EQ(read_bytes(file(n + ".tiff")), read_bytes(file("1.tiff")));
  }
  run_interrupted(stage, inputs(), output("resumed.tiff"), "work-resumed", 1);
  EXPECT_EQ(read_bytes(file("resumed.tiff")), read_bytes(file("1.tiff")));
}

TEST_F(StitchStageTest, TheWholeLineGivesTheSameSlideTwice) {
  make_slide(6, 5);
  embed();
  synthesize();
  const StitchStage stage(lossless(), models::make_null_autoencoder());
  run_with(stage, inputs(), output("a.tiff"), "work-a", 1);
  std::filesystem::remove_all(file("latents"));
  std::filesystem::remove(file("features.h5"));
  std::filesystem::remove_all(file("embed"));
  std::filesystem::remove_all(file("synthesize"));
  embed();
  synthesize();
  run_with(stage, inputs(), output("b.tiff"), "work-b", 8);
  EXPECT_EQ(read_bytes(file("a.tiff")), read_bytes(file("b.tiff")));
}

TEST_F(StitchStageTest, MetadataSaysSyntheticAndNamesNoPath) {
  make_slide(4, 3);
  make_latents();
  StitchOptions options = lossless();
  options.provenance = {{"weights", {{"denoiser", "dd"}}},
                        {"configuration", {{"synthesize", {{"steps", 987}}}, {"tile", {{"size_px", 4}}}}}};
  tiles_.settings = R"({"size_px": 64})";
  io::write_tiles(file("tiles.h5"), tiles_);
  options.numerics_class = "cpu/test";
  run(StitchStage(options, models::make_null_autoencoder()), inputs(), output("virtual.tiff"));
  const nlohmann::json provenance = nlohmann::json::parse(io::read_provenance(file("virtual.tiff")));
  EXPECT_EQ(provenance["synthetic"], true);
  EXPECT_EQ(provenance["seed"], 42);
  // What this run is configured to says nothing of how its inputs were made.
  EXPECT_EQ(provenance["configuration"]["tile"]["size_px"], 64);
  EXPECT_EQ(provenance["configuration"]["embed"]["on_bad_tile"], "fail");
  EXPECT_EQ(provenance["configuration"]["synthesize"]["steps"], 20);
  EXPECT_EQ(provenance["weights"]["denoiser"], "dd");
  EXPECT_EQ(provenance["source_slide_sha256"], tiles_.slide_sha256);
  EXPECT_EQ(provenance["numerics_class"], "cpu/test");
  const std::string bytes = read_bytes(file("virtual.tiff"));
  EXPECT_THAT(bytes, Not(HasSubstr(folder_.string())));
  EXPECT_THAT(bytes, Not(HasSubstr("slide.tif")));
  EXPECT_THAT(bytes, HasSubstr("Synthetic = 1|Seed = 42"));
}

TEST_F(StitchStageTest, EveryProfileSaysSyntheticAndGlassIsStoredOnce) {
  make_slide(40, 30);
  tiles_.cells = {{0, 0}, {2, 0}};  // the rest is glass
  tiles_.tissue_fraction = {1, 1};
  io::write_tiles(file("tiles.h5"), tiles_);
  make_latents();
  for (const auto& [name, profile] : pyramid_profiles()) {
    StitchOptions options{.profile = profile, .generator = "vtissue 9.9"};
    run_with(StitchStage(options, models::make_null_autoencoder()), inputs(), output("virtual.tiff"),
             "work-" + std::string(name), 2);
    EXPECT_EQ(nlohmann::json::parse(io::read_provenance(file("virtual.tiff")))["synthetic"], true) << name;
    const std::string bytes = read_bytes(file("virtual.tiff"));
    EXPECT_THAT(bytes, HasSubstr(profile == io::PyramidProfile::kGeneric ? "\"Synthetic\":\"1\""
                                 : profile == io::PyramidProfile::kOme   ? "<M K=\"Synthetic\">1</M>"
                                                                         : "|Synthetic = 1|"));
    EXPECT_LT(bytes.size(), 800000u) << name << ": 300 tiles of glass with the notice";
  }
}

TEST_F(StitchStageTest, TheFilesLabelAndMacroAreTheCards) {
  make_slide(4, 3);
  make_latents();
  run(StitchStage(lossless(), models::make_null_autoencoder()), inputs(), output("virtual.tiff"));
  openslide_t* const slide = openslide_open(file("virtual.tiff").c_str());
  ASSERT_NE(slide, nullptr);
  const io::RgbImage label = draw_label({"vtissue 9.9", 42, kMpp});
  std::int64_t width = 0, height = 0;
  openslide_get_associated_image_dimensions(slide, "label", &width, &height);
  EXPECT_EQ(width, label.size.width);
  EXPECT_EQ(height, label.size.height);
  ASSERT_EQ(openslide_get_error(slide), nullptr);
  std::vector<std::uint32_t> argb(static_cast<std::size_t>(label.size.area()));
  openslide_read_associated_image(slide, "label", argb.data());
  double difference = 0;
  for (std::size_t i = 0; i < argb.size(); ++i) {
    difference += std::abs(static_cast<int>(argb[i] >> 8 & 255) - static_cast<int>(label.rgb[i * 3 + 1]));
  }
  EXPECT_LT(difference / static_cast<double>(argb.size()), 2);
  openslide_get_associated_image_dimensions(slide, "macro", &width, &height);
  EXPECT_EQ(width, 3 * height);
  openslide_close(slide);
}

TEST_F(StitchStageTest, RefusesLatentsOfOtherTilesOrAnotherDecoder) {
  make_slide(4, 3);
  make_latents();
  const StitchStage wrong(lossless(), models::make_null_autoencoder(16));
  const Error model = error_of([&] { wrong.preflight(inputs()); });
  EXPECT_EQ(model.code(), ErrorCode::kModel);
  EXPECT_THAT(model.what(), HasSubstr("latents of 4 channels"));
  tiles_.cells.pop_back();
  tiles_.tissue_fraction.pop_back();
  io::write_tiles(file("tiles.h5"), tiles_);
  const StitchStage stage(lossless(), models::make_null_autoencoder());
  const Error tiles = error_of([&] { stage.preflight(inputs()); });
  EXPECT_EQ(tiles.code(), ErrorCode::kBadInput);
  EXPECT_THAT(tiles.what(), HasSubstr("not the same ones"));
}

TEST(SlideCardTest, TheLabelReadsTheNotice) {
  const io::RgbImage label = draw_label({"vtissue 9.9", 42, 0.5});
  // The notice drawn alone, in each size it could have, is looked for at the label's top left.
  bool found = false;
  for (double cap = 40; cap >= 10 && !found; cap -= 0.5) {
    const io::TextStyle style{.cap_height_px = cap, .color = {122, 47, 99}};
    const Size<TargetPx> size = io::text_size("SYNTHETIC – NOT FOR DIAGNOSIS", style);
    if (size.width > label.size.width - 24) continue;
    io::RgbImage words{size, std::vector<std::uint8_t>(static_cast<std::size_t>(size.area()) * 3, 255)};
    io::draw_text(words, {0, 0}, "SYNTHETIC – NOT FOR DIAGNOSIS", style);
    // Where a line lies moves its edges by a rounding, so that a grey level may differ by one or two.
    const auto alike = [](std::uint8_t a, std::uint8_t b) { return std::abs(a - b) <= 2; };
    bool equal = true;
    for (std::int64_t y = 0; y < size.height && equal; ++y) {
      equal = std::equal(words.rgb.begin() + y * size.width * 3, words.rgb.begin() + (y + 1) * size.width * 3,
                         label.rgb.begin() + ((24 + y) * label.size.width + 24) * 3, alike);
    }
    found = equal;
  }
  EXPECT_TRUE(found);
}

TEST(SyntheticMarkTest, GlassIsAFunctionOfThePositionAlone) {
  std::vector<std::uint8_t> whole(600 * 400 * 3), part(100 * 50 * 3);
  fill_glass({0, 0}, {600, 400}, {244, 243, 245}, whole);
  fill_glass({311, 77}, {100, 50}, {244, 243, 245}, part);
  for (std::size_t y = 0; y < 50; ++y) {
    ASSERT_TRUE(std::equal(part.begin() + static_cast<std::ptrdiff_t>(y * 300),
                           part.begin() + static_cast<std::ptrdiff_t>((y + 1) * 300),
                           whole.begin() + static_cast<std::ptrdiff_t>(((77 + y) * 600 + 311) * 3)));
  }
}

TEST(SyntheticMarkTest, StartsAtADownsampleOfEightOrTheLastLevel) {
  EXPECT_EQ(first_marked_level(1), 0);
  EXPECT_EQ(first_marked_level(2), 1);
  EXPECT_EQ(first_marked_level(3), 2);
  EXPECT_EQ(first_marked_level(4), 3);
  EXPECT_EQ(first_marked_level(9), 3);
}

TEST(OverviewTest, AConstantStaysConstantAndBlocksFindTheirPlace) {
  Overview overview({3000, 100}, 2048);
  EXPECT_EQ(overview.factor(), 4);
  const auto block = [&](std::uint8_t value) {
    return overview.shrink(std::vector<std::uint8_t>(2048 * 2048 * 3, value));
  };
  overview.place(0, 0, block(10));
  overview.place(1, 0, block(20));
  const io::RgbImage& picture = overview.picture();
  EXPECT_EQ(picture.size, (Size<TargetPx>{750, 25}));
  for (std::size_t i = 0; i < picture.rgb.size(); ++i) ASSERT_EQ(picture.rgb[i], i / 3 % 750 < 512 ? 10 : 20);
  const io::RgbImage fitted = fit_picture(picture, {75, 75});
  EXPECT_EQ(fitted.size, (Size<TargetPx>{75, 2}));
  EXPECT_EQ(fitted.rgb.front(), 10);
  EXPECT_EQ(fitted.rgb.back(), 20);
}

TEST(ProvenanceTest, PathsAreFound) {
  for (const char* path : {"/data/x", "./x", "~/x", "C:\\x", "../x", "TCGA-1.svs", "weights/model.safetensors"}) {
    EXPECT_THROW(require_no_paths({{"a", {{"b", {1, path}}}}}), std::logic_error) << path;
    EXPECT_THROW(StitchStage({.provenance = {{"slide", path}}}, models::make_null_autoencoder()), std::logic_error)
        << path;
  }
  require_no_paths({{"numerics_class", "cpu/avx2/f32"}, {"n", 1}, {"list", {"flow", "dpmpp"}}});
}

TEST(ProvenanceTest, ThePublicConfigurationHasNoPaths) {
  pipeline::ConfigSchema schema;
  schema.add(stitch_config_keys());
  schema.add({.name = "models.denoiser",
              .type = pipeline::ValueType::kPath,
              .default_value = nullptr,
              .description = "folder"});
  pipeline::Config config = pipeline::Config::defaults(schema);
  config.set("models.denoiser=/secret/patient");
  const nlohmann::json shown = public_configuration(config);
  EXPECT_EQ(shown.dump().find("secret"), std::string::npos);
  EXPECT_EQ(shown["stitch"]["quality"], 90);
}

TEST(StitchConfigTest, WhatIsWrittenIsChosenByName) {
  pipeline::ConfigSchema schema;
  schema.add(stitch_config_keys());
  pipeline::Config config = pipeline::Config::defaults(schema);
  const StitchOptions plain = stitch_options(config);
  EXPECT_EQ(plain.profile, io::PyramidProfile::kSvs);
  EXPECT_EQ(plain.codec, io::PyramidCodec::kJpeg);
  EXPECT_EQ(plain.sampling, io::ChromaSampling::k444);
  EXPECT_TRUE(plain.icc_profile.empty());
  for (const char* setting : {"stitch.profile=ome", "stitch.codec=jpeg2000", "stitch.quality=70",
                              "stitch.subsampling=\"4:2:0\"", "stitch.icc_profile=srgb"}) {
    config.set(setting);
  }
  const StitchOptions chosen = stitch_options(config);
  EXPECT_EQ(chosen.profile, io::PyramidProfile::kOme);
  EXPECT_EQ(chosen.codec, io::PyramidCodec::kJpeg2000);
  EXPECT_EQ(chosen.quality, 70);
  EXPECT_EQ(chosen.sampling, io::ChromaSampling::k420);
  EXPECT_GT(chosen.icc_profile.size(), 400u);
  config.set("stitch.profile=generic");
  EXPECT_THAT(error_of([&] { stitch_options(config); }).what(), HasSubstr("choose the profile svs or ome"));
  config.set("stitch.codec=zstd");
  EXPECT_NO_THROW(stitch_options(config));
  config.set("stitch.icc_profile=/nowhere/p3.icc");
  EXPECT_THAT(error_of([&] { stitch_options(config); }).what(), HasSubstr("no such colour profile"));
}

TEST(StitchConfigTest, BackgroundIsChecked) {
  pipeline::ConfigSchema schema;
  schema.add(stitch_config_keys());
  pipeline::Config config = pipeline::Config::defaults(schema);
  EXPECT_EQ(stitch_options(config).background, kGlass);
  config.set("stitch.background=[255, 255]");
  EXPECT_EQ(error_of([&] { stitch_options(config); }).code(), ErrorCode::kUsage);
  config.set("stitch.background=[255, 10, 255]");
  EXPECT_THAT(error_of([&] { stitch_options(config); }).what(), HasSubstr("10 is not in 128..255"));
}

}  // namespace
}  // namespace vtissue::stages
