// Commands that start from a finished run: perturb, draws, audit; and slides without a picture.

#include <csignal>
#include <nlohmann/json.hpp>
#include <numeric>

#include "io/anndata.h"
#include "io/expression.h"
#include "io/pyramid_metadata.h"
#include "io/slide_reader.h"
#include "io/tile_store.h"
#include "line_fixture.h"

namespace vtissue::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

nlohmann::json read_json(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return nlohmann::json::parse(file);
}

class PerturbTest : public LineTest {
 protected:
  void SetUp() override {
    const ProgramResult result = run_program(arguments(work_ / "run"));
    ASSERT_EQ(result.exit_code, 0) << result.err;
  }
  ProgramResult perturb(const std::vector<std::string>& more) {
    std::vector<std::string> command = {"perturb", (work_ / "run").string(), "--progress", "off"};
    command.insert(command.end(), more.begin(), more.end());
    return run_program(command);
  }
  static inline const std::vector<std::string> kRegion = {"--region", "500,400,400,300"};
};

TEST_F(PerturbTest, WritesAChangedSlideAndWhatDiffersAndIsUpToDateThen) {
  const std::set<std::string> before = listing(work_ / "run");
  const std::vector<std::string> command = {"--genes",         "NULL1=+1", "--region",
                                            "500,400,400,300", "--out",    (work_ / "p").string()};
  const ProgramResult first = perturb(command);
  ASSERT_EQ(first.exit_code, 0) << first.err;
  for (const char* name : {"virtual.tiff", "difference.tiff", "heatmap.tiff", "changed_tiles.tsv"}) {
    EXPECT_THAT(first.out, HasSubstr(name));
    EXPECT_TRUE(std::filesystem::exists(work_ / "p" / name)) << name;
  }
  EXPECT_EQ(listing(work_ / "run"), before) << "the run's folder is only read";
  const ProgramResult second = perturb(command);
  EXPECT_EQ(second.exit_code, 0);
  EXPECT_THAT(second.err, HasSubstr("nothing to do"));
  const nlohmann::json provenance = nlohmann::json::parse(io::read_provenance(work_ / "p" / "virtual.tiff"));
  EXPECT_EQ(provenance["perturbation"]["genes"], "NULL1=+1");
  EXPECT_EQ(provenance["perturbation"]["whole_slide"], false);
}

TEST_F(PerturbTest, SameBytesAfterKills) {
  std::vector<std::string> command = {"--genes",   "NULL1=+1", "--region",    "500,400,400,300",
                                      "--threads", "1",        "--in-flight", "1"};
  std::vector<std::string> whole = command, killed = command;
  whole.insert(whole.end(), {"--out", (work_ / "whole").string()});
  killed.insert(killed.end(), {"--out", (work_ / "killed").string()});
  ASSERT_EQ(perturb(whole).exit_code, 0);
  std::vector<std::string> all = {"perturb", (work_ / "run").string(), "--progress", "off"};
  all.insert(all.end(), killed.begin(), killed.end());
  for (int k = 0; k < 4; ++k) {
    Program program(all);
    program.ended_within(std::chrono::milliseconds(250 + 150 * k));
    program.signal(SIGKILL);
    program.wait();
  }
  const ProgramResult last = run_program(all);
  ASSERT_EQ(last.exit_code, 0) << last.err;
  for (const char* name : {"virtual.tiff", "difference.tiff", "heatmap.tiff", "changed_tiles.tsv"}) {
    EXPECT_EQ(sha256_file(work_ / "whole" / name), sha256_file(work_ / "killed" / name)) << name;
  }
}

TEST_F(PerturbTest, SweepsAndControlsHaveTheirFiles) {
  const ProgramResult sweep =
      perturb({"--sweep", "NULL1=-1..+1:3", "--region", "500,400,400,300", "--out", (work_ / "s").string()});
  ASSERT_EQ(sweep.exit_code, 0) << sweep.err;
  EXPECT_THAT(sweep.out, AllOf(HasSubstr("sweep.png"), HasSubstr("sweep.tsv")));
  const ProgramResult controls = perturb({"--genes", "NULL1=+1", "--region", "500,400,400,300", "--controls", "2",
                                          "--seeds", "2", "--out", (work_ / "c").string()});
  ASSERT_EQ(controls.exit_code, 0) << controls.err;
  const nlohmann::json report = read_json(work_ / "c" / "controls.json");
  EXPECT_EQ(report["seeds"].size(), 2u);
  EXPECT_EQ(report["controls"]["random"]["sets"].size(), 2u);
  EXPECT_TRUE(report["controls"]["housekeeping"].is_null());
}

