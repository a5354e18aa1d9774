// A change of expression on a finished run: what it touches, and what it must not.

#include <gmock/gmock.h>

#include <cmath>
#include <random>

#include "io/anndata.h"
#include "io/feature_store.h"
#include "io/half.h"
#include "io/latent_store.h"
#include "io/pyramid_metadata.h"
#include "io/slide_reader.h"
#include "stages/encode/encode_stage.h"
#include "stages/perturb/change_stage.h"
#include "stages/perturb/controls_stage.h"
#include "stages/perturb/difference_stage.h"
#include "stages/perturb/redraw_stage.h"
#include "stages/perturb/sweep_stage.h"
#include "stages/perturb/trajectory_stage.h"
#include "stages/stitch/stitch_stage.h"
#include "tests/stages/mixing_denoiser.h"
#include "tests/stages/synthesis_fixture.h"

namespace vtissue::stages {
namespace {

using ::testing::HasSubstr;

/// So faint that latents stay within what the null autoencoder shows.
class FaintDenoiser : public MixingDenoiser {
 public:
  using MixingDenoiser::MixingDenoiser;
  void predict(std::span<const float> x, int n, double t, const models::TileConditions& conditions,
               const models::Guidance& guidance, std::span<float> out, std::span<float> variance) const override {
    MixingDenoiser::predict(x, n, t, conditions, guidance, out, variance);
    for (float& value : out) value *= 0.1f;
  }
};

class PerturbStagesTest : public SynthesisFixture {
 protected:
  static constexpr std::size_t kValues = 4 * 16 * 16;

  void SetUp() override {
    SynthesisFixture::SetUp();
    make_slide(9, 7);
    embed();
    write_expression_table();
    encode(file("expression.h5ad"), "genes.h5");
  }

  void write_expression_table() {
    io::AnnData table;
    const std::size_t n = tiles_.cells.size();
    table.x.rows = n;
    table.x.genes = {"NULL1", "NULL2", "NULL3", "NULL4", "OTHER", "FLAT"};
    table.x.indptr = {0};
    std::vector<std::int64_t> columns, rows;
    std::vector<std::uint8_t> valid;
    for (std::size_t i = 0; i < n; ++i) {
      for (int g = 0; g < 6; ++g) {
        table.x.indices.push_back(g);
        table.x.values.push_back(g == 5 ? 1.0f
                                        : 0.1f * static_cast<float>((i * 7 + static_cast<std::size_t>(g) * 3) % 11));
      }
      table.x.indptr.push_back(static_cast<std::int64_t>(table.x.values.size()));
      table.obs.index.push_back("tile" + std::to_string(i));
      columns.push_back(tiles_.cells[i].column);
      rows.push_back(tiles_.cells[i].row);
      valid.push_back(i == 3 ? 0 : 1);
    }
    table.obs.columns = {{"cell_column", columns}, {"cell_row", rows}, {"has_expression", valid}};
    table.var.index = table.x.genes;
    table.strings = {{"slide_sha256", tiles_.slide_sha256}, {"source", "predicted"}, {"settings", "{}"}};
    io::write_h5ad(file("expression.h5ad"), table);
  }

  void encode(const std::filesystem::path& expression, const std::string& out) {
    run(EncodeStage({}, models::make_null_gene_encoder()), {{"expression", expression}}, {{"genes", file(out)}},
        "encode-" + out);
  }

  static std::shared_ptr<MixingDenoiser> mixing() {
    return std::make_shared<MixingDenoiser>(ProbeDenoiser::Shape{.gene_dim = 4, .scale = 0.2f});
  }

  static std::shared_ptr<MixingDenoiser> faint() {
    return std::make_shared<FaintDenoiser>(ProbeDenoiser::Shape{.gene_dim = 4, .scale = 0.2f});
  }

  static std::shared_ptr<const SynthesizeStage> synthesis(SynthesisMode mode, const std::string& sampler = "auto",
                                                          std::shared_ptr<MixingDenoiser> denoiser = nullptr) {
    SynthesizeOptions options{.seed = 9, .steps = 4, .sampler = sampler};
    options.mode = mode;
    options.chunk_tiles = 4;
    options.glass = {0.5f, -0.25f, 1.0f, 0.0f};
    if (denoiser == nullptr) {
      const bool flow = sampler == "auto" || sampler.starts_with("flow");
      denoiser = std::make_shared<MixingDenoiser>(ProbeDenoiser::Shape{.velocity = flow, .gene_dim = 4, .scale = 0.2f});
    }
    return std::make_shared<SynthesizeStage>(options, denoiser);
  }

