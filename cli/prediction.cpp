#include "cli/prediction.h"

#include <sched.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <ctime>
#include <fstream>
#include <set>
#include <thread>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/file_digests.h"
#include "core/hash.h"
#include "io/pyramid_writer.h"
#include "io/slide_reader.h"
#include "io/tile_store.h"
#include "pipeline/executor.h"
#include "pipeline/progress.h"
#include "stages/evaluate/evaluate_config.h"
#include "stages/stitch/stitch_stage.h"
#include "stages/stitch/synthetic_mark.h"
#include "stages/synthesize/synthesize_stage.h"

namespace vtissue::cli {
namespace fs = std::filesystem;
using PredictionClock = std::chrono::steady_clock;

namespace {

constexpr int kCalibrationFormat = 1;
constexpr int kSmallSquare = 3, kLargeSquare = 8;  // tiles across
constexpr int kSampleSteps = 4, kSampleBlendedSteps = 1;

double seconds_since(PredictionClock::time_point start) {
  return std::chrono::duration<double>(PredictionClock::now() - start).count();
}

std::string processor_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.starts_with("model name")) return line.substr(std::min(line.size(), line.find(':') + 2));
  }
  return "unknown";
}

std::int64_t anonymous_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("RssAnon:")) return std::stoll(line.substr(8)) * 1024;
  }
  return 0;
}

/// The largest anonymous memory of this process while it lives.
class MemoryPeak {
 public:
  MemoryPeak()
      : thread_([this](const std::stop_token& stop) {
          while (!stop.stop_requested()) {
            peak_ = std::max(peak_.load(), anonymous_bytes());
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
          }
        }) {}
  std::int64_t bytes() const { return peak_; }

 private:
  std::atomic<std::int64_t> peak_ = 0;
  std::jthread thread_;
};

/// Nothing but errors is said while a sample is run.
class QuietLog {
 public:
  QuietLog() : before_(spdlog::get_level()) { spdlog::set_level(spdlog::level::err); }
  ~QuietLog() { spdlog::set_level(before_); }
  QuietLog(const QuietLog&) = delete;
  QuietLog& operator=(const QuietLog&) = delete;

 private:
  spdlog::level::level_enum before_;
};

std::int64_t bytes_of(const fs::path& path) {
  std::error_code unknown;
  if (fs::is_regular_file(path, unknown)) return static_cast<std::int64_t>(fs::file_size(path, unknown));
  std::int64_t sum = 0;
  for (fs::recursive_directory_iterator entry(path, unknown), end; !unknown && entry != end; entry.increment(unknown)) {
    if (entry->is_regular_file(unknown)) sum += static_cast<std::int64_t>(entry->file_size(unknown));
  }
  return sum;
}

/// A part of a slide's level 0 as a slide of its own.
void write_part(const io::SlideReader& slide, double mpp, Box<Level0Px> box, const fs::path& path) {
  io::PyramidOptions options;
  options.size = {box.size.width, box.size.height};
  options.mpp = mpp;
  options.quality = 85;
  const io::RgbImage card{{64, 64}, std::vector<std::uint8_t>(64 * 64 * 3, 255)};
  io::write_pyramid(
      path, options,
      [&](int bx, int by) {
        const Size<LevelPx> size{options.block_px, options.block_px};
        std::vector<std::uint8_t> rgb(static_cast<std::size_t>(size.area()) * 3);
        slide.read(
            0, {box.origin.x + std::int64_t{bx} * options.block_px, box.origin.y + std::int64_t{by} * options.block_px},
            size, rgb);
        return io::encode_block(options, bx, by, rgb);
      },
      card, card);
}

/// What the networks and their settings decide of the time.
nlohmann::json settings_of(const pipeline::Config& config) {
  nlohmann::json synthesize = config.resolved().at("synthesize");
  for (const char* key : {"seed", "steps", "mode", "blended_steps", "canvas_mb"}) synthesize.erase(key);
  return {{"synthesize", synthesize},
          {"tile", {config.get<int>("tile.size_px"), config.get<double>("tile.mpp")}},
          {"stitch", config.resolved().at("stitch")},
          {"evaluate", config.get<int>("evaluate.seam_boxes")}};
}