TEST_F(PerturbTest, WhatCannotBeIsRefusedBeforeAnythingIsWritten) {
  const auto refused = [&](const std::vector<std::string>& more, int exit_code, const char* message) {
    std::vector<std::string> command = more;
    command.insert(command.end(), {"--out", (work_ / "none").string()});
    const ProgramResult result = perturb(command);
    EXPECT_EQ(result.exit_code, exit_code) << result.err;
    EXPECT_THAT(result.err, HasSubstr(message));
    EXPECT_THAT(result.out, IsEmpty());
    EXPECT_FALSE(std::filesystem::exists(work_ / "none"));
  };
  refused({}, 2, "--genes");
  refused({"--genes", "NULL9=+1"}, 2, "the nearest names are NULL1");
  refused({"--genes", "NULL1=up"}, 2, "MITF=-2sd");
  refused({"--genes", "NULL1=+1", "--region", (work_ / "absent.geojson").string()}, 3, "absent.geojson");
  refused({"--genes", "NULL1=+1", "--region", "900000,0,10,10"}, 3, "--region-of");
  refused({"--genes", "NULL1=+1", "--tile", "1,1"}, 3, "tile 1,1 is none");
  refused({"--genes", "NULL1=+1", "--housekeeping", "2"}, 2, "too few housekeeping genes");
  refused({"--genes", "NULL1=+1", "--seed", "3"}, 2, "--seed");
  refused({"--genes", "NULL1=+1", "--set", "synthesize.steps=3"}, 4, "settings");
  refused({"--sweep", "NULL1=-1..+1"}, 2, "MITF=-3sd..+3sd:7");
  std::filesystem::remove(work_ / "run" / "genes.h5");
  refused({"--genes", "NULL1=+1"}, 3, "genes.h5");
  const ProgramResult none = run_program({"perturb", (work_ / "nowhere").string(), "--genes", "NULL1=+1"});
  EXPECT_EQ(none.exit_code, 3);
  EXPECT_THAT(none.err, HasSubstr("finished vtissue run"));
}

TEST_F(PerturbTest, DrawsAndAuditStartFromARunToo) {
  const ProgramResult draws = run_program({"draws", (work_ / "run").string(), "--draws", "3", "--progress", "off"});
  ASSERT_EQ(draws.exit_code, 0) << draws.err;
  EXPECT_TRUE(std::filesystem::exists(work_ / "run" / "uncertainty" / "uncertainty.png"));
  const ProgramResult part = run_program({"draws", (work_ / "run").string(), "--draws", "2", "--region",
                                          "500,400,400,300", "--out", (work_ / "part").string(), "--progress", "off"});
  ASSERT_EQ(part.exit_code, 0) << part.err;
  const ProgramResult audit =
      run_program({"audit", (work_ / "run").string(), "--retry", "2", "--least-cosine", "1", "--progress", "off"});
  ASSERT_EQ(audit.exit_code, 0) << audit.err;
  const nlohmann::json metrics = read_json(work_ / "run" / "audit" / "metrics.json");
  EXPECT_TRUE(metrics.contains("frechet_distance")) << "the run's own metrics";
  // The null denoiser draws the embedding's colours: nearly what was asked for.
  EXPECT_GT(metrics["condition_fidelity"]["morphology_cosine"]["median"].get<double>(), 0.9);
  const nlohmann::json provenance =
      nlohmann::json::parse(io::read_provenance(work_ / "run" / "audit" / "virtual.tiff"));
  EXPECT_TRUE(provenance.contains("drawn_again"));
}

TEST_F(PerturbTest, AnAuditInWhichNothingFailsDrawsNothingAgain) {
  const ProgramResult audit =
      run_program({"audit", (work_ / "run").string(), "--retry", "1", "--least-cosine", "-1", "--progress", "off"});
  ASSERT_EQ(audit.exit_code, 0) << audit.err;
  EXPECT_EQ(read_json(work_ / "run" / "audit" / "drawn_again.json")["pieces"], 0);
}

TEST(SlideFromExpression, NeedsNoPicture) {
  TempFolder work;
  io::AnnData table;
  table.x.genes = {"NULL1", "NULL2", "NULL3", "NULL4"};
  table.var.index = table.x.genes;
  table.x.indptr = {0};
  std::vector<double>& spatial = table.spatial.emplace();
  for (int spot = 0; spot < 30; ++spot) {
    for (int g = 0; g < 4; ++g) {
      table.x.indices.push_back(g);
      table.x.values.push_back(static_cast<float>(1 + (spot + g) % 5));
    }
    table.x.indptr.push_back(static_cast<std::int64_t>(table.x.values.size()));
    table.obs.index.push_back("spot" + std::to_string(spot));
    spatial.push_back(200.0 + 200 * (spot % 6));
    spatial.push_back(200.0 + 200 * (spot / 6));
  }
  table.x.rows = 30;
  io::write_h5ad(work / "table.h5ad", table);
  const std::string config = std::string(VTISSUE_SOURCE_DIR) + "/configs/null.yaml";
  const std::vector<std::string> command = {
      "run",        config, "--h5ad", (work / "table.h5ad").string(), "--out", (work / "out").string(), "--mpp", "0.5",
      "--progress", "off",  "--set",  "express.mapping=interpolate"};
  const ProgramResult result = run_program(command);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, AllOf(HasSubstr("virtual.tiff"), ::testing::Not(HasSubstr("report.html"))));
  const nlohmann::json provenance = nlohmann::json::parse(io::read_provenance(work / "out" / "virtual.tiff"));
  EXPECT_EQ(provenance["drawn_from"], (nlohmann::json{{"slide", false}, {"morphology", false}, {"expression", true}}));
  EXPECT_EQ(provenance["configuration"]["tile"]["reference"], "none");
  EXPECT_EQ(run_program({"perturb", (work / "out").string(), "--genes", "NULL1=+1", "--progress", "off"}).exit_code, 0);
  const ProgramResult nothing = run_program({"run", config, "--out", (work / "none").string()});
  EXPECT_EQ(nothing.exit_code, 2);
  EXPECT_THAT(nothing.err, HasSubstr("--slide"));
}