  static RegionOptions region() { return {.cells = {{8, 6}, {10, 6}}}; }

  void change(const std::string& genes, const RegionOptions& where, const std::string& out, bool whole = false) {
    ChangeOptions options{.changes = parse_gene_changes(genes), .region = where, .write_expression = whole};
    pipeline::Bindings outputs = {{"genes", file(out)}};
    if (whole) outputs["expression"] = file(out + ".h5ad");
    run(ChangeStage(options, models::make_null_gene_encoder()),
        {{"expression", file("expression.h5ad")}, {"tiles", file("tiles.h5")}}, outputs, "change-" + out);
  }

  pipeline::Bindings run_files() const {
    return {{"tiles", file("tiles.h5")}, {"features", file("features.h5")}, {"genes", file("genes.h5")}};
  }

  /// The run's own latents, the trajectory around the region, the region with `genes` changed, and the patched latents.
  void perturb(const std::shared_ptr<const SynthesizeStage>& stage, const std::string& genes, const std::string& tag,
               const RegionOptions& where = region()) {
    run(*stage, {{"features", file("features.h5")}, {"genes", file("genes.h5")}}, {{"latents", file(tag + "base")}},
        tag + "w1");
    change(genes, where, tag + "changed.h5");
    pipeline::Bindings inputs = run_files();
    inputs["latents"] = file(tag + "base");
    run(TrajectoryStage(where, stage), inputs, {{"trajectory", file(tag + "trajectory")}, {"base", file(tag + "own")}},
        tag + "w2");
    inputs = run_files();
    inputs["changed"] = file(tag + "changed.h5");
    inputs["trajectory"] = file(tag + "trajectory");
    run(RedrawStage(where, stage), inputs, {{"latents", file(tag + "redrawn")}}, tag + "w3");
    run(PatchStage(), {{"latents", file(tag + "base")}, {"changed", file(tag + "redrawn")}},
        {{"patched", file(tag + "patched")}}, tag + "w4");
  }

  std::vector<float> tile_of(const std::string& folder, std::size_t tile) const {
    const io::LatentReader reader(file(folder));
    std::vector<float> values(kValues);
    reader.read(tile, values);
    return values;
  }

