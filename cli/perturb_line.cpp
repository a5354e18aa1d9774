#include "cli/perturb_line.h"

#include <algorithm>
#include <cctype>
#include <map>

#include "cli/app.h"
#include "cli/line.h"
#include "core/error.h"
#include "core/hash.h"
#include "io/anndata.h"
#include "stages/perturb/change_stage.h"
#include "stages/perturb/control_sets.h"
#include "stages/perturb/controls_stage.h"
#include "stages/perturb/difference_stage.h"
#include "stages/perturb/gene_spread.h"
#include "stages/perturb/redraw_stage.h"
#include "stages/perturb/sweep_stage.h"
#include "stages/perturb/trajectory_stage.h"
#include "stages/stitch/stitch_config.h"
#include "stages/synthesize/synthesize_stage.h"

namespace vtissue::cli {
namespace fs = std::filesystem;
using pipeline::Graph;
using pipeline::NodeId;
using pipeline::OutputRef;
using pipeline::Source;
using stages::ControlVariant;
using stages::GeneChange;

namespace {

/// Builds the graph of one request; nodes are made once where several variants share them.
class PerturbLine {
 public:
  PerturbLine(const BaseRun& run, const PerturbRequest& request, Engines& engines)
      : run_(run), request_(request), engines_(engines) {}

  void add_change_and_difference(std::vector<fs::path>& results) {
    const fs::path& out = request_.out;
    const Redrawn drawn = add_variant(request_.changes, run_.seed, "", out, true);
    Source latents = drawn.latents;
    if (!request_.whole_slide()) {
      const NodeId patch =
          graph_.add({.stage = std::make_shared<stages::PatchStage>(),
                      .inputs = {{"latents", run_.file(output_names::kLatents)}, {"changed", drawn.latents}},
                      .outputs = {{"patched", out / output_names::kLatents}}});
      latents = OutputRef{patch, "patched"};
    }
    const NodeId stitch = graph_.add({.stage = make_stitch_stage(run_.config, engines_),
                                      .inputs = {{"latents", latents},
                                                 {"tiles", run_.file(output_names::kTiles)},
                                                 {"expression", OutputRef{drawn.change, "expression"}}},
                                      .outputs = {{"virtual", out / output_names::kVirtual}}});
    stages::DifferenceOptions options;
    options.pyramid = stages::stitch_options(run_.config);
    options.pyramid.generator = generator();
    options.numerics_class = engines_.numerics_class();
    graph_.add({.stage = std::make_shared<stages::DifferenceStage>(options, engines_.encoder()),
                .inputs = {{"tiles", run_.file(output_names::kTiles)},
                           {"base", run_.file(output_names::kVirtual)},
                           {"virtual", OutputRef{stitch, "virtual"}}},
                .outputs = {{"difference", out / "difference.tiff"},
                            {"heatmap", out / "heatmap.tiff"},
                            {"table", out / "changed_tiles.tsv"}}});
    for (const char* name : {output_names::kVirtual, "difference.tiff", "heatmap.tiff", "changed_tiles.tsv"}) {
      results.push_back(out / name);
    }
    if (request_.controls + request_.housekeeping == 0 && request_.seeds == 1) return;
    add_controls(drawn);
    for (const char* name : {"controls.json", "controls.html"}) results.push_back(out / name);
  }

  void add_sweep(std::vector<fs::path>& results) {
    stages::SweepOptions options{
        .region = request_.region, .glass = glass(), .numerics_class = engines_.numerics_class()};
    std::map<std::string, Source, std::less<>> inputs = {{"tiles", run_.file(output_names::kTiles)}};
    for (std::size_t k = 0; k < request_.sweep.size(); ++k) {
      const std::string tag = fmt::format("{:02}", k);
      const Redrawn drawn = add_variant({request_.sweep[k]}, run_.seed, tag, request_.out / "variants" / tag, false);
      options.captions.push_back(stages::to_text(request_.sweep[k]));
      inputs[stages::SweepStage::variant_port(k)] = drawn.latents;
    }
    inputs["base"] = base_of(run_.seed);
    if (!request_.region_file.empty()) inputs["region"] = request_.region_file;
    graph_.add({.stage = std::make_shared<stages::SweepStage>(options, engines_.autoencoder(), engines_.encoder()),
                .inputs = std::move(inputs),
                .outputs = {{"strip", request_.out / "sweep.png"}, {"table", request_.out / "sweep.tsv"}}});
    for (const char* name : {"sweep.png", "sweep.tsv"}) results.push_back(request_.out / name);
  }

  Graph take() { return std::move(graph_); }

 private:
  struct Redrawn {
    NodeId change;
    Source latents;  ///< of the region, or of all of the slide
  };
  /// A seed's own run around the region: made once.
  struct Base {
    std::shared_ptr<const stages::SynthesizeStage> synthesis;
    std::optional<NodeId> trajectory;
  };

