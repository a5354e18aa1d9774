#include "cli/line.h"
#include "cli/stage_command.h"

namespace vtissue::cli {

void add_express_command(CLI::App& app, Action& action) {
  const auto command = StageCommand::add(
      app, "express", "Expression of each tile, measured or predicted: tiles.h5 and a source → expression.h5ad");
  command->input("tiles", "tiles.h5")
      .input("features", "features.h5: expression is predicted from it", false)
      .input("visium", "measured: Space Ranger's outs/ folder", false)
      .input("h5ad", "measured: AnnData, .h5ad or .h5ad.gz", false)
      .input("st_counts", "measured: legacy ST counts, .tsv or .tsv.gz", false)
      .input("st_spots", "and the table of spots with pixel_x, pixel_y", false)
      .output("expression", "expression.h5ad to write");
  command->with_shards();
  command->runs(action, [command = command.get()](const pipeline::Config& config, Engines& engines) {
    const ExpressionSource source{command->input_path("visium"), command->input_path("h5ad"),
                                  command->input_path("st_counts"), command->input_path("st_spots")};
    source.check();
    return make_express_stage(config, engines, source);
  });
}

}  // namespace vtissue::cli
