#include "cli/line.h"
#include "cli/stage_command.h"

namespace vtissue::cli {

void add_synthesize_command(CLI::App& app, Action& action) {
  const auto command = StageCommand::add(app, "synthesize", "Run the denoiser: features.h5, genes.h5 → latents/");
  command->input("features", "features.h5")
      .input("genes", "genes.h5; without it the gene condition is the model's null", false)
      .output("latents", "folder to write");
  command->runs(action, make_synthesize_stage);
}

}  // namespace vtissue::cli
