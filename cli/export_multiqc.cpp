#include "cli/export_multiqc.h"

#include <CLI/CLI.hpp>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "cli/line.h"
#include "core/atomic_file.h"
#include "core/error.h"
#include "stages/evaluate/multiqc.h"

namespace vtissue::cli {
namespace fs = std::filesystem;
namespace {

/// The folder's own name, also of "out/slide/" and ".".
std::string run_name(const fs::path& folder) {
  const fs::path whole = fs::weakly_canonical(folder);
  return whole.filename().string();
}

nlohmann::json read_metrics_of(const fs::path& folder) {
  const fs::path file = folder / output_names::kMetrics;
  std::ifstream in(file);
  if (!in) throw Error(ErrorCode::kBadInput, "{}: cannot be read; give folders of finished runs", file.string());
  nlohmann::json metrics = nlohmann::json::parse(in, nullptr, false);
  if (metrics.is_discarded()) throw Error(ErrorCode::kBadInput, "{}: not JSON; run evaluate again", file.string());
  return metrics;
}

int export_multiqc(const std::vector<fs::path>& runs, const fs::path& out) {
  if (!out.filename().string().ends_with("_mqc.json")) {
    throw Error(ErrorCode::kUsage, "--out {}: MultiQC finds files whose names end in _mqc.json", out.string());
  }
  std::map<std::string, nlohmann::json> metrics;
  for (const fs::path& run : runs) {
    if (!metrics.emplace(run_name(run), read_metrics_of(run)).second) {
      throw Error(ErrorCode::kUsage, "{}: another run has the same name, which would be the slide's in the report",
                  run.string());
    }
  }
  write_file_atomically(out, stages::multiqc_section(metrics).dump(2) + "\n");
  std::cout << out.string() << '\n';
  return 0;
}

}  // namespace

void add_export_multiqc(CLI::App& command, Action& action) {
  CLI::App* multiqc = command.add_subcommand("multiqc", "Figures of one run or many for a MultiQC report");
  struct Arguments {
    std::vector<fs::path> runs;
    fs::path out = "vtissue_mqc.json";
  };
  const auto arguments = std::make_shared<Arguments>();
  multiqc->add_option("runs", arguments->runs, "folders of runs")->required();
  multiqc->add_option("--out", arguments->out, "file to write, ending in _mqc.json")->capture_default_str();
  multiqc->callback(
      [&action, arguments] { action = [arguments] { return export_multiqc(arguments->runs, arguments->out); }; });
}

}  // namespace vtissue::cli
