#include <CLI/CLI.hpp>
#include <memory>

#include "cli/line.h"
#include "cli/stage_command.h"
#include "stages/synthesize/exact_conditions.h"
#include "stages/synthesize/synthesize_stage.h"

namespace vtissue::cli {

void add_synthesize_command(CLI::App& app, Action& action) {
  const auto command = StageCommand::add(app, "synthesize", "Run the denoiser: features.h5, genes.h5 → latents/");
  command->input("features", "features.h5")
      .input("genes", "genes.h5; without it the gene condition is the model's null", false)
      .output("latents", "folder to write");
  command->with_shards();
  const auto windows = std::make_shared<std::filesystem::path>();
  app.get_subcommand("synthesize")
      ->add_option(
          "--windows", *windows,
          "with synthesize.conditions=exact: the folder that holds features.h5 and genes.h5 of each lattice of "
          "windows, 06-10/ for the one at latents 6, 10");
  command->runs(action, [command = command.get(), windows](const pipeline::Config& config, Engines& engines) {
    auto stage = make_synthesize_stage(config, engines);
    if (windows->empty()) return stage;
    const bool with_genes = !command->input_path("genes").empty();
    for (const Point<Latent> lattice : dynamic_cast<const stages::SynthesizeStage&>(*stage).lattices()) {
      const auto [features, genes] = stages::lattice_ports(lattice);
      const std::filesystem::path folder = *windows / stages::lattice_name(lattice);
      command->bind_input(features, folder / output_names::kFeatures);
      if (with_genes) command->bind_input(genes, folder / output_names::kGenes);
    }
    return stage;
  });
}

}  // namespace vtissue::cli