  static std::string generator() { return "vtissue " + std::string(version()); }
  std::array<std::uint8_t, 3> glass() const { return stages::stitch_options(run_.config).background; }

  const Base& base(std::uint64_t seed) {
    const auto found = bases_.find(seed);
    if (found != bases_.end()) return found->second;
    Base made{.synthesis = synthesis_of(run_, engines_, seed), .trajectory = {}};
    const bool own = seed == run_.seed;
    if (!own || !request_.whole_slide()) {
      const fs::path out = own ? request_.out : request_.out / "seeds" / std::to_string(seed);
      std::map<std::string, Source, std::less<>> inputs = {{"tiles", run_.file(output_names::kTiles)},
                                                           {"features", run_.file(output_names::kFeatures)},
                                                           {"genes", run_.file(output_names::kGenes)}};
      if (own) inputs["latents"] = run_.file(output_names::kLatents);
      if (!request_.region_file.empty()) inputs["region"] = request_.region_file;
      made.trajectory = graph_.add({.stage = std::make_shared<stages::TrajectoryStage>(request_.region, made.synthesis),
                                    .inputs = std::move(inputs),
                                    .outputs = {{"trajectory", out / "trajectory"}, {"base", out / "base"}},
                                    .name = own ? "trajectory" : fmt::format("trajectory-seed-{}", seed)});
    }
    return bases_.emplace(seed, std::move(made)).first->second;
  }

  Source base_of(std::uint64_t seed) {
    const Base& own = base(seed);
    return own.trajectory ? Source(OutputRef{*own.trajectory, "base"}) : Source(run_.file(output_names::kLatents));
  }

  NodeId add_change(const std::vector<GeneChange>& changes, const std::string& tag, const fs::path& out, bool whole) {
    stages::ChangeOptions options{.changes = changes,
                                  .region = request_.region,
                                  .tokens = engines_.denoiser()->gene_vectors() > 1,
                                  .write_expression = whole,
                                  .chunk_tiles = run_.config.get<int>("encode.chunk_tiles"),
                                  .numerics_class = engines_.numerics_class()};
    pipeline::Node node{
        .stage = std::make_shared<stages::ChangeStage>(options, engines_.gene_encoder()),
        .inputs = {{"expression", run_.file(output_names::kExpression)}, {"tiles", run_.file(output_names::kTiles)}},
        .outputs = {{"genes", out / "changed_genes.h5"}},
        .name = tag.empty() ? "change" : "change-" + tag};
    if (whole) node.outputs["expression"] = out / output_names::kExpression;
    if (!request_.region_file.empty()) node.inputs["region"] = request_.region_file;
    return graph_.add(std::move(node));
  }

  Source add_redraw(NodeId change, std::uint64_t seed, const std::string& tag, const fs::path& folder) {
    const Base own = base(seed);
    pipeline::Node node{.stage = std::make_shared<stages::RedrawStage>(request_.region, own.synthesis),
                        .inputs = {{"tiles", run_.file(output_names::kTiles)},
                                   {"features", run_.file(output_names::kFeatures)},
                                   {"genes", run_.file(output_names::kGenes)},
                                   {"changed", OutputRef{change, "genes"}}},
                        .outputs = {{"latents", folder}},
                        .name = tag.empty() ? "redraw" : "redraw-" + tag};
    if (own.trajectory) node.inputs["trajectory"] = OutputRef{*own.trajectory, "trajectory"};
    if (!request_.region_file.empty()) node.inputs["region"] = request_.region_file;
    return OutputRef{graph_.add(std::move(node)), "latents"};
  }

  Redrawn add_variant(const std::vector<GeneChange>& changes, std::uint64_t seed, const std::string& tag,
                      const fs::path& out, bool whole) {
    const NodeId change = add_change(changes, tag, out, whole);
    // Of all of the slide it is the changed slide itself.
    const bool is_result = whole && request_.whole_slide();
    return {change, add_redraw(change, seed, tag, out / (is_result ? output_names::kLatents : "redrawn"))};
  }

  std::vector<stages::ControlGene> control_genes() {
    const fs::path path = run_.file(output_names::kExpression);
    const io::H5adRows table(path);
    const stages::GeneSpreads spreads = stages::gene_spreads(table, stages::expression_rows(path, table));
    const std::vector<std::string>& read = engines_.gene_encoder()->genes();
    const std::vector<std::string>& genes = table.table().x.genes;
    stages::bind_changes(request_.changes, genes, read, nullptr);
    std::vector<stages::ControlGene> result;
    for (std::size_t g = 0; g < genes.size(); ++g) {
      const bool target =
          std::ranges::any_of(request_.changes, [&](const GeneChange& c) { return c.gene == genes[g]; });
      const bool repeats = std::ranges::find(result, genes[g], &stages::ControlGene::name) != result.end();
      if (!repeats && (target || std::ranges::find(read, genes[g]) != read.end())) {
        result.push_back({genes[g], spreads.genes[g]});
      }
    }
    return result;
  }

