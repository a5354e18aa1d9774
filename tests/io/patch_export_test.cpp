// Tiles and features as CLAM and TRIDENT have them, read by what their own readers do.

#include "io/patch_export.h"

#include <gmock/gmock.h>

#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "core/torch_file.h"
#include "io/feature_store.h"
#include "io/tile_reader.h"
#include "store_test_support.h"
#include "tests/support/synthetic_slide.h"
#include "tests/support/test_readers.h"

namespace vtissue::io {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr double kSlideMpp = 0.5, kTargetMpp = 0.7;
constexpr int kTilePx = 64, kDim = 6;

float feature_of(std::size_t row, int k) { return static_cast<float>(row) + 0.125f * static_cast<float>(k); }

/// A slide, its tiles and their features; tile 1 has none.
class PatchExportTest : public ::testing::Test {
 protected:
  PatchExportTest() {
    picture_ = testing::tissue_picture({700, 500}, kSlideMpp);
    testing::write_slide(folder_ / "S-1.svs", picture_, kSlideMpp);
    const auto slide = SlideReader::open(folder_ / "S-1.svs");
    tiles_.tile_px = kTilePx;
    tiles_.target_mpp = kTargetMpp;
    tiles_.source_mpp = slide->info().mpp->x;
    tiles_.mpp_source = "openslide.mpp-x";
    tiles_.slide_size = {700, 500};
    tiles_.target_size = size_at(tiles_.slide_size, tiles_.source_mpp, kTargetMpp);
    tiles_.slide_sha256 = std::string(64, 'a');
    tiles_.mask = {1};
    tiles_.mask_size = {1, 1};
    tiles_.mask_mpp = 350;
    tiles_.cells = {{2, 0}, {4, 0}, {4, 2}, {6, 4}};
    tiles_.tissue_fraction.assign(4, 1);
    write_stores();
  }

  void write_stores() {
    write_tiles(folder_ / "tiles.h5", tiles_);
    FeatureWriter writer(folder_ / "features.h5", tiles_.cells, tiles_.slide_sha256, "{}", tiles_.grid());
    for (const int vectors : {1, 2}) {
      writer.begin_set({.name = vectors == 1 ? "morphology" : "predictor",
                        .encoder = "uni2h",
                        .encoder_sha256 = "ee",
                        .geometry = "tile",
                        .vectors = vectors,
                        .dim = kDim});
      std::vector<float> values;
      for (std::size_t row = 0; row < tiles_.cells.size(); ++row) {
        for (int k = 0; k < kDim * vectors; ++k) values.push_back(k < kDim ? feature_of(row, k) : -1);
      }
      writer.append(values, std::vector<std::uint8_t>{1, 0, 1, 1});
    }
    writer.finish();
  }

  PatchExport run(PatchTool tool, bool with_levels = true) const {
    PatchExportOptions options{.tool = tool, .name = "S-1"};
    if (with_levels) options.levels = SlideReader::open(folder_ / "S-1.svs")->info().levels;
    return export_patches(folder_ / "tiles.h5", folder_ / "features.h5", folder_ / "out", options,
                          [] { return false; });
  }

  std::array<double, 3> colour_of(TileCell cell) const {
    const TileReader reader(SlideReader::open(folder_ / "S-1.svs"), kTargetMpp);
    const std::vector<std::uint8_t> rgb = reader.read({tiles_.origin(cell), {kTilePx, kTilePx}});
    std::array<double, 3> mean{};
    for (std::size_t i = 0; i < rgb.size(); ++i) mean[i % 3] += rgb[i] / (kTilePx * kTilePx * 1.0);
    return mean;
  }

  /// The same tissue where the other reader looks.
  void expect_colours(const nlohmann::json& seen) const {
    ASSERT_EQ(seen.size(), tiles_.cells.size());
    for (std::size_t i = 0; i < tiles_.cells.size(); ++i) {
      for (std::size_t c = 0; c < 3; ++c) {
        EXPECT_NEAR(seen[i][c].get<double>(), colour_of(tiles_.cells[i])[c], 2.0) << i;
      }
    }
  }

  void expect_features(const nlohmann::json& seen) const {
    EXPECT_EQ(seen["shape"], nlohmann::json({3, kDim}));
    EXPECT_EQ(seen["dtype"], "float32");
    std::size_t at = 0;
    for (const std::size_t row : {0u, 2u, 3u}) {
      for (int k = 0; k < kDim; ++k) EXPECT_EQ(seen["rows"][at][static_cast<std::size_t>(k)], feature_of(row, k));
      const Point<Level0Px> corner = tiles_.level0_origin(tiles_.cells[row]);
      EXPECT_EQ(seen["coords"][at], nlohmann::json({corner.x, corner.y}));
      ++at;
    }
  }

