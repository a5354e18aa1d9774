#include "cli/line.h"
#include "cli/stage_command.h"

namespace vtissue::cli {

void add_stitch_command(CLI::App& app, Action& action) {
  const auto command =
      StageCommand::add(app, "stitch", "Decode and lay out the virtual slide: latents/, tiles.h5 → virtual.tiff");
  command->input("latents", "folder of the synthesize stage")
      .input("tiles", "tiles.h5")
      .input("expression", "expression.h5ad; its digest goes into the provenance", false)
      .output("virtual", "virtual.tiff to write");
  command->with_shards();
  command->runs(action, make_stitch_stage);
}

}  // namespace vtissue::cli
