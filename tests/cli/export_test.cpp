// A run's tiles and features out to CLAM's and TRIDENT's files and in again, and tiles for QuPath.

#include <nlohmann/json.hpp>

#include "io/feature_store.h"
#include "io/tile_store.h"
#include "line_fixture.h"

namespace vtissue::testing {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

class ExportTest : public LineTest {
 protected:
  void SetUp() override {
    const ProgramResult result = run_program(arguments(work_ / "out"));
    ASSERT_EQ(result.exit_code, 0) << result.err;
  }

  std::string out() const { return (work_ / "out").string(); }
  std::string file(const std::string& name) const { return (work_ / name).string(); }

  static std::vector<std::string> lines(const std::string& text) {
    std::vector<std::string> result;
    std::istringstream stream(text);
    for (std::string line; std::getline(stream, line);) result.push_back(line);
    return result;
  }

  static std::vector<float> features(const std::filesystem::path& path) {
    const io::FeatureReader reader(path);
    std::vector<float> values;
    std::vector<std::uint8_t> valid;
    reader.read("morphology", 0, reader.cells().size(), values, valid);
    return values;
  }
};

TEST_F(ExportTest, PatchesGoOutAndComeInAgain) {
  for (const std::string tool : {"clam", "trident"}) {
    const ProgramResult result = run_program({"export", tool, out(), "--out", file(tool), "--slide", slide().string()});
    ASSERT_EQ(result.exit_code, 0) << result.err;
    const std::vector<std::string> paths = lines(result.out);
    ASSERT_EQ(paths.size(), tool == "clam" ? 3u : 2u);
    EXPECT_THAT(paths[1], ::testing::EndsWith("/slide.h5"));

    const ProgramResult tile = run_program({"tile", "--slide", slide().string(), "--config", null_config(),
                                            "--coordinates", paths[0], "--out", file(tool + "-tiles.h5")});
    ASSERT_EQ(tile.exit_code, 0) << tile.err;
    const io::TileSet before = io::read_tiles(work_ / "out" / "tiles.h5");
    const io::TileSet after = io::read_tiles(work_ / (tool + "-tiles.h5"));
    EXPECT_EQ(after.cells, before.cells);
    EXPECT_EQ(after.target_mpp, before.target_mpp);
    EXPECT_EQ(after.tissue_fraction.size(), before.tissue_fraction.size());
    for (std::size_t i = 0; i < before.tissue_fraction.size(); ++i) {
      EXPECT_NEAR(after.tissue_fraction[i], before.tissue_fraction[i], 1e-5);
    }
    const ProgramResult embed =
        run_program({"embed", "--slide", slide().string(), "--tiles", file("out/tiles.h5"), "--config", null_config(),
                     "--patch-features", paths[1], "--out", file(tool + "-features.h5")});
    ASSERT_EQ(embed.exit_code, 0) << embed.err;
    EXPECT_EQ(features(work_ / (tool + "-features.h5")), features(work_ / "out" / "features.h5"));
  }
}

TEST_F(ExportTest, ARunTakesFeaturesAndSaysSoInTheSlide) {
  ASSERT_EQ(run_program({"export", "clam", out(), "--out", file("clam"), "--name", "s", "--no-pt"}).exit_code, 0);
  const ProgramResult result =
      run_program(arguments(work_ / "given", {"--set", "embed.patch_features=" + file("clam/h5_files/s.h5")}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const ProgramResult seen = run_program({"inspect", file("given/virtual.tiff"), "--json"});
  const json provenance = json::parse(seen.out).at("provenance");
  EXPECT_EQ(provenance.at("configuration").at("embed").at("patch_features").at("sha256"),
            sha256_file(work_ / "clam/h5_files/s.h5"));
  EXPECT_THAT(provenance.dump(), ::testing::Not(HasSubstr(work_.path().filename().string())));
}

TEST_F(ExportTest, TilesForQuPath) {
  const ProgramResult result =
      run_program({"export", "geojson", out(), "--out", file("a.geojson"), "--metrics", "--slide", slide().string()});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  std::ifstream stream(work_ / "a.geojson");
  const json seen = json::parse(stream);
  const io::TileSet tiles = io::read_tiles(work_ / "out" / "tiles.h5");
  ASSERT_EQ(seen["features"].size(), tiles.cells.size());
  const json& measurements = seen["features"][0]["properties"]["measurements"];
  for (const char* name : {"Tissue fraction", "Colour difference", "Gradient energy ratio", "Virtual red"}) {
    EXPECT_TRUE(measurements.contains(name)) << name;
  }
  const ProgramResult gene =
      run_program({"export", "geojson", out(), "--out", file("b.geojson"), "--genes", "NO_GENE"});
  EXPECT_EQ(gene.exit_code, 2);
  EXPECT_THAT(gene.err, HasSubstr("has no gene 'NO_GENE'"));
}

TEST_F(ExportTest, WhatCannotBeIsSaidBeforeAnythingRuns) {
  const auto refused = [&](const std::vector<std::string>& more, int code, const std::string& message) {
    const ProgramResult result = run_program(arguments(work_ / "no", more));
    EXPECT_EQ(result.exit_code, code);
    EXPECT_THAT(result.err, HasSubstr(message));
    EXPECT_FALSE(std::filesystem::exists(work_ / "no" / "tiles.h5"));
  };
  refused({"--set", "tile.overlap_px=16"}, 2, "synthesis takes tiles side by side");
  refused({"--set", "tile.shift=half"}, 2, "synthesize.mode = independent");
  refused({"--set", "tile.coordinates=" + file("none.h5")}, 3, "none.h5");
  EXPECT_EQ(run_program({"export", "clam", file("nothing"), "--out", file("x")}).exit_code, 3);
  EXPECT_EQ(run_program({"export", "geojson", out(), "--out", file("x.geojson"), "--metrics"}).exit_code, 2);
}

TEST_F(ExportTest, HalfShiftedRunsWorkTileByTile) {
  const ProgramResult result =
      run_program(arguments(work_ / "half", {"--set", "tile.shift=half", "--set", "synthesize.mode=independent"}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
}

}  // namespace
}  // namespace vtissue::testing
