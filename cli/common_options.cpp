#include "cli/common_options.h"

#include <sched.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <charconv>

#include "cli/schema.h"
#include "core/error.h"

namespace vtissue::cli {

namespace {

constexpr double kLongestSeconds = 10000.0 * 3600;  // over a year

}  // namespace

void CommonOptions::add_to(CLI::App& app, bool with_config_option) {
  if (with_config_option) app.add_option("--config", config, "configuration, YAML (docs/configuration.md)");
  app.add_option("--set", set, "one configuration value: a.b=v; may be repeated")->type_name("KEY=VALUE");
  app.add_option("--threads", threads, "cores to use; 0: all that this process may use")
      ->check(CLI::Range(0, 4096))
      ->capture_default_str();
  app.add_option("--model-dir", model_directories,
                 "where models that the configuration names are; may be repeated, before those of VTISSUE_MODEL_DIR")
      ->type_name("DIR");
  app.add_option(
         "--name-map", name_maps,
         "what the tensors of a model's release are called here (docs/weights.md): stmdit=map.yaml; may be repeated")
      ->type_name("MODEL=FILE");
  app.add_option("--device", device, "where the networks run: cpu, cuda, cuda:1")->capture_default_str();
  app.add_option("--dtype", dtype,
                 "arithmetic of the networks: bf16 is faster and a little less exact; a slide has one")
      ->check(CLI::IsMember({"f32", "bf16"}))
      ->capture_default_str();
  app.add_option("--seed", seed, "seed of the noise, instead of the configuration's");
  app.add_option("--in-flight", in_flight, "items between reader, network and writer; more use more memory")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app.add_option("--work", work, "folder of the committed parts; by default <out>/.vtissue/work");
  app.add_option("--max-time", max_time,
                 "stop after the current chunk when this much time is over, exit code 130: 90s, 30m, 2h");
  app.add_option("--log-format", log_format, "of stderr")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  app.add_option("--progress", progress,
                 "progress on stderr; auto: bars on a terminal, else a line now and then; JSON lines with "
                 "--log-format json")
      ->check(CLI::IsMember({"auto", "on", "off"}))
      ->capture_default_str();
  app.add_flag("--overwrite", overwrite,
               "replace outputs that no run of this folder wrote; without it they are refused");
  app.add_flag("--dry-run", dry_run, "check everything and show what would run, but compute nothing");
}

int CommonOptions::resolved_threads() const {
  if (threads > 0) return threads;
  cpu_set_t cores;
  if (sched_getaffinity(0, sizeof cores, &cores) == 0) return CPU_COUNT(&cores);
  return 1;
}

std::optional<double> CommonOptions::max_seconds() const {
  if (max_time.empty()) return std::nullopt;
  double value = 0;
  const char* end = max_time.data() + max_time.size();
  const auto [rest, problem] = std::from_chars(max_time.data(), end, value);
  const std::string_view unit(rest, static_cast<std::size_t>(end - rest));
  const double factor = unit == "s" || unit.empty() ? 1 : unit == "m" ? 60 : unit == "h" ? 3600 : 0;
  if (problem != std::errc() || factor == 0 || !(value > 0)) {
    throw Error(ErrorCode::kUsage, "--max-time {}: expected a positive number with s, m or h, such as 90m", max_time);
  }
  // Also what from_chars() takes for a number: inf, nan (refused above), 1e300.
  if (value * factor > kLongestSeconds) {
    throw Error(ErrorCode::kUsage, "--max-time {}: at most {:.0f}h; leave it out for no limit", max_time,
                kLongestSeconds / 3600);
  }
  return value * factor;
}

pipeline::ProgressStyle CommonOptions::progress_style() const {
  if (progress == "off") return pipeline::ProgressStyle::kOff;
  if (log_format == "json") return pipeline::ProgressStyle::kJsonLines;
  if (progress == "on" || isatty(STDERR_FILENO) != 0) return pipeline::ProgressStyle::kBar;
  return pipeline::ProgressStyle::kLines;
}

pipeline::Config CommonOptions::load_config() const {
  pipeline::Config result =
      config.empty() ? pipeline::Config::defaults(schema()) : pipeline::Config::load(config, schema());
  for (const std::string& assignment : set) result.set(assignment);
  if (seed) result.set_value("synthesize.seed", *seed);
  return result;
}

}  // namespace vtissue::cli