  bool near_region(std::size_t tile) const {
    const TileCell cell = tiles_.cells[tile];
    return cell.column >= 6 && cell.column <= 12 && cell.row >= 4 && cell.row <= 8;
  }
};

constexpr std::array kModes = {SynthesisMode::kShifted, SynthesisMode::kOverlap, SynthesisMode::kIndependent};

TEST_F(PerturbStagesTest, OutsideTheRegionAndItsRingEveryBitStays) {
  for (const auto mode : kModes) {
    for (const std::string sampler : {"flow", "flow_heun", "dpmpp"}) {
      if (mode != SynthesisMode::kShifted && sampler != "flow") continue;
      const std::string tag = std::string(to_string(mode)) + sampler;
      SCOPED_TRACE(tag);
      perturb(synthesis(mode, sampler), "NULL1=+1,NULL2=-1", tag);
      int changed = 0;
      for (std::size_t tile = 0; tile < tiles_.cells.size(); ++tile) {
        const bool differs = tile_of(tag + "base", tile) != tile_of(tag + "patched", tile);
        EXPECT_FALSE(differs && !near_region(tile)) << tiles_.cells[tile].column << "," << tiles_.cells[tile].row;
        changed += differs ? 1 : 0;
      }
      // Windows carry the change into the ring.
      EXPECT_GE(changed, mode == SynthesisMode::kIndependent ? 2 : 3);
    }
  }
}

TEST_F(PerturbStagesTest, WithoutAChangeEveryBitOfTheRunComesAboutAgain) {
  for (const auto mode : kModes) {
    const std::string tag(to_string(mode));
    perturb(synthesis(mode), "NULL1=+0", tag);
    for (std::size_t tile = 0; tile < tiles_.cells.size(); ++tile) {
      EXPECT_EQ(tile_of(tag + "base", tile), tile_of(tag + "patched", tile)) << tag << tile;
    }
  }
}

TEST_F(PerturbStagesTest, AChangeOfAllOfTheSlideIsASynthesisFromTheChangedTable) {
  for (const auto mode : kModes) {
    const std::string tag(to_string(mode));
    const auto stage = synthesis(mode);
    change("NULL1=+1,NULL3=x2", {}, tag + "changed.h5", true);
    pipeline::Bindings inputs = run_files();
    inputs["changed"] = file(tag + "changed.h5");
    run(RedrawStage({}, stage), inputs, {{"latents", file(tag + "redrawn")}}, tag + "r");
    encode(file(tag + "changed.h5.h5ad"), tag + "genes.h5");
    run(*stage, {{"features", file("features.h5")}, {"genes", file(tag + "genes.h5")}},
        {{"latents", file(tag + "anew")}}, tag + "s");
    for (std::size_t tile = 0; tile < tiles_.cells.size(); ++tile) {
      EXPECT_EQ(tile_of(tag + "redrawn", tile), tile_of(tag + "anew", tile)) << tag << tile;
    }
  }
}

TEST_F(PerturbStagesTest, OnlyWhatTheRegionDependsOnIsComputed) {
  const auto denoiser = mixing();
  const auto stage = synthesis(SynthesisMode::kShifted, "auto", denoiser);
  perturb(stage, "NULL1=+1", "a", {.cells = {{16, 12}}});
  const int all = denoiser->windows_seen();
  const auto whole = mixing();
  run(*synthesis(SynthesisMode::kShifted, "auto", whole),
      {{"features", file("features.h5")}, {"genes", file("genes.h5")}}, {{"latents", file("again")}}, "again");
  // The run itself, the cone behind a corner tile and the tile: less than the run twice again.
  EXPECT_LT(all, 3 * whole->windows_seen());
}

TEST_F(PerturbStagesTest, InterruptedStagesGoOnToTheSameBytes) {
  const auto stage = synthesis(SynthesisMode::kShifted);
  perturb(stage, "NULL1=+1", "a");
  pipeline::Bindings inputs = run_files();
  inputs["latents"] = file("abase");
  for (const int units : {1, 17, 60, 140}) {
    const std::string tag = "i" + std::to_string(units);
    run_interrupted(TrajectoryStage(region(), stage), inputs,
                    {{"trajectory", file(tag + "trajectory")}, {"base", file(tag + "own")}}, tag, units);
    EXPECT_EQ(folder_bytes(file(tag + "trajectory")), folder_bytes(file("atrajectory"))) << units;
    EXPECT_EQ(folder_bytes(file(tag + "own")), folder_bytes(file("aown"))) << units;
  }
  inputs = run_files();
  inputs["changed"] = file("achanged.h5");
  inputs["trajectory"] = file("atrajectory");
  for (const int units : {1, 13, 40}) {
    const std::string tag = "r" + std::to_string(units);
    run_interrupted(RedrawStage(region(), stage), inputs, {{"latents", file(tag)}}, tag + "w", units);
    EXPECT_EQ(folder_bytes(file(tag)), folder_bytes(file("aredrawn"))) << units;
  }
}

TEST_F(PerturbStagesTest, ARunThatDoesNotComeAboutAgainIsRefused) {
  const auto stage = synthesis(SynthesisMode::kShifted);
  SynthesizeOptions other = stage->options();
  other.seed = 10;
  run(SynthesizeStage(other, stage->denoiser()), {{"features", file("features.h5")}, {"genes", file("genes.h5")}},
      {{"latents", file("other")}}, "other-w");
  pipeline::Bindings inputs = run_files();
  inputs["latents"] = file("other");
  const Error error = error_of([&] {
    run(TrajectoryStage(region(), stage), inputs, {{"trajectory", file("t")}, {"base", file("b")}}, "t-w");
  });
  EXPECT_EQ(error.code(), ErrorCode::kBadInput);
  EXPECT_THAT(error.what(), HasSubstr("does not come about again"));
}

TEST_F(PerturbStagesTest, TheChangedTableDiffersInTheRegionsGenesAlone) {
  change("NULL1=+0.5,OTHER=0", region(), "changed.h5", true);
  const io::AnnData before = io::read_h5ad(file("expression.h5ad")), after = io::read_h5ad(file("changed.h5.h5ad"));
  const auto value = [](const io::AnnData& table, std::size_t row, int gene) {
    for (auto k = static_cast<std::size_t>(table.x.indptr[row]); k < static_cast<std::size_t>(table.x.indptr[row + 1]);
         ++k) {
      if (table.x.indices[k] == gene) return table.x.values[k];
    }
    return 0.0f;
  };
  const io::FeatureReader genes(file("changed.h5"));
  for (std::size_t tile = 0; tile < tiles_.cells.size(); ++tile) {
    const bool changed = std::ranges::find(genes.cells(), tiles_.cells[tile]) != genes.cells().end();
    EXPECT_FLOAT_EQ(value(after, tile, 0), std::min(1.0f, value(before, tile, 0) + (changed ? 0.5f : 0.0f)));
    EXPECT_FLOAT_EQ(value(after, tile, 1), value(before, tile, 1));
    EXPECT_FLOAT_EQ(value(after, tile, 4), changed ? 0 : value(before, tile, 4));
  }
  EXPECT_THAT(after.strings.at("perturbation"), HasSubstr("NULL1=+0.5"));
  EXPECT_THAT(genes.settings(), HasSubstr("\"not_in_encoder\":[\"OTHER\"]"));
}

TEST_F(PerturbStagesTest, GenesThatCannotBeChangedAreNamedWithWhatIsNear) {
  const auto message = [&](const std::string& genes) {
    return std::string(error_of([&] { change(genes, region(), "x.h5"); }).what());
  };
  EXPECT_THAT(message("NULL9=+1"), HasSubstr("the nearest names are NULL1"));
  EXPECT_THAT(message("OTHER=+1"), HasSubstr("the gene encoder does not read OTHER"));
  EXPECT_THAT(message("FLAT=+1sd"), HasSubstr("same value"));
  const RegionOptions without{.cells = {tiles_.cells[3]}};
  EXPECT_THAT(error_of([&] { change("NULL1=+1", without, "x.h5"); }).what(), HasSubstr("none of the 1 tiles"));
}

TEST_F(PerturbStagesTest, PixelsOutsideStayTooAndTheDifferenceSaysWhere) {
  perturb(synthesis(SynthesisMode::kShifted), "NULL1=+1", "a");
  StitchOptions options{.generator = "vtissue 9.9"};
  for (const char* name : {"base", "patched"}) {
    run(StitchStage(options, models::make_null_autoencoder()),
        {{"latents", file(std::string("a") + name)}, {"tiles", file("tiles.h5")}},
        {{"virtual", file(std::string(name) + ".tiff")}}, std::string("stitch-") + name);
  }
  const auto before = io::SlideReader::open(file("base.tiff")), after = io::SlideReader::open(file("patched.tiff"));
  std::vector<std::uint8_t> one(kTilePx * kTilePx * 3), two(one.size());
  std::size_t changed = 0;
  for (std::size_t tile = 0; tile < tiles_.cells.size(); ++tile) {
    const Point<TargetPx> at = tiles_.origin(tiles_.cells[tile]);
    before->read(0, {at.x, at.y}, {kTilePx, kTilePx}, one);
    after->read(0, {at.x, at.y}, {kTilePx, kTilePx}, two);
    if (one == two) continue;
    ++changed;
    EXPECT_TRUE(near_region(tile));
  }
  EXPECT_GT(changed, 0u);
  const nlohmann::json provenance = nlohmann::json::parse(io::read_provenance(file("patched.tiff")));
  EXPECT_EQ(provenance["perturbation"]["genes"], "NULL1=+1");
  EXPECT_EQ(provenance["synthetic"], true);
  EXPECT_FALSE(nlohmann::json::parse(io::read_provenance(file("base.tiff"))).contains("perturbation"));

  const Outcome outcome =
      run(DifferenceStage({.pyramid = options}, models::make_null_morphology_encoder()),
          {{"tiles", file("tiles.h5")}, {"base", file("base.tiff")}, {"virtual", file("patched.tiff")}},
          {{"difference", file("difference.tiff")}, {"heatmap", file("heatmap.tiff")}, {"table", file("t.tsv")}});
  EXPECT_EQ(outcome.reported["tiles_with_changed_pixels"], changed);
  for (const char* name : {"difference.tiff", "heatmap.tiff"}) {
    const nlohmann::json stated = nlohmann::json::parse(io::read_provenance(file(name)));
    EXPECT_EQ(stated["synthetic"], true);
    EXPECT_EQ(stated["perturbation"]["genes"], "NULL1=+1");
    EXPECT_EQ(io::SlideReader::open(file(name))->info().levels.front().size, before->info().levels.front().size);
  }
  const std::string table = read_bytes(file("t.tsv"));
  EXPECT_EQ(static_cast<std::size_t>(std::ranges::count(table, '\n')), changed + 1);
}

TEST_F(PerturbStagesTest, ASweepIsAStripAndATableOfGrowingDifferences) {
  const auto stage = synthesis(SynthesisMode::kShifted, "auto", faint());
  SweepOptions options{.captions = {}, .region = region()};
  pipeline::Bindings inputs = {{"tiles", file("tiles.h5")}, {"base", file("v0own")}};
  for (const char* step : {"0", "0.2", "0.5"}) {
    const std::string tag = "v" + std::to_string(options.captions.size());
    perturb(stage, std::string("NULL1=-") + step, tag);
    inputs[SweepStage::variant_port(options.captions.size())] = file(tag + "redrawn");
    options.captions.push_back(std::string("NULL1=-") + step);
  }
  run(SweepStage(options, models::make_null_autoencoder(), models::make_null_morphology_encoder()), inputs,
      {{"strip", file("strip.png")}, {"table", file("t.tsv")}}, "sweep");
  std::istringstream table(read_bytes(file("t.tsv")));
  std::string line;
  std::getline(table, line);
  std::vector<double> magnitudes;
  while (std::getline(table, line)) magnitudes.push_back(std::stod(line.substr(line.find('\t') + 1)));
  ASSERT_EQ(magnitudes.size(), 3u);
  EXPECT_EQ(magnitudes[0], 0);
  EXPECT_GT(magnitudes[1], 0);
  EXPECT_GT(magnitudes[2], magnitudes[1]);
  EXPECT_THAT(read_bytes(file("strip.png")), ::testing::StartsWith("\x89PNG"));
}

TEST_F(PerturbStagesTest, AnEffectIsReportedAmongThoseOfItsControls) {
  const auto stage = synthesis(SynthesisMode::kShifted, "auto", faint());
  perturb(stage, "NULL1=0", "t");
  perturb(stage, "NULL2=+0.1", "r");
  perturb(stage, "NULL3=+0.1", "h");
  using Kind = ControlVariant::Kind;
  const ControlsOptions options{.seeds = {9},
                                .variants = {{Kind::kTarget, "NULL1=0", 0, 0},
                                             {Kind::kRandom, "NULL2=+0.1", 0, 0},
                                             {Kind::kHousekeeping, "NULL3=+0.1", 0, 0}},
                                .region = region()};
  run(ControlsStage(options, models::make_null_autoencoder(), models::make_null_morphology_encoder()),
      {{"tiles", file("tiles.h5")},
       {"base_00", file("town")},
       {"variant_000", file("tredrawn")},
       {"variant_001", file("rredrawn")},
       {"variant_002", file("hredrawn")}},
      {{"controls", file("controls.json")}, {"page", file("controls.html")}}, "controls");
  const nlohmann::json controls = nlohmann::json::parse(read_bytes(file("controls.json")));
  for (const char* kind : {"random", "housekeeping"}) {
    const nlohmann::json& figure = controls["controls"][kind]["mean_absolute_difference"];
    EXPECT_EQ(figure["n"], 1);
    EXPECT_DOUBLE_EQ(figure["p"].get<double>(), 0.5);
    EXPECT_GT(figure["effect"].get<double>(), figure["null_mean"].get<double>());
  }
  EXPECT_THAT(read_bytes(file("controls.html")), HasSubstr("SYNTHETIC"));
}

}  // namespace
}  // namespace vtissue::stages
