#include <CLI/CLI.hpp>
#include <memory>

#include "cli/line.h"
#include "cli/stage_command.h"

namespace vtissue::cli {

void add_embed_command(CLI::App& app, Action& action) {
  const auto command = StageCommand::add(app, "embed", "Embed each tile's morphology: slide, tiles.h5 → features.h5");
  command->input("slide", "the slide the tiles were made from")
      .input("tiles", "tiles.h5")
      .input_or_key("patch_features", "embed.patch_features",
                    "features by CLAM or TRIDENT (.h5) of the same encoder, taken instead of computing them")
      .output("features", "features.h5 to write");
  const auto measured = std::make_shared<bool>(false);
  app.get_subcommand("embed")->add_flag(
      "--measured", *measured, "expression is measured: leave out what only the predictor reads, as run does then");
  command->with_shards();
  command->runs(action, [measured](const pipeline::Config& config, Engines& engines) {
    return make_embed_stage(config, engines, !*measured && config.has("models.predictor"));
  });
}

}  // namespace vtissue::cli
