#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "cli/engines.h"
#include "cli/line.h"
#include "cli/session.h"
#include "pipeline/config.h"

namespace vtissue::cli {

/// How much of each kind of work a slide makes.
struct WorkUnits {
  double tiles = 0;
  double windows = 0;   ///< evaluations of the denoiser
  double blocks = 0;    ///< of the virtual slide
  double compared = 0;  ///< tiles that evaluate reads
};

/// What stages were measured to cost on one machine with one set of models: seconds and bytes as straight lines over
/// the stage's own unit.
struct Calibration {
  struct Line {
    double fixed = 0;
    double per_unit = 0;
    double at(double units) const { return fixed + per_unit * units; }
  };
  std::map<std::string, Line> seconds;  ///< by stage
  std::map<std::string, Line> bytes;    ///< of each output, by name, over tiles
  double glass_block_seconds = 0;
  double memory_bytes = 0;  ///< anonymous memory at the peak, beside what grows with the slide
  std::string made;         ///< date
};

nlohmann::json to_json(const Calibration& calibration);
/// Throws nlohmann::json::exception.
Calibration calibration_from_json(const nlohmann::json& stored);

/// The straight line through two measurements; where noise would make a part of it negative, through the origin and the
/// larger one. Pure.
Calibration::Line line_through(double units_small, double small, double units_large, double large);

struct Prediction {
  std::map<std::string, double> seconds;  ///< by stage
  double total_seconds = 0;
  std::int64_t memory_bytes = 0;  ///< anonymous, at the peak
  std::int64_t disk_bytes = 0;    ///< in output and work folder, at the peak
};

/// Predicts what a run of the line over a slide costs. One at a time in a process.
class Predictor {
 public:
  /// References must outlive it.
  Predictor(const pipeline::Config& config, const LineInputs& inputs, Engines& engines, const Session& session);

  /// What an earlier calibrate() on this machine with these models has left.
  std::optional<Calibration> remembered() const;

  /// Runs the line over two small squares of the slide's tissue in a folder of its own, and remembers what that cost in
  /// the user's cache folder. Throws Error.
  Calibration calibrate();

  /// Of the stages of these names, from the slide's own tiles, which are looked for here. Throws Error as `vtissue
  /// tile`.
  Prediction predict(const Calibration& calibration, const std::vector<std::string>& stages);

 private:
  struct Scratch;
  std::filesystem::path file() const;
  void find_tiles(const Scratch& scratch);
  WorkUnits units_of(const std::filesystem::path& tiles) const;
  struct Sample;
  Sample run_square(int tiles_across, const Scratch& scratch) const;

  const pipeline::Config& config_;
  const LineInputs& inputs_;
  Engines& engines_;
  const Session& session_;
  double tile_seconds_ = 0;
  std::optional<WorkUnits> units_;
  std::vector<std::pair<int, int>> cells_;  ///< (column, row) in tiles
};

}  // namespace vtissue::cli
