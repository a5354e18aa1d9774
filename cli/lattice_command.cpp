#include <CLI/CLI.hpp>
#include <memory>
#include <vector>

#include "cli/line.h"
#include "cli/stage_command.h"
#include "core/error.h"
#include "stages/synthesize/lattice_stage.h"

namespace vtissue::cli {

void add_lattice_command(CLI::App& app, Action& action) {
  const auto command = StageCommand::add(
      app, "lattice", "Squares between the tiles, for exact conditions: tiles.h5 → tiles.h5 of the squares");
  command->input("tiles", "tiles.h5 of the tile stage").output("lattice", "tiles.h5 to write");
  const auto offset = std::make_shared<std::vector<std::int64_t>>();
  app.get_subcommand("lattice")
      ->add_option("--offset", *offset, "x,y: where a square begins within a tile, target pixels")
      ->delimiter(',')
      ->expected(2)
      ->required();
  command->runs(action, [offset](const pipeline::Config&, Engines&) -> std::shared_ptr<const pipeline::Stage> {
    return std::make_shared<stages::LatticeStage>(Point<TargetPx>{offset->at(0), offset->at(1)});
  });
}

}  // namespace vtissue::cli
