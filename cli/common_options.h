#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "pipeline/config.h"
#include "pipeline/progress.h"

namespace CLI {
class App;
}

namespace vtissue::cli {

/// What every computing subcommand takes (DESIGN 8). Of these only --seed, --device and --dtype change a result; where
/// models are found and by what names their tensors go counts as the models themselves.
struct CommonOptions {
  std::filesystem::path config;                          ///< YAML; empty: all defaults
  std::vector<std::string> set;                          ///< a.b=v, applied after the file
  int threads = 0;                                       ///< cores; 0: all that this process may use
  std::vector<std::filesystem::path> model_directories;  ///< where models given by name are; then VTISSUE_MODEL_DIR
  std::vector<std::string> name_maps;                    ///< role=file: names of a release's tensors (docs/weights.md)
  std::string device = "cpu";
  std::string dtype = "f32";
  std::optional<std::uint64_t> seed;
  int in_flight = 4;
  std::filesystem::path work;  ///< committed parts; empty: beside the output
  std::string max_time;        ///< "90s", "30m", "2h"
  std::string log_format = "text";
  std::string progress = "auto";
  bool overwrite = false;
  bool dry_run = false;

  /// `config_required`: --config is a positional of the caller's instead.
  void add_to(CLI::App& app, bool with_config_option);

  /// Cores to use: --threads, or what the affinity mask allows.
  int resolved_threads() const;
  /// Throws Error kUsage for anything but a number with s, m or h.
  std::optional<double> max_seconds() const;
  pipeline::ProgressStyle progress_style() const;
  /// File, --set and --seed on top of the schema's defaults. Throws Error kUsage.
  pipeline::Config load_config() const;
};

}  // namespace vtissue::cli
