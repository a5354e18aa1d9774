#include "stages/synthesize/tissue_pieces.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <numeric>

#include "pipeline/shard.h"
#include "pipeline/shard_file.h"
#include "tests/stages/mixing_denoiser.h"
#include "tests/stages/synthesis_fixture.h"

namespace vtissue::stages {
namespace {

TEST(TissuePieces, TilesThatTouchBelongTogether) {
  // Side by side, at a corner; and apart by one tile.
  const std::vector<TileCell> cells = {{0, 0}, {2, 0}, {6, 0}, {4, 2}, {10, 2}, {0, 6}, {10, 6}};
  EXPECT_EQ(tissue_pieces(cells), (std::vector<std::vector<std::size_t>>{{0, 1, 2, 3}, {4}, {5}, {6}}));
  EXPECT_TRUE(tissue_pieces({}).empty());
}

TEST(TissuePieces, AreSharedOutEvenly) {
  std::size_t next = 0;
  const auto piece = [&next](std::size_t n) {
    std::vector<std::size_t> tiles(n);
    std::iota(tiles.begin(), tiles.end(), next);
    next += n;
    return tiles;
  };
  std::vector<std::vector<std::size_t>> pieces;
  for (const std::size_t n : {3, 10, 4, 4, 1, 2}) pieces.push_back(piece(n));
  EXPECT_EQ(assign_pieces(pieces, 1), (std::vector<int>{0, 0, 0, 0, 0, 0}));
  const std::vector<int> two = assign_pieces(pieces, 2);
  std::vector<std::size_t> load(2);
  for (std::size_t i = 0; i < pieces.size(); ++i) load[static_cast<std::size_t>(two[i])] += pieces[i].size();
  EXPECT_EQ(load[0], load[1]);
  EXPECT_EQ(assign_pieces(pieces, 9), (std::vector<int>{3, 0, 1, 2, 5, 4}));
}

class SynthesisShards : public SynthesisFixture {
 protected:
  void SetUp() override {
    SynthesisFixture::SetUp();
    make_slide(11, 9);
    // Pieces: rows 0-1, rows 4-5 in two halves, a tile alone.
    std::erase_if(tiles_.cells, [](TileCell cell) {
      const int column = cell.column / 2, row = cell.row / 2;
      return row == 2 || row == 3 || row == 6 || row == 7 || (row < 6 && row > 3 && (column == 5 || column == 6)) ||
             (row == 8 && column != 1);
    });
    tiles_.tissue_fraction.resize(tiles_.cells.size());
    io::write_tiles(file("tiles.h5"), tiles_);
    embed();
  }

  static SynthesizeStage stage(SynthesisMode mode, std::shared_ptr<const models::Denoiser> denoiser) {
    SynthesizeOptions options{.seed = 9, .steps = 5};
    options.mode = mode;
    options.chunk_tiles = 4;
    options.glass = {0.5f, -0.25f, 1.0f, 0.0f};
    return SynthesizeStage(options, std::move(denoiser));
  }
  static std::shared_ptr<MixingDenoiser> denoiser() {
    return std::make_shared<MixingDenoiser>(ProbeDenoiser::Shape{.gene_dim = 0, .scale = 0.2f});
  }

  /// Runs one shard, stopped after `stop_after` units and begun again, and packs it.
  std::shared_ptr<const pipeline::ShardFile> shard_of(const SynthesizeStage& of, pipeline::Shard shard,
                                                      const std::string& name, std::int64_t stop_after = 0) {
    const std::string work = name + "-" + std::to_string(shard.index);
    for (const bool stopped : {true, false}) {
      if (stopped && stop_after == 0) continue;
      StopAfter progress(stopped ? stop_after : 1'000'000);
      pipeline::RunContext ctx("synthesize", pipeline::ChunkStore(file(work)), {.threads = 2, .in_flight = 2}, progress,
                               progress.token(), {}, shard);
      try {
        of.run({{"features", file("features.h5")}}, {}, ctx);
      } catch (const Error& e) {
        EXPECT_EQ(e.code(), ErrorCode::kInterrupted) << e.what();
        continue;
      }
      const pipeline::ShardInfo info{"synthesize", 3, "f", {}, {}, shard};
      pipeline::write_shard_file(file(work + ".shard"), info, ctx.chunks(), ctx.shard_chunks());
    }
    return std::make_shared<const pipeline::ShardFile>(file(work + ".shard"));
  }