double encode_seconds_of_glass() {
  io::PyramidOptions options;
  options.size = {std::int64_t{4} * options.block_px, std::int64_t{4} * options.block_px};
  options.mpp = 1;
  std::vector<std::uint8_t> block(static_cast<std::size_t>(options.block_px) * options.block_px * 3);
  const auto start = PredictionClock::now();
  constexpr int kRounds = 3;
  for (int round = 0; round < kRounds; ++round) {
    stages::fill_glass({options.block_px, options.block_px}, {options.block_px, options.block_px}, {244, 243, 245},
                       block);
    io::encode_block(options, 1, 1, block);
  }
  return seconds_since(start) / kRounds;
}

}  // namespace

nlohmann::json to_json(const Calibration& calibration) {
  const auto lines = [](const std::map<std::string, Calibration::Line>& all) {
    nlohmann::json stored = nlohmann::json::object();
    for (const auto& [name, line] : all) stored[name] = {line.fixed, line.per_unit};
    return stored;
  };
  return {{"format", kCalibrationFormat},
          {"seconds", lines(calibration.seconds)},
          {"bytes", lines(calibration.bytes)},
          {"glass_block_seconds", calibration.glass_block_seconds},
          {"memory_bytes", calibration.memory_bytes},
          {"made", calibration.made}};
}

Calibration calibration_from_json(const nlohmann::json& stored) {
  const auto lines = [&](const char* key) {
    std::map<std::string, Calibration::Line> all;
    for (const auto& [name, line] : stored.at(key).items()) all[name] = {line.at(0), line.at(1)};
    return all;
  };
  Calibration calibration;
  calibration.seconds = lines("seconds");
  calibration.bytes = lines("bytes");
  calibration.glass_block_seconds = stored.at("glass_block_seconds");
  calibration.memory_bytes = stored.at("memory_bytes");
  calibration.made = stored.at("made");
  return calibration;
}

Calibration::Line line_through(double units_small, double small, double units_large, double large) {
  if (!(units_large > 0)) return {large, 0};
  if (units_large > units_small) {
    const double per_unit = (large - small) / (units_large - units_small);
    const double fixed = large - per_unit * units_large;
    if (per_unit >= 0 && fixed >= 0) return {fixed, per_unit};
    if (per_unit < 0) return {large, 0};
  }
  return {0, large / units_large};
}

