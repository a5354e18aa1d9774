#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>
#include <set>
#include <vector>

#include "cli/app.h"
#include "core/error.h"
#include "io/feature_store.h"
#include "stages/ood/condition_statistics.h"

namespace vtissue::cli {
namespace fs = std::filesystem;

namespace {

struct ConditionsArguments {
  std::vector<fs::path> features, genes;
  fs::path out;
};

/// The valid rows of a set of one vector a tile, of all stores one after another.
stages::ModalityStatistics statistics_of(const std::vector<fs::path>& stores, std::string_view set) {
  constexpr std::size_t kAtOnce = 4096;
  std::vector<float> rows;
  std::set<std::string> encoders;
  std::size_t dim = 0;
  for (const fs::path& path : stores) {
    const io::FeatureReader reader(path);
    const io::FeatureSetInfo info = reader.info(set);
    encoders.insert(info.encoder_sha256);
    if (encoders.size() > 1 || (dim != 0 && dim != static_cast<std::size_t>(info.dim)) || info.vectors != 1) {
      throw Error(ErrorCode::kModel,
                  "{}: set \"{}\" was made by {} ({}), another encoder than that of the stores before", path.string(),
                  set, info.encoder, info.encoder_sha256);
    }
    dim = static_cast<std::size_t>(info.dim);
    std::vector<float> values;
    std::vector<std::uint8_t> valid;
    for (std::size_t first = 0; first < reader.cells().size(); first += kAtOnce) {
      const std::size_t n = std::min(kAtOnce, reader.cells().size() - first);
      reader.read(set, first, n, values, valid);
      for (std::size_t i = 0; i < n; ++i) {
        if (valid[i] == 0) continue;
        const auto row = values.begin() + static_cast<std::ptrdiff_t>(i * dim);
        rows.insert(rows.end(), row, row + static_cast<std::ptrdiff_t>(dim));
      }
    }
  }
  return stages::modality_statistics(rows, dim, *encoders.begin());
}

int conditions(const ConditionsArguments& arguments) {
  if (arguments.features.empty() && arguments.genes.empty()) {
    throw Error(ErrorCode::kUsage,
                "no stores are given; --features and --genes take those of the slides the denoiser was trained on");
  }
  stages::ConditionStatistics statistics;
  if (!arguments.features.empty()) statistics.morphology = statistics_of(arguments.features, "morphology");
  if (!arguments.genes.empty()) statistics.gene = statistics_of(arguments.genes, "cls");
  stages::write_condition_statistics(arguments.out, statistics);
  std::cout << arguments.out.string() << '\n';
  return 0;
}

}  // namespace

void add_conditions_command(CLI::App& weights, Action& action) {
  CLI::App* command = weights.add_subcommand(
      "conditions",
      "Statistics of the conditions that a denoiser was trained with, for its folder: how far a slide is from them");
  const auto arguments = std::make_shared<ConditionsArguments>();
  command->add_option("--features", arguments->features, "features.h5 of the slides it was trained on; several");
  command->add_option("--genes", arguments->genes, "their genes.h5; several");
  command->add_option("--out", arguments->out, "file to write: conditions.safetensors in the denoiser's folder")
      ->required();
  command->callback([arguments, &action] { action = [arguments] { return conditions(*arguments); }; });
}

}  // namespace vtissue::cli
