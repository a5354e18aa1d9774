#include "stages/ood/ood_stage.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "core/atomic_file.h"
#include "core/error.h"
#include "io/feature_store.h"
#include "io/png.h"
#include "io/tile_store.h"
#include "pipeline/run_context.h"
#include "stages/maps/tile_map.h"

namespace vtissue::stages {
namespace {

using Distances = std::vector<std::optional<double>>;  // by tile, as a multiple of the 0.99 quantile

/// Nothing, and why, where a modality cannot be judged.
struct JudgedModality {
  nlohmann::json report;
  Distances multiples;
  double far_share = 0;
};

JudgedModality unjudged(std::string reason) { return {{{"judged", false}, {"reason", std::move(reason)}}, {}, 0}; }

JudgedModality judge(const io::FeatureReader& reader, std::string_view set_name,
                     const std::optional<ModalityStatistics>& statistics, pipeline::RunContext& ctx) {
  constexpr std::size_t kAtOnce = 1024;
  if (!statistics) return unjudged("the denoiser states no statistics of its training's conditions");
  const io::FeatureSetInfo set = reader.info(set_name);
  if (set.encoder_sha256 != statistics->encoder_sha256 || static_cast<std::size_t>(set.dim) != statistics->dim) {
    return unjudged("the statistics are of another encoder's embeddings");
  }
  JudgedModality judged;
  judged.multiples.resize(reader.cells().size());
  const double limit = statistics->quantiles[ModalityStatistics::kFar];
  std::vector<double> distances;
  std::vector<float> values;
  std::vector<std::uint8_t> valid;
  for (std::size_t first = 0; first < reader.cells().size(); first += kAtOnce) {
    ctx.throw_if_stopped();
    const std::size_t n = std::min(kAtOnce, reader.cells().size() - first);
    reader.read(set_name, first, n, values, valid);
    for (std::size_t i = 0; i < n; ++i) {
      if (valid[i] == 0) continue;
      distances.push_back(statistics->distance(std::span(values).subspan(i * statistics->dim, statistics->dim)));
      judged.multiples[first + i] = distances.back() / limit;
    }
  }
  if (distances.empty()) return unjudged("no tile has this condition");
  std::ranges::sort(distances);
  const auto share_over = [&](double bound) {
    return static_cast<double>(distances.end() - std::ranges::upper_bound(distances, bound)) /
           static_cast<double>(distances.size());
  };
  judged.far_share = share_over(limit);
  nlohmann::json beyond = nlohmann::json::object();
  for (std::size_t k = 0; k < std::size(ModalityStatistics::kLevels); ++k) {
    beyond[fmt::format("{}", ModalityStatistics::kLevels[k])] = share_over(statistics->quantiles[k]);
  }
  judged.report = {{"judged", true},
                   {"tiles", distances.size()},
                   {"far_share", judged.far_share},
                   {"share_beyond_quantile", beyond},
                   {"median_distance", distances[distances.size() / 2]},
                   {"largest_distance", distances.back()},
                   {"training",
                    {{"tiles", statistics->rows + statistics->held_out},
                     {"median_distance", statistics->quantiles[0]},
                     {"far_distance", limit}}}};
  return judged;
}

/// Of the modalities the larger multiple.
Distances larger_of(const std::vector<JudgedModality>& modalities, std::size_t tiles) {
  Distances result(tiles);
  for (const JudgedModality& modality : modalities) {
    for (std::size_t i = 0; i < modality.multiples.size(); ++i) {
      if (!modality.multiples[i]) continue;
      result[i] = std::max(result[i].value_or(0), *modality.multiples[i]);
    }
  }
  return result;
}

}  // namespace

OodStage::OodStage(OodOptions options) : options_(std::move(options)) {}

std::vector<pipeline::Port> OodStage::inputs() const {
  return {{.name = "tiles"}, {.name = "features"}, {.name = "genes", .optional = true}};
}

std::vector<pipeline::Port> OodStage::outputs() const { return {{.name = "report"}, {.name = "map"}}; }

nlohmann::json OodStage::identity() const {
  return {{"policy", options_.policy == OodOptions::Policy::kFail ? "fail" : "warn"},
          {"most_far", options_.most_far},
          {"statistics", options_.statistics ? options_.statistics->sha256 : ""},
          {"denoiser", options_.denoiser}};
}

void OodStage::run(const pipeline::Bindings& inputs, const pipeline::Bindings& outputs,
                   pipeline::RunContext& ctx) const {
  constexpr double kMapLow = 0, kMapHigh = 2;
  const io::TileSet tiles = io::read_tiles(inputs.at("tiles"));
  ctx.set_total(1, "slide");
  const ConditionStatistics statistics = options_.statistics.value_or(ConditionStatistics());
  nlohmann::json report = {{"format", 1},
                           {"denoiser", options_.denoiser},
                           {"statistics_sha256", statistics.sha256},
                           {"most_far", options_.most_far}};
  std::vector<JudgedModality> modalities;
  std::vector<std::string> too_far;
  const auto add = [&](const char* key, const std::filesystem::path& path, std::string_view set,
                       const std::optional<ModalityStatistics>& training) {
    const io::FeatureReader reader(path);
    if (reader.cells() != tiles.cells) {
      throw Error(ErrorCode::kBadInput, "{}: made for other tiles; run embed and encode again", path.string());
    }
    modalities.push_back(judge(reader, set, training, ctx));
    const JudgedModality& judged = modalities.back();
    report[key] = judged.report;
    ctx.report(key, judged.report);
    if (judged.far_share > options_.most_far) {
      too_far.push_back(fmt::format("{:.0f} % of the tiles' {} conditions", 100 * judged.far_share, key));
    }
  };
  add("morphology", inputs.at("features"), "morphology", statistics.morphology);
  if (const auto genes = inputs.find("genes"); genes != inputs.end())
    add("expression", genes->second, "cls", statistics.gene);

  if (!options_.statistics) {
    ctx.warn(fmt::format(
        "{} states no statistics of the conditions it was trained with: how far this slide is from them is not known "
        "(vtissue weights conditions computes them)",
        options_.denoiser));
  }
  if (!too_far.empty()) {
    const std::string message = fmt::format(
        "{} are farther from the training's than 99 % of its own tiles (ood.most_far allows {:.0f} %): what {} draws "
        "there is a guess",
        fmt::join(too_far, " and "), 100 * options_.most_far, options_.denoiser);
    if (options_.policy == OodOptions::Policy::kFail) {
      throw Error(ErrorCode::kBadInput, "{}; use weights trained on such tissue, or ood.policy=warn", message);
    }
    ctx.warn(message);
  }
  write_file_atomically(outputs.at("report"), report.dump(2) + "\n");
  const std::vector<std::byte> png = io::encode_png(
      draw_tile_map(tiles, larger_of(modalities, tiles.cells.size()),
                    {"Distance of the conditions from the training's", "x its 0.99 quantile", kMapLow, kMapHigh}));
  write_file_atomically(outputs.at("map"), png);
  ctx.advance();
}

std::vector<pipeline::ConfigKey> ood_config_keys() {
  using pipeline::ValueType;
  const OodOptions defaults;
  return {
      {.name = "ood.policy",
       .type = ValueType::kString,
       .default_value = std::string("warn"),
       .description = "what happens if more tiles than ood.most_far have conditions far from those the denoiser was "
                      "trained with: fail, "
                      "warn; off: nobody looks",
       .choices = {"fail", "warn", "off"}},
      {.name = "ood.most_far",
       .type = ValueType::kNumber,
       .default_value = defaults.most_far,
       .description = "share of the tiles that may lie farther from the training's mean than 99 % of its own tiles do, "
                      "for each modality",
       .minimum = 0,
       .maximum = 1},
  };
}

OodOptions ood_options(const pipeline::Config& config) {
  const std::string policy = config.get<std::string>("ood.policy");
  OodOptions options;
  options.policy = policy == "fail"  ? OodOptions::Policy::kFail
                   : policy == "off" ? OodOptions::Policy::kOff
                                     : OodOptions::Policy::kWarn;
  options.most_far = config.get<double>("ood.most_far");
  return options;
}

}  // namespace vtissue::stages