std::string demo_config(const char* name) { return std::string(VTISSUE_SOURCE_DIR) + "/configs/" + name; }

/// Level 0 of a slide around the tile at `cell`: its pixels [side, side, 3].
std::vector<std::uint8_t> pixels_of_tile(const io::SlideReader& slide, TileCell cell, std::int64_t side) {
  std::vector<std::uint8_t> rgb(static_cast<std::size_t>(side * side * 3));
  slide.read(0, {cell.column * side / 2, cell.row * side / 2}, {side, side}, rgb);
  return rgb;
}

// The published claim of a perturbation, with networks that read expression: what is around it stays, bit for bit.
TEST(PerturbDemoSlide, OnlyTheRegionItsRingAndTheDecodersHaloChange) {
  const char* slide = std::getenv("VTISSUE_DEMO_SLIDE");
  if (slide == nullptr || !std::filesystem::exists(slide)) GTEST_SKIP() << "no demo slide (tools/get-demo-slide.sh)";
  TempFolder work;
  const ProgramResult run = run_program(
      {"run", demo_config("demo.yaml"), "--slide", slide, "--out", (work / "run").string(), "--region",
       "700,700,1000,700", "--set", "synthesize.steps=3", "--set", "synthesize.guidance_gene=3", "--progress", "off"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const io::TileSet tiles = io::read_tiles(work / "run" / "tiles.h5");
  const TileCell middle = tiles.cells[tiles.cells.size() / 2];
  const ProgramResult result = run_program({"perturb", (work / "run").string(), "--genes", "COL6A1=+3sd,IGKC=-2sd",
                                            "--tile", std::to_string(middle.column) + "," + std::to_string(middle.row),
                                            "--out", (work / "p").string(), "--progress", "off"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto before = io::SlideReader::open(work / "run" / "virtual.tiff"),
             after = io::SlideReader::open(work / "p" / "virtual.tiff");
  std::size_t changed = 0;
  for (const TileCell cell : tiles.cells) {
    const int away = std::max(std::abs(cell.column - middle.column), std::abs(cell.row - middle.row)) / 2;
    const bool same = pixels_of_tile(*before, cell, tiles.tile_px) == pixels_of_tile(*after, cell, tiles.tile_px);
    // The ring is one tile wide; the decoder sees less than a tile beyond.
    EXPECT_TRUE(same || away <= 2) << cell.column << "," << cell.row;
    changed += same ? 0 : 1;
  }
  EXPECT_GE(changed, 1u);
}

// Spots of a breast tumour as an h5ad without its picture.
TEST(SlideFromExpression, OfARealSection) {
  const auto data = third_party_data();
  if (!data) GTEST_SKIP() << "VTISSUE_DATA is not set";
  TempFolder work;
  const io::SpotTable spots =
      io::read_legacy_st(*data / "her2st" / "C5_counts.tsv.gz", *data / "her2st" / "C5_selection.tsv");
  constexpr std::size_t kSpots = 12;  // some rows of the array: the rest takes time and shows nothing more
  std::vector<std::size_t> rows(kSpots);
  std::iota(rows.begin(), rows.end(), std::size_t{0});
  io::AnnData table;
  table.x = io::select_rows(spots.counts, rows);
  table.var.index = table.x.genes;
  std::vector<double>& spatial = table.spatial.emplace();
  for (const std::size_t k : rows) {
    table.obs.index.push_back(spots.barcodes[k]);
    spatial.push_back(spots.x[k]);
    spatial.push_back(spots.y[k]);
  }
  io::write_h5ad(work / "c5.h5ad", table);
  const std::string mpp = std::to_string(*spots.pitch_um / *spots.pitch_px);
  const ProgramResult result =
      run_program({"run", demo_config("expression-only.yaml"), "--h5ad", (work / "c5.h5ad").string(), "--mpp", mpp,
                   "--out", (work / "out").string(), "--set", "synthesize.steps=1", "--set",
                   "synthesize.blended_steps=0", "--progress", "off"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const nlohmann::json provenance = nlohmann::json::parse(io::read_provenance(work / "out" / "virtual.tiff"));
  EXPECT_EQ(provenance["drawn_from"]["slide"], false);
  EXPECT_EQ(provenance["drawn_from"]["expression"], true);
  const io::TileSet tiles = io::read_tiles(work / "out" / "tiles.h5");
  // A spot stands for some 200 x 200 µm, a tile for 90 x 90.
  EXPECT_GT(tiles.cells.size(), 3 * kSpots);
  EXPECT_LT(tiles.cells.size(), 20 * kSpots);
}

}  // namespace
}  // namespace vtissue::testing
