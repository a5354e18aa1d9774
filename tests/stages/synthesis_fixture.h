#pragma once

#include <algorithm>
#include <array>
#include <functional>
#include <memory>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/hash.h"
#include "io/tile_store.h"
#include "models/null_engines.h"
#include "stages/embed/embed_stage.h"
#include "stages/synthesize/synthesize_stage.h"
#include "tests/stages/stage_fixture.h"

namespace vtissue::stages {

/// Asks for a stop once so many units are done.
class StopAfter : public pipeline::Progress {
 public:
  explicit StopAfter(std::int64_t units) : units_(units) {}
  void stage_started(std::string_view, std::int64_t, std::string_view) override {}
  void advanced(std::string_view, std::int64_t done) override {
    if (done >= units_) stop_.request_stop();
  }
  void stage_finished(std::string_view, std::string_view) override {}
  std::stop_token token() const { return stop_.get_token(); }

 private:
  std::int64_t units_;
  std::stop_source stop_;
};

/// A slide of coloured squares of 128 px at 0.5 µm/px with a store of the tiles on some of them, and the
/// line over null engines.
class SynthesisFixture : public StageFixture {
 protected:
  static constexpr int kTilePx = 128;
  static constexpr double kMpp = 0.5;

  static std::array<std::uint8_t, 3> colour_of(TileCell cell) {
    return {static_cast<std::uint8_t>(90 + 13 * cell.column), static_cast<std::uint8_t>(60 + 17 * cell.row),
            static_cast<std::uint8_t>(140 + 5 * cell.column + 3 * cell.row)};
  }

  /// Writes slide.tif and tiles.h5: `columns` x `rows` squares, tiles where column + row is not a multiple
  /// of three.
  void make_slide(int columns, int rows) {
    Canvas canvas(columns * kTilePx, rows * kTilePx, {244, 244, 244});
    tiles_ = {};
    tiles_.tile_px = kTilePx;
    tiles_.target_mpp = tiles_.source_mpp = kMpp;
    tiles_.mpp_source = "--mpp";
    tiles_.slide_size = {canvas.width, canvas.height};
    tiles_.target_size = {canvas.width, canvas.height};
    tiles_.mask_mpp = kTilePx * kMpp;
    tiles_.mask_size = {columns, rows};
    for (int row = 0; row < rows; ++row) {
      for (int column = 0; column < columns; ++column) {
        const bool tissue = (column + row) % 3 != 0;
        tiles_.mask.push_back(tissue ? 1 : 0);
        if (!tissue) continue;
        const TileCell cell{2 * column, 2 * row};
        tiles_.cells.push_back(cell);
        tiles_.tissue_fraction.push_back(1.0f - 0.001f * static_cast<float>(tiles_.cells.size()));
        for (int y = 0; y < kTilePx; ++y) {
          for (int x = 0; x < kTilePx; ++x) {
            std::ranges::copy(colour_of(cell), canvas.at(column * kTilePx + x, row * kTilePx + y));
          }
        }
      }
    }
    write_tiff(file("slide.tif"), canvas, kMpp);
    tiles_.slide_sha256 = sha256_file(file("slide.tif"));
    io::write_tiles(file("tiles.h5"), tiles_);
  }

  /// The stage over a chunk store of its own, with so much in flight.
  void run_with(const pipeline::Stage& stage, const pipeline::Bindings& inputs, const pipeline::Bindings& outputs,
                const std::string& work, int in_flight) {
    SilentProgress progress;
    pipeline::RunContext ctx(std::string(stage.name()), pipeline::ChunkStore(file(work)),
                             {.threads = 2, .in_flight = in_flight}, progress, {});
    stage.run(inputs, outputs, ctx);
  }

  /// Stopped after `units`, then run again with the same work folder.
  void run_interrupted(const pipeline::Stage& stage, const pipeline::Bindings& inputs,
                       const pipeline::Bindings& outputs, const std::string& work, std::int64_t units) {
    StopAfter progress(units);
    pipeline::RunContext ctx(std::string(stage.name()), pipeline::ChunkStore(file(work)),
                             {.threads = 2, .in_flight = 2}, progress, progress.token());
    try {
      stage.run(inputs, outputs, ctx);
      ADD_FAILURE() << "was not interrupted";
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::kInterrupted) << e.what();
    }
    run_with(stage, inputs, outputs, work, 2);
  }

  void embed() {
    run(EmbedStage({}, models::make_null_morphology_encoder()),
        {{"slide", file("slide.tif")}, {"tiles", file("tiles.h5")}}, {{"features", file("features.h5")}}, "embed");
  }

  void synthesize(std::uint64_t seed = 7) {
    run(SynthesizeStage({.seed = seed, .steps = 4, .mode = SynthesisMode::kIndependent}, models::make_null_denoiser()),
        {{"features", file("features.h5")}}, {{"latents", file("latents")}}, "synthesize");
  }

  /// Names and contents of a folder's files, one string.
  static std::string folder_bytes(const std::filesystem::path& folder) {
    std::set<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) files.insert(entry.path());
    std::string all;
    for (const auto& path : files) all += path.filename().string() + '\0' + read_bytes(path);
    return all;
  }

  io::TileSet tiles_;
};

/// The Error that `work` throws, to look at.
inline Error error_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& e) {
    return e;
  }
  ADD_FAILURE() << "no Error was thrown";
  return Error(ErrorCode::kUsage, "none");
}

}  // namespace vtissue::stages
