#include <spdlog/spdlog.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <memory>
#include <thread>

#include "cli/app.h"
#include "cli/export_multiqc.h"
#include "cli/export_tissue.h"
#include "cli/line.h"
#include "core/error.h"
#include "io/dzi_export.h"
#include "io/geojson_export.h"
#include "io/patch_export.h"
#include "io/tile_reader.h"
#include "pipeline/signals.h"
#include "stages/embed/slide_of_tiles.h"
#include "stages/evaluate/tile_comparison.h"

namespace vtissue::cli {
namespace fs = std::filesystem;

namespace {

/// The stores of a run: of its output folder, or beside a tiles.h5.
struct RunFiles {
  fs::path tiles, features, expression, virtual_slide;

  explicit RunFiles(const fs::path& run) {
    std::error_code error;
    const bool is_folder = fs::is_directory(run, error);
    const fs::path folder = is_folder ? run : run.parent_path();
    tiles = is_folder ? run / output_names::kTiles : run;
    if (!fs::exists(tiles, error)) {
      throw Error(ErrorCode::kBadInput, "{}: no such file; name the output folder of a run, or a tiles.h5",
                  tiles.string());
    }
    const auto there = [&](const char* name) { return fs::exists(folder / name, error) ? folder / name : fs::path(); };
    features = there(output_names::kFeatures);
    expression = there(output_names::kExpression);
    virtual_slide = there(output_names::kVirtual);
  }
};

/// The folder's name, of which the files are called if the slide is not named.
std::string name_of_run(const fs::path& run) {
  std::error_code error;
  const fs::path folder = fs::is_directory(run, error) ? run : run.parent_path();
  const fs::path whole = fs::absolute(folder, error).lexically_normal();
  return whole.filename().empty() ? whole.parent_path().filename().string() : whole.filename().string();
}

void add_patches(CLI::App& command, Action& action, io::PatchTool tool, const char* description) {
  CLI::App* patches = command.add_subcommand(std::string(to_string(tool)), description);
  struct Arguments {
    fs::path run, features, slide, out;
    io::PatchExportOptions options;
    bool no_tensor = false;
  };
  const auto arguments = std::make_shared<Arguments>();
  arguments->options.tool = tool;
  patches->add_option("run", arguments->run, "output folder of a run, or a tiles.h5")->required();
  patches->add_option("--out", arguments->out, "folder to write to; files of the same slide in it are replaced")
      ->required();
  patches->add_option("--name", arguments->options.name,
                      "the slide's file name without extension; by default that of --slide, else the run's folder");
  patches->add_option("--features", arguments->features, "features.h5, by default the one beside the tiles");
  patches->add_option("--set", arguments->options.set, "which of its sets")->capture_default_str();
  patches->add_option("--slide", arguments->slide,
                      tool == io::PatchTool::kClam ? "the slide: patches are then read from the level that fits them"
                                                   : "the slide, for its name");
  if (tool == io::PatchTool::kClam) {
    patches->add_flag("--no-pt", arguments->no_tensor, "leave out pt_files/NAME.pt");
  }
  patches->callback([&action, arguments] {
    action = [arguments] {
      const pipeline::StopOnSignal signals;
      const RunFiles files(arguments->run);
      io::PatchExportOptions options = arguments->options;
      options.tensor = !arguments->no_tensor;
      if (options.name.empty()) {
        options.name = arguments->slide.empty() ? name_of_run(arguments->run) : arguments->slide.stem().string();
      }
      if (!arguments->slide.empty()) {
        options.levels = stages::open_slide_of(arguments->slide, io::read_tiles(files.tiles))->info().levels;
      }
      const io::PatchExport done =
          io::export_patches(files.tiles, arguments->features.empty() ? files.features : arguments->features,
                             arguments->out, options, [&] { return signals.token().stop_requested(); });
      if (done.without_features != 0) {
        spdlog::warn("{} of {} tiles have no features and are left out of their file", done.without_features,
                     done.patches);
      }
      for (const fs::path& path : done.files) std::cout << path.string() << '\n';
      return 0;
    };
  });
}

/// How each virtual tile differs from the real one, by its pixels alone (docs/stages/evaluate.md).
io::TileMeasures compare_pixels(const fs::path& slide, const RunFiles& files) {
  if (files.virtual_slide.empty()) {
    throw Error(ErrorCode::kUsage, "--metrics compares with the virtual slide, and there is none beside {}",
                files.tiles.string());
  }
  const auto tiles = std::make_shared<const io::TileSet>(io::read_tiles(files.tiles));
  const auto real = std::make_shared<const io::TileReader>(stages::open_slide_of(slide, *tiles), tiles->target_mpp);
  const auto made = std::make_shared<const io::TileReader>(
      io::SlideReader::open(files.virtual_slide, {.mpp = tiles->target_mpp}), tiles->target_mpp);
  return {{"Colour difference", "Gradient energy ratio", "Real red", "Real green", "Real blue", "Virtual red",
           "Virtual green", "Virtual blue"},
          [tiles, real, made](std::size_t index) -> std::vector<double> {
            const Box<TargetPx> box{tiles->origin(tiles->cells[index]), {tiles->tile_px, tiles->tile_px}};
            const stages::TilePixels a = stages::describe_pixels(real->read(box), tiles->tile_px);
            const stages::TilePixels b = stages::describe_pixels(made->read(box), tiles->tile_px);
            double difference = 0;
            for (std::size_t c = 0; c < 3; ++c) difference += std::abs(a.mean_rgb[c] - b.mean_rgb[c]) / 3;
            return {difference,    b.gradient_energy / a.gradient_energy,
                    a.mean_rgb[0], a.mean_rgb[1],
                    a.mean_rgb[2], b.mean_rgb[0],
                    b.mean_rgb[1], b.mean_rgb[2]};
          }};
}

void add_geojson(CLI::App& command, Action& action) {
  CLI::App* geojson =
      command.add_subcommand("geojson", "The tiles with measurements, for QuPath: .geojson or .geojson.gz");
  struct Arguments {
    fs::path run, slide, out;
    io::GeoJsonOptions options;
    bool of_virtual = false, metrics = false;
  };
  const auto arguments = std::make_shared<Arguments>();
  geojson->add_option("run", arguments->run, "output folder of a run, or a tiles.h5")->required();
  geojson->add_option("--out", arguments->out, "file to write; packed if it ends in .gz")->required();
  geojson->add_option("--genes", arguments->options.genes, "genes of expression.h5ad to write, as A,B")->delimiter(',');
  geojson->add_flag("--metrics", arguments->metrics, "compare each virtual tile with the real one; needs --slide");
  geojson->add_option("--slide", arguments->slide,
                      "the real slide; of one with bounds the coordinates are those that QuPath counts from them");
  geojson->add_flag("--detections", arguments->options.detections, "as detections instead of tiles");
  geojson->add_flag("--virtual", arguments->of_virtual, "in pixels of the virtual slide instead of the real one's");
  geojson->callback([&action, arguments] {
    action = [arguments] {
      const pipeline::StopOnSignal signals;
      const RunFiles files(arguments->run);
      io::GeoJsonOptions options = arguments->options;
      if (arguments->of_virtual) options.space = io::GeoJsonSpace::kVirtual;
      if (!arguments->slide.empty() && !arguments->of_virtual) {
        const auto slide = stages::open_slide_of(arguments->slide, io::read_tiles(files.tiles));
        if (slide->info().bounds) options.offset = slide->info().bounds->origin;
      }
      if (arguments->metrics) {
        if (arguments->slide.empty()) throw Error(ErrorCode::kUsage, "--metrics needs the real slide: --slide");
        options.measures = compare_pixels(arguments->slide, files);
      }
      io::export_geojson(files.tiles, files.expression, arguments->out, options,
                         [&] { return signals.token().stop_requested(); });
      std::cout << arguments->out.string() << '\n';
      return 0;
    };
  });
}

void add_dzi(CLI::App& command, Action& action) {
  CLI::App* dzi = command.add_subcommand("dzi", "A Deep Zoom picture for web pages: NAME.dzi and NAME_files/");
  struct Arguments {
    std::filesystem::path slide, out;
    io::DziOptions options{.threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()))};
  };
  const auto arguments = std::make_shared<Arguments>();
  dzi->add_option("slide", arguments->slide, "a slide or virtual slide")->required();
  dzi->add_option("--out", arguments->out, "descriptor, ending in .dzi; the tiles' folder is made beside it")
      ->required();
  dzi->add_option("--tile-px", arguments->options.tile_px, "side of a tile without its overlap, px (16..8192)")
      ->capture_default_str();
  dzi->add_option("--overlap-px", arguments->options.overlap_px, "px that neighbouring tiles share on each side")
      ->capture_default_str();
  dzi->add_option("--quality", arguments->options.jpeg_quality, "of JPEG, 4:2:0 (1..100)")->capture_default_str();
  dzi->add_option("--threads", arguments->options.threads, "threads that read and encode")->capture_default_str();
  dzi->callback([&action, arguments] {
    action = [arguments] {
      const pipeline::StopOnSignal signals;
      io::export_dzi(*io::SlideReader::open(arguments->slide), arguments->out, arguments->options,
                     [&] { return signals.token().stop_requested(); });
      std::cout << arguments->out.string() << '\n';
      return 0;
    };
  });
}

}  // namespace

void add_export_command(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("export", "Write a slide, its tissue, tiles or figures in another form");
  command->require_subcommand(1);
  add_export_tissue(*command, action);
  add_export_multiqc(*command, action);
  add_dzi(*command, action);
  add_patches(*command, action, io::PatchTool::kClam, "Coordinates and features of the tiles as CLAM reads them");
  add_patches(*command, action, io::PatchTool::kTrident, "Coordinates and features of the tiles as TRIDENT reads them");
  add_geojson(*command, action);
}

}  // namespace vtissue::cli
