#include "cli/line.h"
#include "cli/stage_command.h"

namespace vtissue::cli {

void add_encode_command(CLI::App& app, Action& action) {
  const auto command = StageCommand::add(app, "encode", "Embed each tile's expression: expression.h5ad → genes.h5");
  command->input("expression", "expression.h5ad of the express stage").output("genes", "genes.h5 to write");
  command->with_shards();
  command->runs(action, make_encode_stage);
}

}  // namespace vtissue::cli
