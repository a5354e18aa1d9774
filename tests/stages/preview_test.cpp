#include <gmock/gmock.h>

#include "io/latent_store.h"
#include "io/slide_reader.h"
#include "stages/preview/preview_stage.h"
#include "tests/stages/mixing_denoiser.h"
#include "tests/stages/synthesis_fixture.h"

namespace vtissue::stages {
namespace {

using ::testing::HasSubstr;

TEST(GrownRegion, ReachesSoManyTilesFurther) {
  // Tiles of 90 µm are 360 level-0 pixels of 0.25 µm.
  const Box<Level0Px> grown = grown_region({{1000, 500}, {2000, 300}}, 2, 90, 0.25);
  EXPECT_EQ(grown, (Box<Level0Px>{{280, -220}, {3440, 1740}}));
}

class PreviewTest : public SynthesisFixture {
 protected:
  /// A full square of tiles, of which `kept` are there.
  void make_square(int side) {
    make_slide(side, side);
    tiles_.cells.clear();
    for (int row = 0; row < side; ++row) {
      for (int column = 0; column < side; ++column) tiles_.cells.push_back({2 * column, 2 * row});
    }
    tiles_.tissue_fraction.assign(tiles_.cells.size(), 1.0f);
  }
  /// Latents by cell of a synthesis over those tiles that `keep` keeps.
  std::map<TileCell, std::vector<float>> latents(SynthesisMode mode, int steps, const std::string& name,
                                                 const std::function<bool(TileCell)>& keep) {
    const io::TileSet all = tiles_;
    std::erase_if(tiles_.cells, [&](TileCell cell) { return !keep(cell); });
    tiles_.tissue_fraction.resize(tiles_.cells.size());
    io::write_tiles(file("tiles.h5"), tiles_);
    std::filesystem::remove_all(file("embed"));
    embed();
    SynthesizeOptions options{.seed = 3, .steps = steps};
    options.mode = mode;
    options.blended_steps = 1;
    options.chunk_tiles = 4;
    run(SynthesizeStage(options, std::make_shared<MixingDenoiser>(ProbeDenoiser::Shape{.gene_dim = 0, .scale = 0.2f})),
        {{"features", file("features.h5")}}, {{"latents", file(name)}}, "work-" + name);
    const io::LatentReader reader(file(name));
    std::map<TileCell, std::vector<float>> result;
    for (std::size_t i = 0; i < reader.cells().size(); ++i) {
      result[reader.cells()[i]].resize(4 * 16 * 16);
      reader.read(i, result[reader.cells()[i]]);
    }
    tiles_ = all;
    return result;
  }
};

TEST_F(PreviewTest, IsTheSlideBitForBit) {
  constexpr int kSide = 14, kSteps = 3;
  make_square(kSide);
  // The part's left and upper borders are cuts, the others the slide's own.
  const auto in_part = [](TileCell cell) { return cell.column >= 2 * 3 && cell.row >= 2 * 4; };
  for (const auto mode : {SynthesisMode::kIndependent, SynthesisMode::kShifted}) {
    const std::string name(to_string(mode));
    const auto whole = latents(mode, kSteps, name + "-whole", [](TileCell) { return true; });
    const auto part = latents(mode, kSteps, name + "-part", in_part);
    bool any_differs = false;
    for (const auto& [cell, values] : part) {
      const int from_cut = std::min(cell.column / 2 - 3, cell.row / 2 - 4);
      const bool same = values == whole.at(cell);
      // Alone a tile does not know of the others; a step's windows reach less than a tile further.
      if (mode == SynthesisMode::kIndependent || from_cut >= kSteps) {
        EXPECT_TRUE(same) << name << " " << cell.column << " " << cell.row;
      }
      any_differs |= !same;
    }
    EXPECT_EQ(any_differs, mode == SynthesisMode::kShifted) << name;  // or the test would show nothing
  }
}

TEST_F(PreviewTest, ShowsTheRegionAtTheTargetScaleAndRefusesWhatIsTooLarge) {
  make_slide(4, 3);
  embed();
  synthesize();
  const auto preview = [&](Box<Level0Px> region, const std::string& name) {
    return run(PreviewStage({.region = region}, models::make_null_autoencoder()),
               {{"slide", file("slide.tif")}, {"tiles", file("tiles.h5")}, {"latents", file("latents")}},
               {{"preview", file(name)}}, "work-" + name);
  };
  const auto outcome = preview({{100, 50}, {300, 200}}, "preview.png");
  EXPECT_EQ(outcome.reported["width_px"], 300);
  EXPECT_EQ(outcome.reported["height_px"], 200);
  const auto picture = io::SlideReader::open(file("preview.png"), {.mpp = 0.5});
  EXPECT_GT(picture->info().levels.front().size.width, 2 * 300);
  EXPECT_EQ(preview({{300, 200}, {9000, 9000}}, "cut.png").reported["width_px"], 4 * kTilePx - 300);
  EXPECT_THAT(error_of([&] { preview({{9000, 9000}, {10, 10}}, "none.png"); }).what(), HasSubstr("no pixel"));
}

}  // namespace
}  // namespace vtissue::stages