  void join(const SynthesizeStage& of, const std::vector<std::shared_ptr<const pipeline::ShardFile>>& shards,
            const std::string& out) {
    SilentProgress progress;
    pipeline::ChunkStore chunks(file(out + "-join"));
    for (const auto& shard : shards) chunks.attach(shard);
    pipeline::RunContext ctx("synthesize", std::move(chunks), {.threads = 2, .in_flight = 2}, progress, {});
    of.run({{"features", file("features.h5")}}, {{"latents", file(out)}}, ctx);
  }
};

TEST_F(SynthesisShards, AnyNumberGivesTheBytesOfOneRun) {
  for (const auto mode : {SynthesisMode::kShifted, SynthesisMode::kOverlap, SynthesisMode::kIndependent}) {
    const std::string name(to_string(mode));
    const auto whole = denoiser();
    run_with(stage(mode, whole), {{"features", file("features.h5")}}, {{"latents", file(name)}}, "work" + name, 2);
    for (const int count : {1, 2, 3, 7}) {
      const auto network = denoiser();
      const std::string out = name + std::to_string(count);
      std::vector<std::shared_ptr<const pipeline::ShardFile>> shards;
      for (int index = 1; index <= count; ++index) {
        shards.push_back(shard_of(stage(mode, network), {index, count}, out));
      }
      join(stage(mode, network), shards, out);
      EXPECT_EQ(folder_bytes(file(out)), folder_bytes(file(name))) << out;
      EXPECT_EQ(network->windows_seen(), whole->windows_seen()) << out;  // nothing twice, nothing in the joining
    }
  }
}

TEST_F(SynthesisShards, AnInterruptedShardGoesOnToTheSame) {
  const auto network = denoiser();
  const SynthesizeStage of = stage(SynthesisMode::kShifted, network);
  run_with(of, {{"features", file("features.h5")}}, {{"latents", file("whole")}}, "work", 2);
  const int windows = network->windows_seen();
  const std::vector<std::shared_ptr<const pipeline::ShardFile>> shards = {shard_of(of, {1, 2}, "s", 40),
                                                                          shard_of(of, {2, 2}, "s", 25)};
  join(of, shards, "out");
  EXPECT_EQ(folder_bytes(file("out")), folder_bytes(file("whole")));
  EXPECT_LE(network->windows_seen(), 2 * windows + 4 * 4);
}

TEST_F(SynthesisShards, AnOrdinaryRunComputesThePiecesThatNoShardHas) {
  const auto network = denoiser();
  const SynthesizeStage of = stage(SynthesisMode::kShifted, network);
  run_with(of, {{"features", file("features.h5")}}, {{"latents", file("whole")}}, "work", 2);
  const int windows = network->windows_seen();
  const auto first = shard_of(of, {1, 2}, "s");
  // It was begun before the shard was there: the parts of all pieces must not be taken for those of some.
  StopAfter progress(30);
  pipeline::RunContext begun("synthesize", pipeline::ChunkStore(file("out-join")), {.threads = 1, .in_flight = 1},
                             progress, progress.token());
  EXPECT_THROW(of.run({{"features", file("features.h5")}}, {{"latents", file("out")}}, begun), Error);
  join(of, {first}, "out");
  EXPECT_EQ(folder_bytes(file("out")), folder_bytes(file("whole")));
  EXPECT_LT(network->windows_seen(), 3 * windows);
}

}  // namespace
}  // namespace vtissue::stages
