#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <iostream>
#include <memory>
#include <thread>

#include "cli/app.h"
#include "cli/export_multiqc.h"
#include "cli/export_tissue.h"
#include "io/dzi_export.h"
#include "pipeline/signals.h"

namespace vtissue::cli {

void add_export_command(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("export", "Write a slide, its tissue or its figures in another form");
  command->require_subcommand(1);
  add_export_tissue(*command, action);
  add_export_multiqc(*command, action);
  CLI::App* dzi = command->add_subcommand("dzi", "A Deep Zoom picture for web pages: NAME.dzi and NAME_files/");
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

}  // namespace vtissue::cli
