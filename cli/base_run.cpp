#include "cli/base_run.h"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <string>

#include "cli/app.h"
#include "cli/line.h"
#include "cli/schema.h"
#include "core/error.h"
#include "io/latent_store.h"
#include "pipeline/run_record.h"
#include "stages/synthesize/synthesize_stage.h"
#include "stages/synthesize/tile_conditions.h"

namespace vtissue::cli {
namespace fs = std::filesystem;
using pipeline::Config;

namespace {

nlohmann::json read_run_record(const fs::path& folder) {
  const fs::path path = folder / output_names::kRun;
  std::error_code absent;
  if (!fs::exists(path, absent)) {
    throw Error(ErrorCode::kBadInput, "{}: no such file; give the output folder of a finished vtissue run",
                path.string());
  }
  std::ifstream file(path, std::ios::binary);
  nlohmann::json record = nlohmann::json::parse(file, nullptr, false);
  if (!pipeline::is_run_record(path) || !record.contains("configuration") || !record["configuration"].is_object()) {
    throw Error(ErrorCode::kBadInput, "{}: is not the record of a vtissue run", path.string());
  }
  if (record.value("outcome", "") != "complete") {
    throw Error(ErrorCode::kBadInput, "{}: the run is {}; run it again until it is complete", path.string(),
                record.value("outcome", "not complete"));
  }
  return record;
}

Config config_of_record(const nlohmann::json& record, const fs::path& path) {
  Config config = Config::defaults(schema());
  for (const pipeline::ConfigKey& key : schema().keys()) {
    std::string pointer = "/" + key.name;
    std::replace(pointer.begin(), pointer.end(), '.', '/');
    const nlohmann::json::json_pointer place(pointer);
    if (!record["configuration"].contains(place) || record["configuration"].at(place).is_null()) continue;
    try {
      config.set_value(key.name, record["configuration"].at(place));
    } catch (Error& e) {
      e.add("{}", path.string());
      throw;
    }
  }
  return config;
}

}  // namespace

BaseRun load_base_run(const fs::path& folder, const CommonOptions& options) {
  if (options.seed) {
    throw Error(ErrorCode::kUsage, "--seed: the noise is the run's own; leave the option out");
  }
  nlohmann::json record = read_run_record(folder);
  Config config = options.config.empty() ? config_of_record(record, folder / output_names::kRun)
                                         : Config::load(options.config, schema());
  for (const char* name : {output_names::kTiles, output_names::kFeatures, output_names::kExpression,
                           output_names::kGenes, output_names::kLatents, output_names::kVirtual}) {
    std::error_code absent;
    if (fs::exists(folder / name, absent)) continue;
    throw Error(ErrorCode::kBadInput, "{}: is gone from the run's folder; run it again", (folder / name).string());
  }
  const io::LatentStoreInfo latents = io::LatentReader(folder / output_names::kLatents).info();
  if (latents.made_by.contains("settings")) {
    for (const auto& [name, value] : latents.made_by["settings"].items()) {
      if (schema().find("synthesize." + name) != nullptr) config.set_value("synthesize." + name, value);
    }
  }
  for (const std::string& assignment : options.set) config.set(assignment);
  return {folder, std::move(config), std::move(record), latents.seed};
}

std::shared_ptr<const stages::SynthesizeStage> synthesis_of(const BaseRun& run, Engines& engines, std::uint64_t seed) {
  Config config = run.config;
  config.set_value("synthesize.seed", seed);
  if (config.get<std::string>("synthesize.conditions") == "exact") {
    throw Error(ErrorCode::kUsage,
                "{}: was made with exact conditions, of which only whole runs know how to be made; run it again with "
                "synthesize.conditions interpolated",
                run.folder.string());
  }
  return std::dynamic_pointer_cast<const stages::SynthesizeStage>(make_synthesize_stage(config, engines));
}

void require_same_synthesis(const BaseRun& run, Engines& engines) {
  const nlohmann::json numerics = run.record.value("numerics", nlohmann::json());
  if (numerics.is_string() && numerics != engines.numerics_class()) {
    throw Error(
        ErrorCode::kUsage,
        "{} was made in the numerics class {}, here it would be {}: a slide has one class, and the same noise gives "
        "the same picture in one class alone; use the same machine, --device and --dtype, or make the run again here",
        run.folder.string(), numerics.get<std::string>(), engines.numerics_class());
  }
  const auto synthesis = synthesis_of(run, engines, run.seed);
  const stages::ConditionSource conditions(run.file(output_names::kFeatures), run.file(output_names::kGenes),
                                           engines.denoiser());
  const nlohmann::json before = io::LatentReader(run.file(output_names::kLatents)).info().made_by;
  const nlohmann::json now = synthesis->made_by(conditions);
  for (const char* part : {"models", "settings"}) {
    if (!before.contains(part) || before[part] == now.at(part)) continue;
    throw Error(ErrorCode::kModel,
                "{}: made with the {} {}, but they would now be {}; use the run's own configuration and weights",
                run.file(output_names::kLatents).string(), part, before[part].dump(), now.at(part).dump());
  }
}

void run_on_base(Session& session, const BaseRun& run, Engines& engines, const pipeline::Graph& graph,
                 const fs::path& out) {
  const fs::path& work = session.options().work;
  const auto folders = pipeline::folders_for_run(out, work.empty() ? std::nullopt : std::optional(work));
  const fs::path record_file = out / output_names::kRun;
  const auto started = std::chrono::system_clock::now();
  session.run(graph, folders, {}, record_file, [&](const pipeline::Executor& executor, const Error* error) {
    pipeline::RunInfo info;
    info.software_version = std::string(version());
    info.configuration = run.config.resolved();
    info.numerics = engines.numerics_class();
    info.error = error != nullptr ? error->what() : "";
    info.interrupted = error != nullptr && error->code() == ErrorCode::kInterrupted;
    info.started = started;
    info.ended = std::chrono::system_clock::now();
    pipeline::write_run_record(record_file, info, executor);
  });
}

}  // namespace vtissue::cli