  nlohmann::json read_with_python(const std::string& arguments) const {
    const testing::ShellResult result =
        testing::run_in_shell(python() + " " + VTISSUE_SOURCE_DIR + "/tests/io/read_patches.py " + arguments);
    EXPECT_EQ(result.exit_code, 0) << result.out;
    return nlohmann::json::parse(result.out, nullptr, false);
  }

  static std::string python() {
    const char* chosen = std::getenv("VTISSUE_TEST_PYTHON");
    return chosen != nullptr ? chosen : testing::test_readers_python();
  }

  std::string path(const std::string& name) const { return (folder_ / "out" / name).string(); }

  TemporaryFolder folder_;
  RgbImage picture_;
  TileSet tiles_;
};

TEST_F(PatchExportTest, FilesLieWhereTheToolsLookForThem) {
  const PatchExport clam = run(PatchTool::kClam);
  EXPECT_EQ(clam.files,
            (std::vector<fs::path>{path("patches/S-1.h5"), path("h5_files/S-1.h5"), path("pt_files/S-1.pt")}));
  EXPECT_EQ(clam.patches, 4u);
  EXPECT_EQ(clam.without_features, 1u);
  const std::string folder = "14.29x_64px_0px_overlap/";
  EXPECT_EQ(run(PatchTool::kTrident).files,
            (std::vector<fs::path>{path(folder + "patches/S-1_patches.h5"), path(folder + "features_uni2h/S-1.h5")}));
  for (const auto& entry : fs::recursive_directory_iterator(folder_ / "out")) {
    EXPECT_THAT(entry.path().filename().string(), ::testing::Not(::testing::StartsWith("."))) << "a temporary file";
  }
}

TEST_F(PatchExportTest, TheTensorHasTheRowsOfTheFeatures) {
  run(PatchTool::kClam);
  const TorchFile file = TorchFile::open(path("pt_files/S-1.pt"));
  ASSERT_EQ(file.tensors().size(), 1u);
  EXPECT_EQ(file.tensors()[0].shape, (std::vector<std::int64_t>{3, kDim}));
  std::vector<float> values(3 * kDim);
  file.read(0, std::as_writable_bytes(std::span(values)));
  EXPECT_EQ(values[kDim], feature_of(2, 0));
}

TEST_F(PatchExportTest, ClamsOwnReaderSeesTheTiles) {
  if (python().empty()) GTEST_SKIP() << "no second set of readers (tools/get-test-readers.sh)";
  run(PatchTool::kClam);
  const nlohmann::json seen = read_with_python("clam " + (folder_ / "S-1.svs").string() + " " + path("patches/S-1.h5") +
                                               " " + path("h5_files/S-1.h5") + " " + path("pt_files/S-1.pt"));
  ASSERT_TRUE(seen.is_object());
  for (const char* name :
       {"patch_size", "patch_level", "downsample", "downsampled_level_dim", "level_dim", "name", "save_path"}) {
    EXPECT_TRUE(seen["attrs"].contains(name)) << name;
  }
  EXPECT_EQ(seen["attrs"]["patch_level"], 0);
  EXPECT_EQ(seen["attrs"]["patch_size"], std::lround(kTilePx * kTargetMpp / kSlideMpp));
  EXPECT_EQ(seen["attrs"]["level_dim"], nlohmann::json({700, 500}));
  EXPECT_EQ(seen["attrs"]["name"], "S-1");
  EXPECT_EQ(seen["side"], nlohmann::json({90, 90}));
  EXPECT_EQ(seen["coords_dtype"], "int64");
  EXPECT_EQ(seen["grown"], 6);
  EXPECT_GT(seen["chunk"][0], 1);
  expect_colours(seen["colours"]);
  expect_features(seen["features"]);
  EXPECT_EQ(seen["features"]["coords_dtype"], "int32");
  EXPECT_EQ(seen["tensor"]["rows"], seen["features"]["rows"]);
  EXPECT_EQ(seen["tensor"]["dtype"], "float32");
}

TEST_F(PatchExportTest, TridentsOwnReaderSeesTheTiles) {
  if (python().empty()) GTEST_SKIP() << "no second set of readers (tools/get-test-readers.sh)";
  run(PatchTool::kTrident);
  const std::string folder = "14.29x_64px_0px_overlap/";
  const nlohmann::json seen =
      read_with_python("trident " + (folder_ / "S-1.svs").string() + " " + path(folder + "patches/S-1_patches.h5") +
                       " " + path(folder + "features_uni2h/S-1.h5"));
  ASSERT_TRUE(seen.is_object());
  const nlohmann::json& attrs = seen["attrs"];
  EXPECT_EQ(attrs["patch_size"], kTilePx);
  EXPECT_EQ(attrs["patch_size_level0"], 90);
  EXPECT_EQ(attrs["level0_magnification"], 20);
  EXPECT_NEAR(attrs["target_magnification"].get<double>(), 20 / 1.4, 1e-3);
  EXPECT_EQ(attrs["overlap"], 0);
  EXPECT_EQ(attrs["level0_width"], 700);
  EXPECT_EQ(attrs["level0_height"], 500);
  EXPECT_EQ(seen["patch_size_src"], 90);
  EXPECT_EQ(seen["grown"], 6);
  expect_colours(seen["colours"]);
  expect_features(seen["features"]);
  EXPECT_EQ(seen["features"]["features_attrs"]["encoder"], "uni2h");
  EXPECT_EQ(seen["features"]["coords_attrs"], attrs);
}

TEST_F(PatchExportTest, NoPathOfTheMachineIsInAFile) {
  for (const PatchTool tool : {PatchTool::kClam, PatchTool::kTrident}) {
    for (const fs::path& file : run(tool).files) {
      std::ifstream stream(file, std::ios::binary);
      const std::string bytes{std::istreambuf_iterator<char>(stream), {}};
      EXPECT_EQ(bytes.find(folder_.path().string()), std::string::npos) << file;
    }
  }
}

TEST_F(PatchExportTest, ClamIsSentToTheLevelThatFits) {
  const std::vector<SlideLevel> levels = {{{700, 500}, 1}, {{350, 250}, 2}, {{175, 125}, 4}};
  tiles_.target_mpp = 1.2;
  const PatchLayout layout = patch_layout(tiles_, {.levels = levels});
  EXPECT_EQ(layout.level, 1);
  EXPECT_EQ(layout.downsample, 2);
  EXPECT_EQ(layout.level_size, (Size<LevelPx>{350, 250}));
  EXPECT_EQ(patch_layout(tiles_, {}).level, 0);
}

TEST_F(PatchExportTest, OverlapIsStated) {
  tiles_.lattice = TileLattice{.stride_px = 48, .cell_px = 24};
  write_stores();
  const PatchExport done = run(PatchTool::kTrident);
  EXPECT_THAT(done.files[0].string(), HasSubstr("14.29x_64px_16px_overlap/"));
  const PatchCoordinates read = read_patch_coordinates(done.files[0]);
  EXPECT_EQ(read.stride_px, 90 - std::round(16 * 90.0 / 64));
  EXPECT_EQ(read.corners[0], (Point<Level0Px>{std::lround(48 * tiles_.scale()), 0}));
}

TEST_F(PatchExportTest, RefusesWhatDoesNotFit) {
  const auto stopped = [] { return false; };
  const auto export_named = [&](const std::string& name, const std::string& set) {
    export_patches(folder_ / "tiles.h5", folder_ / "features.h5", folder_ / "out",
                   {.tool = PatchTool::kClam, .name = name, .set = set}, stopped);
  };
  EXPECT_EQ(error_of([&] { export_named("", "morphology"); }).code(), ErrorCode::kUsage);
  EXPECT_EQ(error_of([&] { export_named("a/b", "morphology"); }).code(), ErrorCode::kUsage);
  EXPECT_THAT(error_of([&] { export_named("a", "genes"); }).what(), HasSubstr("has no feature set 'genes'"));
  EXPECT_FALSE(fs::exists(folder_ / "out"));
  tiles_.cells.pop_back();
  tiles_.tissue_fraction.pop_back();
  write_tiles(folder_ / "tiles.h5", tiles_);
  EXPECT_THAT(error_of([&] { export_named("a", "morphology"); }).what(), HasSubstr("made for other tiles"));
  write_tiles(folder_ / "tiles.h5", tiles_);
  EXPECT_EQ(error_of([&] {
              export_patches(folder_ / "tiles.h5", {}, folder_ / "tiles.h5" / "out",
                             {.tool = PatchTool::kClam, .name = "a"}, stopped);
            }).code(),
            ErrorCode::kOutput);
}

TEST_F(PatchExportTest, AStopLeavesNoHalfFile) {
  const auto error = error_of([&] {
    export_patches(folder_ / "tiles.h5", folder_ / "features.h5", folder_ / "out",
                   {.tool = PatchTool::kClam, .name = "a"}, [] { return true; });
  });
  EXPECT_EQ(error.code(), ErrorCode::kInterrupted);
  EXPECT_FALSE(fs::exists(folder_ / "out" / "h5_files" / "a.h5"));
}

}  // namespace
}  // namespace vtissue::io