  void add_controls(const Redrawn& drawn) {
    using Kind = ControlVariant::Kind;
    stages::ControlsOptions options{.region = request_.region,
                                    .glass = glass(),
                                    .generator = generator(),
                                    .numerics_class = engines_.numerics_class()};
    for (std::size_t k = 0; k < request_.seeds; ++k) options.seeds.push_back(run_.seed + k);
    std::map<std::string, Source, std::less<>> inputs = {{"tiles", run_.file(output_names::kTiles)}};
    if (!request_.region_file.empty()) inputs["region"] = request_.region_file;
    for (std::size_t k = 0; k < options.seeds.size(); ++k) {
      inputs[stages::ControlsStage::base_port(k)] = base_of(options.seeds[k]);
    }
    const auto add = [&](Kind kind, const std::vector<GeneChange>& changes, std::size_t set, std::size_t seed,
                         Source latents) {
      inputs[stages::ControlsStage::variant_port(options.variants.size())] = std::move(latents);
      options.variants.push_back({kind, stages::to_text(changes), set, seed});
    };
    const auto seed_folder = [](const fs::path& out, std::uint64_t seed) {
      return out / fmt::format("redrawn-seed-{}", seed);
    };
    for (std::size_t k = 0; k < options.seeds.size(); ++k) {
      const std::uint64_t seed = options.seeds[k];
      add(Kind::kTarget, request_.changes, 0, k,
          k == 0 ? drawn.latents
                 : add_redraw(drawn.change, seed, fmt::format("seed-{}", seed), seed_folder(request_.out, seed)));
    }
    const auto add_sets = [&](Kind kind, const char* name, const std::vector<std::vector<GeneChange>>& sets) {
      for (std::size_t set = 0; set < sets.size(); ++set) {
        const std::string tag = fmt::format("{}-{:03}", name, set);
        const fs::path folder = request_.out / "controls" / tag;
        const NodeId change = add_change(sets[set], tag, folder, false);
        for (std::size_t k = 0; k < options.seeds.size(); ++k) {
          const std::uint64_t seed = options.seeds[k];
          add(kind, sets[set], set, k,
              add_redraw(change, seed, fmt::format("{}-seed-{}", tag, seed), seed_folder(folder, seed)));
        }
      }
    };
    const std::vector<stages::ControlGene> genes = control_genes();
    if (request_.controls > 0) {
      add_sets(Kind::kRandom, "random",
               stages::matched_random_sets(request_.changes, genes, request_.controls, run_.seed));
    }
    if (request_.housekeeping > 0) {
      const auto sets = stages::housekeeping_sets(request_.changes, genes, request_.housekeeping, run_.seed);
      if (sets.empty()) {
        throw Error(
            ErrorCode::kUsage,
            "--housekeeping: the gene encoder reads too few housekeeping genes that vary on this slide; they are {}",
            stages::housekeeping_source());
      }
      add_sets(Kind::kHousekeeping, "housekeeping", sets);
    }
    graph_.add({.stage = std::make_shared<stages::ControlsStage>(options, engines_.autoencoder(), engines_.encoder()),
                .inputs = std::move(inputs),
                .outputs = {{"controls", request_.out / "controls.json"}, {"page", request_.out / "controls.html"}}});
  }

  const BaseRun& run_;
  const PerturbRequest& request_;
  Engines& engines_;
  Graph graph_;
  std::map<std::uint64_t, Base> bases_;
};

}  // namespace

std::string perturbation_name(const PerturbRequest& request) {
  constexpr std::size_t kLongestName = 80;
  std::string text = request.sweep.empty() ? stages::to_text(request.changes)
                                           : "sweep-" + stages::to_text(request.sweep.front()) + "-" +
                                                 std::to_string(request.sweep.size());
  std::erase(text, '=');
  for (char& c : text) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '-' && c != '+' && c != '.') c = '_';
  }
  std::string told_apart = stages::to_text(request.changes) + stages::to_text(request.sweep);
  if (!request.whole_slide()) told_apart += request.region.to_json().dump() + request.region_file.string();
  if (text.size() <= kLongestName && request.whole_slide() && request.sweep.empty()) return text;
  return text.substr(0, kLongestName) + "-" + sha256(told_apart).substr(0, 8);
}

Graph make_perturb_line(const BaseRun& run, const PerturbRequest& request, Engines& engines,
                        std::vector<fs::path>& results) {
  PerturbLine line(run, request, engines);
  if (request.sweep.empty()) {
    line.add_change_and_difference(results);
  } else {
    line.add_sweep(results);
  }
  return line.take();
}

}  // namespace vtissue::cli