/// A folder that goes with its owner.
struct Predictor::Scratch {
  Scratch() {
    std::string name = (fs::temp_directory_path() / "vtissue-plan-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw_output_error(fs::temp_directory_path(), "make a folder in", errno);
    path = name;
  }
  ~Scratch() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  fs::path path;
};

/// What one square of tissue took.
struct Predictor::Sample {
  WorkUnits units;
  std::map<std::string, double> seconds, bytes;
};

Predictor::Predictor(const pipeline::Config& config, const LineInputs& inputs, Engines& engines, const Session& session)
    : config_(config), inputs_(inputs), engines_(engines), session_(session) {}

fs::path Predictor::file() const {
  const fs::path cache = user_cache_folder();
  if (cache.empty()) return {};
  const nlohmann::json key = {{"processor", processor_name()},
                              {"cores", ::sysconf(_SC_NPROCESSORS_ONLN)},
                              {"threads", {session_.threads().device, session_.threads().io}},
                              {"in_flight", session_.options().in_flight},
                              {"device", session_.options().device},
                              {"numerics", engines_.numerics_class()},
                              {"predicted", !inputs_.expression.measured()},
                              {"models",
                               {engines_.encoder()->info().sha256, engines_.gene_encoder()->info().sha256,
                                engines_.denoiser()->info().sha256, engines_.autoencoder()->info().sha256,
                                inputs_.expression.measured() ? "" : engines_.predictor()->info().sha256}},
                              {"settings", settings_of(config_)}};
  return cache / "calibration" / (sha256(key.dump()).substr(0, 32) + ".json");
}

std::optional<Calibration> Predictor::remembered() const {
  std::ifstream in(file());
  if (!in) return std::nullopt;
  try {
    const nlohmann::json stored = nlohmann::json::parse(in);
    if (stored.at("format") != kCalibrationFormat) return std::nullopt;
    return calibration_from_json(stored);
  } catch (const nlohmann::json::exception& error) {
    spdlog::warn("{}: not usable as a calibration ({})", file().string(), error.what());
    return std::nullopt;
  }
}

void Predictor::find_tiles(const Scratch& scratch) {
  if (units_) return;
  if (inputs_.slide.empty()) {
    throw Error(ErrorCode::kUsage, "what a run without a slide costs is not predicted; leave out --calibrate");
  }
  const pipeline::Graph line = make_line(config_, inputs_, engines_);
  pipeline::Node tile = line.nodes().front();
  tile.outputs = {{"tiles", scratch.path / "all" / "tiles.h5"}};
  pipeline::Graph graph;
  graph.add(std::move(tile));
  const QuietLog quiet;
  const auto progress = pipeline::make_progress(pipeline::ProgressStyle::kOff);
  pipeline::Executor executor(graph, pipeline::folders_for_run(scratch.path / "all"), {}, *progress);
  executor.run({});
  tile_seconds_ = executor.outcomes().front().wall_seconds;
  const fs::path path = scratch.path / "all" / "tiles.h5";
  units_ = units_of(path);
  for (const TileCell cell : io::read_tiles(path).cells) cells_.emplace_back(cell.column / 2, cell.row / 2);
}

WorkUnits Predictor::units_of(const fs::path& path) const {
  const io::TileSet tiles = io::read_tiles(path);
  const auto stage = std::dynamic_pointer_cast<const stages::SynthesizeStage>(make_synthesize_stage(config_, engines_));
  const auto across = [](std::int64_t px) {
    return static_cast<double>((px + stages::StitchStage::kBlockPx - 1) / stages::StitchStage::kBlockPx);
  };
  const auto n = static_cast<double>(tiles.cells.size());
  return {n, static_cast<double>(stage->window_evaluations(tiles.cells)),
          across(tiles.target_size.width) * across(tiles.target_size.height),
          std::min(n, static_cast<double>(stages::evaluate_options(config_).max_tiles))};
}

Predictor::Sample Predictor::run_square(int tiles_across, const Scratch& scratch) const {
  // Where most tiles are.
  const std::set<std::pair<int, int>> all(cells_.begin(), cells_.end());
  std::pair<int, int> best = cells_.front();
  int most = 0;
  const std::size_t every = std::max<std::size_t>(1, cells_.size() / 2000);
  for (std::size_t i = 0; i < cells_.size(); i += every) {
    int tiles = 0;
    for (int x = 0; x < tiles_across; ++x) {
      for (int y = 0; y < tiles_across; ++y) tiles += all.contains({cells_[i].first + x, cells_[i].second + y}) ? 1 : 0;
    }
    if (tiles > most) {
      most = tiles;
      best = cells_[i];
    }
  }
  const auto slide = io::SlideReader::open(inputs_.slide, {.mpp = config_.get_optional<double>("tile.slide_mpp")});
  const double mpp = (slide->info().mpp->x + slide->info().mpp->y) / 2;
  const double tile_px = config_.get<int>("tile.size_px") * config_.get<double>("tile.mpp") / mpp;
  const auto at = [&](int tile) { return static_cast<std::int64_t>(std::llround(tile * tile_px)); };
  const fs::path folder = scratch.path / std::to_string(tiles_across);
  fs::create_directories(folder);
  // A few pixels more, so that rounding does not cost the last row of tiles.
  const std::int64_t side = at(tiles_across) + 2;
  write_part(*slide, mpp, {{at(best.first), at(best.second)}, {side, side}}, folder / "slide.svs");

  pipeline::Config config = config_;
  config.set_value("tile.region", nullptr);
  config.set_value("tile.slide_mpp", mpp);
  config.set_value("tile.min_tissue", 0.0);
  for (const char* key : {"tissue.annotations", "tissue.mask"}) config.set_value(key, nullptr);
  config.set_value("synthesize.conditions", "interpolated");
  config.set_value("ood.policy", "off");
  config.set_value("synthesize.steps", kSampleSteps);
  config.set_value("synthesize.blended_steps", kSampleBlendedSteps);
  LineInputs inputs = inputs_;
  inputs.slide = folder / "slide.svs";
  inputs.out = folder / "out";
  inputs.expression = {};
  inputs.annotations.clear();
  inputs.tissue_mask.clear();
  const bool measured = inputs_.expression.measured();
  pipeline::Graph line = measured ? make_preview_line(config, inputs, {{0, 0}, {side, side}}, engines_)
                                  : make_line(config, inputs, engines_);
  const auto progress = pipeline::make_progress(pipeline::ProgressStyle::kOff);
  const pipeline::Resources resources{.threads = session_.threads().io, .in_flight = session_.options().in_flight};
  pipeline::Executor executor(line, pipeline::folders_for_run(inputs.out), {.resources = resources}, *progress);
  executor.run(session_.stop_token());

  Sample sample;
  Predictor counting(config, inputs, engines_, session_);
  sample.units = counting.units_of(inputs.out / output_names::kTiles);
  for (const pipeline::StageOutcome& outcome : executor.outcomes()) sample.seconds[outcome.name] = outcome.wall_seconds;
  for (const pipeline::Node& node : line.nodes()) {
    for (const auto& [port, path] : node.outputs) {
      sample.bytes[path.filename().string()] = static_cast<double>(bytes_of(path));
    }
  }
  return sample;
}

Calibration Predictor::calibrate() {
  if (inputs_.expression.measured()) {
    throw Error(ErrorCode::kUsage,
                "--calibrate with measured expression: spots cannot be cut out with a part of the slide; calibrate "
                "without them, expression is read in seconds");
  }
  const Scratch scratch;
  find_tiles(scratch);
  Calibration calibration;
  const MemoryPeak peak;
  {
    const QuietLog quiet;
    run_square(kSmallSquare, scratch);  // the first calls of a network are slower
    const Sample small = run_square(kSmallSquare + 1, scratch), large = run_square(kLargeSquare, scratch);
    const auto units = [](const std::string& stage, const WorkUnits& all) {
      return stage == "synthesize" ? all.windows : stage == "evaluate" ? all.compared : all.tiles;
    };
    for (const auto& [stage, seconds] : large.seconds) {
      calibration.seconds[stage] =
          line_through(units(stage, small.units), small.seconds.at(stage), units(stage, large.units), seconds);
    }
    for (const auto& [name, bytes] : large.bytes) {
      calibration.bytes[name] = line_through(small.units.tiles, small.bytes.at(name), large.units.tiles, bytes);
    }
  }
  calibration.glass_block_seconds = encode_seconds_of_glass();
  calibration.memory_bytes = static_cast<double>(peak.bytes());
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  ::gmtime_r(&now, &utc);
  char day[16];
  std::strftime(day, sizeof day, "%Y-%m-%d", &utc);
  calibration.made = day;
  if (const fs::path path = file(); !path.empty()) {
    std::error_code failure;
    fs::create_directories(path.parent_path(), failure);
    if (failure) throw_output_error(path.parent_path(), "create the folder", failure.value());
    write_file_atomically(path, to_json(calibration).dump(1) + "\n");
  }
  return calibration;
}

Prediction Predictor::predict(const Calibration& calibration, const std::vector<std::string>& stages) {
  const Scratch scratch;
  find_tiles(scratch);
  Prediction prediction;
  for (const std::string& stage : stages) {
    // embed-06-10: the same on a lattice of windows.
    const auto line = calibration.seconds.find(stage.substr(0, stage.find('-')));
    double seconds = 0;
    if (stage == "tile") {
      seconds = tile_seconds_;
    } else if (line != calibration.seconds.end()) {
      const double units = stage == "synthesize" ? units_->windows
                           : stage == "evaluate" ? units_->compared
                                                 : units_->tiles;
      // A report's pictures are of a fixed size, whatever is on them.
      seconds = stage == "report" ? line->second.at(0) : line->second.at(units);
      if (stage == "stitch") seconds += calibration.glass_block_seconds * std::max(0.0, units_->blocks - 1);
    }
    prediction.seconds[stage] = seconds;
    prediction.total_seconds += seconds;
  }
  double outputs = 0;
  for (const auto& [name, line] : calibration.bytes) outputs += line.at(units_->tiles);
  const auto synthesize =
      std::dynamic_pointer_cast<const stages::SynthesizeStage>(make_synthesize_stage(config_, engines_));
  const double parts = static_cast<double>(synthesize->parts_bytes(static_cast<std::int64_t>(units_->tiles)));
  const auto virtual_line = calibration.bytes.find(output_names::kVirtual);
  const double stitched = virtual_line == calibration.bytes.end() ? 0 : virtual_line->second.at(units_->tiles);
  // The largest of what is on the disk beside the results: synthesis' states while there is no slide yet, or the
  // slide's blocks while it is laid out.
  prediction.disk_bytes = static_cast<std::int64_t>(std::max(outputs - stitched + parts, outputs + stitched));
  const double canvas = static_cast<double>(synthesize->canvas_bytes(static_cast<std::int64_t>(units_->tiles)));
  prediction.memory_bytes = static_cast<std::int64_t>(calibration.memory_bytes + canvas);
  return prediction;
}

}  // namespace vtissue::cli
