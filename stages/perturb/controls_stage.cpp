#include "stages/perturb/controls_stage.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "core/atomic_file.h"
#include "core/error.h"
#include "pipeline/run_context.h"
#include "stages/perturb/control_sets.h"
#include "stages/perturb/controls_page.h"
#include "stages/perturb/latent_subset.h"
#include "stages/perturb/variant_figures.h"

namespace vtissue::stages {
namespace {

using ControlKind = ControlVariant::Kind;

std::string_view kind_name(ControlKind kind) {
  return kind == ControlKind::kTarget ? "target" : kind == ControlKind::kRandom ? "random" : "housekeeping";
}

/// A set of genes over the seeds.
struct SetEffect {
  std::string genes;
  std::vector<double> magnitude, distance;  ///< by seed
};

double mean_of(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return values.empty() ? 0 : sum / static_cast<double>(values.size());
}

nlohmann::json describe_set(const SetEffect& set) {
  return {{"genes", set.genes},
          {"mean_absolute_difference", mean_of(set.magnitude)},
          {"embedding_distance", mean_of(set.distance)},
          {"by_seed", {{"mean_absolute_difference", set.magnitude}, {"embedding_distance", set.distance}}}};
}

nlohmann::json describe_comparison(const NullComparison& comparison) {
  return {{"n", comparison.n},
          {"effect", comparison.effect},
          {"null_mean", comparison.null_mean},
          {"null_deviation", comparison.null_deviation},
          {"effect_size", comparison.size},
          {"p", comparison.p}};
}

nlohmann::json describe_null(const SetEffect& target, const std::vector<SetEffect>& sets) {
  if (sets.empty()) return nullptr;
  std::vector<double> magnitude, distance;
  nlohmann::json listed = nlohmann::json::array();
  for (const SetEffect& set : sets) {
    magnitude.push_back(mean_of(set.magnitude));
    distance.push_back(mean_of(set.distance));
    listed.push_back(describe_set(set));
  }
  return {{"mean_absolute_difference", describe_comparison(compare_with_null(mean_of(target.magnitude), magnitude))},
          {"embedding_distance", describe_comparison(compare_with_null(mean_of(target.distance), distance))},
          {"sets", listed}};
}

}  // namespace

ControlsStage::ControlsStage(ControlsOptions options, std::shared_ptr<const models::Autoencoder> autoencoder,
                             std::shared_ptr<const models::MorphologyEncoder> encoder)
    : options_(std::move(options)), autoencoder_(std::move(autoencoder)), encoder_(std::move(encoder)) {}

std::string ControlsStage::base_port(std::size_t seed) { return fmt::format("base_{:02}", seed); }
std::string ControlsStage::variant_port(std::size_t variant) { return fmt::format("variant_{:03}", variant); }

std::vector<pipeline::Port> ControlsStage::inputs() const {
  std::vector<pipeline::Port> ports = {{.name = "tiles"}, {.name = "region", .optional = true}};
  for (std::size_t k = 0; k < options_.seeds.size(); ++k) ports.push_back({.name = base_port(k)});
  for (std::size_t k = 0; k < options_.variants.size(); ++k) ports.push_back({.name = variant_port(k)});
  return ports;
}

std::vector<pipeline::Port> ControlsStage::outputs() const { return {{.name = "controls"}, {.name = "page"}}; }

nlohmann::json ControlsStage::identity() const {
  nlohmann::json variants = nlohmann::json::array();
  for (const ControlVariant& variant : options_.variants) {
    variants.push_back({kind_name(variant.kind), variant.genes, variant.set, variant.seed});
  }
  const models::DecodeWindow window = autoencoder_->decode_window();
  return {{"seeds", options_.seeds},
          {"variants", variants},
          {"region", options_.region.to_json()},
          {"glass", options_.glass},
          {"generator", options_.generator},
          {"autoencoder", {{"sha256", autoencoder_->info().sha256}, {"micro_batch", autoencoder_->info().micro_batch}}},
          {"decode_window", {window.inner, window.halo, window.ramp}},
          {"encoder", {{"sha256", encoder_->info().sha256}, {"micro_batch", encoder_->info().micro_batch}}},
          {"numerics_class", options_.numerics_class}};
}

void ControlsStage::run(const pipeline::Bindings& inputs, const pipeline::Bindings& outputs,
                        pipeline::RunContext& ctx) const {
  constexpr std::size_t kFewControls = 19;
  const io::TileSet tiles = io::read_tiles(inputs.at("tiles"));
  const std::vector<std::size_t> region = region_tiles(tiles, options_.region, optional_input(inputs, "region"));
  std::vector<std::filesystem::path> stores;
  std::vector<ComparedStore> pairs;
  for (std::size_t k = 0; k < options_.seeds.size(); ++k) stores.push_back(inputs.at(base_port(k)));
  for (std::size_t k = 0; k < options_.variants.size(); ++k) {
    pairs.push_back({options_.variants[k].seed, stores.size()});
    stores.push_back(inputs.at(variant_port(k)));
  }
  const auto figures = variant_figures(tiles, region, stores, pairs, *autoencoder_, *encoder_, options_.glass, ctx);

  std::map<ControlKind, std::vector<SetEffect>> effects;
  for (std::size_t k = 0; k < options_.variants.size(); ++k) {
    const ControlVariant& variant = options_.variants[k];
    std::vector<SetEffect>& sets = effects[variant.kind];
    if (sets.size() <= variant.set) sets.resize(variant.set + 1);
    SetEffect& set = sets[variant.set];
    const VariantFigure mean = mean_figure(figures[k]);
    set.genes = variant.genes;
    set.magnitude.push_back(mean.magnitude);
    set.distance.push_back(mean.distance);
  }
  const SetEffect& target = effects.at(ControlKind::kTarget).front();
  nlohmann::json notes = nlohmann::json::array();
  nlohmann::json nulls = nlohmann::json::object();
  for (const ControlKind kind : {ControlKind::kRandom, ControlKind::kHousekeeping}) {
    const std::vector<SetEffect>& sets = effects[kind];
    nulls[std::string(kind_name(kind))] = describe_null(target, sets);
    if (!sets.empty() && sets.size() < kFewControls) {
      notes.push_back(fmt::format("{} {} controls: p cannot be below {:.3g}", sets.size(), kind_name(kind),
                                  1.0 / (1.0 + static_cast<double>(sets.size()))));
    }
  }
  const nlohmann::json controls = {{"format", 1},
                                   {"synthetic", true},
                                   {"software", options_.generator},
                                   {"change", target.genes},
                                   {"tiles", region.size()},
                                   {"seeds", options_.seeds},
                                   {"target", describe_set(target)},
                                   {"controls", nulls},
                                   {"housekeeping_source", housekeeping_source()},
                                   {"encoder", {{"name", encoder_->info().name}, {"sha256", encoder_->info().sha256}}},
                                   {"notes", notes}};
  write_file_atomically(outputs.at("controls"), controls.dump(2) + "\n");
  write_file_atomically(outputs.at("page"), controls_page(controls));
  for (const nlohmann::json& note : notes) ctx.warn(note.get<std::string>());
  for (const char* kind : {"random", "housekeeping"}) {
    if (!nulls[kind].is_null()) ctx.report(kind, nulls[kind]["embedding_distance"]);
  }
}

}  // namespace vtissue::stages
