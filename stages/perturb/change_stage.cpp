#include "stages/perturb/change_stage.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "core/error.h"
#include "io/anndata.h"
#include "io/feature_store.h"
#include "io/tile_store.h"
#include "pipeline/run_context.h"
#include "stages/embed/feature_chunks.h"
#include "stages/embed/slide_of_tiles.h"
#include "stages/encode/expression_rows.h"
#include "stages/encode/gene_matching.h"
#include "stages/perturb/gene_spread.h"

namespace vtissue::stages {
namespace {

namespace fs = std::filesystem;

std::optional<fs::path> region_file(const pipeline::Bindings& inputs) {
  const auto found = inputs.find("region");
  return found == inputs.end() ? std::nullopt : std::optional<fs::path>(found->second);
}

/// A run's expression and what is to be changed in it.
struct ChangePlan {
  ExpressionRows rows;
  std::vector<std::size_t> tiles;  ///< of the region that have expression
  std::size_t in_region = 0;
};

ChangePlan plan_change(const pipeline::Bindings& inputs, const io::H5adRows& table, const RegionOptions& region) {
  const fs::path& path = inputs.at("expression");
  const io::TileSet tiles = io::read_tiles(inputs.at("tiles"));
  ChangePlan plan{.rows = expression_rows(path, table)};
  if (plan.rows.cells != tiles.cells) {
    throw Error(ErrorCode::kBadInput, "{}: its rows are not the tiles of {}; both must come from one run",
                path.string(), inputs.at("tiles").string());
  }
  const std::vector<std::size_t> chosen = region_tiles(tiles, region, region_file(inputs));
  plan.in_region = chosen.size();
  for (const std::size_t tile : chosen) {
    if (plan.rows.valid[tile] != 0) plan.tiles.push_back(tile);
  }
  if (plan.tiles.empty()) {
    throw Error(ErrorCode::kBadInput, "{}: none of the {} tiles of the region has expression that could be changed",
                path.string(), chosen.size());
  }
  return plan;
}

/// Row `row` of `x`, dense, changed.
std::vector<float> changed_row(const io::ExpressionMatrix& x, std::size_t row, const std::vector<std::size_t>& columns,
                               std::vector<AppliedChange>& changes, std::size_t genes) {
  std::vector<float> dense(genes);
  for (auto k = static_cast<std::size_t>(x.indptr[row]); k < static_cast<std::size_t>(x.indptr[row + 1]); ++k) {
    dense[static_cast<std::size_t>(x.indices[k])] = x.values[k];
  }
  for (std::size_t c = 0; c < columns.size(); ++c) dense[columns[c]] = changes[c](dense[columns[c]]);
  return dense;
}

/// Values in the encoder's order; genes that the table lacks are 0.
void append_matched(const std::vector<float>& dense, const GeneMatch& match, std::vector<float>& out) {
  const std::size_t first = out.size();
  out.resize(first + match.wanted);
  for (std::size_t column = 0; column < dense.size(); ++column) {
    const std::int32_t gene = match.gene_of_column[column];
    if (gene >= 0) out[first + static_cast<std::size_t>(gene)] = dense[column];
  }
}

struct ChangedChunk {
  std::vector<float> expression;  ///< [n, genes of the encoder]
  std::vector<float> cls, tokens;
};

/// The table with the changed rows.
void write_changed(const fs::path& path, const io::H5adRows& table, const ChangePlan& plan, const BoundChanges& bound,
                   const nlohmann::json& perturbation, pipeline::RunContext& ctx) {
  constexpr std::size_t kBlock = 512;
  const std::size_t genes = table.table().x.genes.size();
  std::vector<AppliedChange> changes = bound.changes;
  io::H5adWriter writer(path, table.rows(), genes);
  std::vector<std::uint8_t> changed(table.rows());
  for (std::size_t first = 0; first < table.rows(); first += kBlock) {
    ctx.throw_if_stopped();
    const io::ExpressionMatrix x = table.read(first, std::min(kBlock, table.rows() - first));
    std::vector<float> block;
    for (std::size_t row = 0; row < x.rows; ++row) {
      const bool change = std::ranges::binary_search(plan.tiles, first + row);
      changed[first + row] = change ? 1 : 0;
      const std::vector<float> dense =
          changed_row(x, row, change ? bound.columns : std::vector<std::size_t>(), changes, genes);
      block.insert(block.end(), dense.begin(), dense.end());
    }
    writer.append(block);
  }
  io::AnnData rest = table.table();
  rest.x.indptr.clear();
  std::erase_if(rest.obs.columns, [](const auto& column) { return column.first == "changed"; });
  rest.obs.columns.emplace_back("changed", changed);
  rest.strings["perturbation"] = perturbation.dump();
  writer.finish(rest);
}

}  // namespace

ChangeStage::ChangeStage(ChangeOptions options, std::shared_ptr<const models::GeneEncoder> encoder)
    : options_(std::move(options)), encoder_(std::move(encoder)) {}

std::vector<pipeline::Port> ChangeStage::inputs() const {
  return {{.name = "expression"}, {.name = "tiles"}, {.name = "region", .optional = true}};
}

std::vector<pipeline::Port> ChangeStage::outputs() const {
  if (!options_.write_expression) return {{.name = "genes"}};
  return {{.name = "genes"}, {.name = "expression"}};
}

std::size_t ChangeStage::rows_per_chunk() const {
  return stages::rows_per_chunk(options_.chunk_tiles, encoder_->info().micro_batch);
}

nlohmann::json ChangeStage::identity() const {
  return {{"changes", to_text(options_.changes)},
          {"region", options_.region.to_json()},
          {"tokens", options_.tokens},
          {"write_expression", options_.write_expression},
          {"chunk_tiles", rows_per_chunk()},
          {"encoder", {{"sha256", encoder_->info().sha256}, {"micro_batch", encoder_->info().micro_batch}}},
          {"numerics_class", options_.numerics_class}};
}

void ChangeStage::preflight(const pipeline::Bindings& available_inputs) const {
  if (!available_inputs.contains("expression") || !available_inputs.contains("tiles")) return;
  const io::H5adRows table(available_inputs.at("expression"));
  bind_changes(options_.changes, table.table().x.genes, encoder_->genes(), nullptr);
  plan_change(available_inputs, table, options_.region);
}

void ChangeStage::run(const pipeline::Bindings& inputs, const pipeline::Bindings& outputs,
                      pipeline::RunContext& ctx) const {
  const io::H5adRows table(inputs.at("expression"));
  const ChangePlan plan = plan_change(inputs, table, options_.region);
  const GeneSpreads spreads = gene_spreads(table, plan.rows);
  const std::vector<std::string>& genes = table.table().x.genes;
  const BoundChanges bound = bind_changes(options_.changes, genes, encoder_->genes(), &spreads);
  for (const std::string& gene : bound.not_in_encoder) {
    ctx.warn(fmt::format("the gene encoder does not read {}: its change shows in the table and nowhere else", gene));
  }
  const GeneMatch match = match_genes(encoder_->genes(), genes);
  const TileChunks chunks{plan.tiles.size(), rows_per_chunk()};
  const auto dim = static_cast<std::size_t>(encoder_->dim());
  const std::size_t token_values = options_.tokens ? encoder_->genes().size() * dim : 0;
  ctx.set_total(static_cast<std::int64_t>(plan.tiles.size()), "tiles");

  pipeline::for_each_chunk<ChangedChunk>(
      ctx, chunks.count(),
      [&](std::uint64_t id) {
        ChangedChunk chunk;
        std::vector<AppliedChange> changes = bound.changes;
        for (std::size_t i = 0; i < chunks.size(id); ++i) {
          const io::ExpressionMatrix x = table.read(plan.tiles[chunks.first(id) + i], 1);
          append_matched(changed_row(x, 0, bound.columns, changes, genes.size()), match, chunk.expression);
        }
        return chunk;
      },
      [&](std::uint64_t id, ChangedChunk& chunk) {
        const std::size_t n = chunks.size(id);
        chunk.cls.resize(n * dim);
        chunk.tokens.resize(n * token_values);
        encoder_->encode(chunk.expression, static_cast<int>(n), chunk.cls, chunk.tokens);
      },
      [&](std::uint64_t id, ChangedChunk& chunk) {
        FeatureRows rows{.valid = std::vector<std::uint8_t>(chunks.size(id), 1), .values = std::move(chunk.cls)};
        rows.values.insert(rows.values.end(), chunk.tokens.begin(), chunk.tokens.end());
        return pack_rows(rows);
      },
      [&](std::uint64_t id) { return static_cast<std::int64_t>(chunks.size(id)); });

  // What was done, from all rows in one go: parts that were committed before count too.
  std::vector<AppliedChange> tally = bound.changes;
  for (const std::size_t tile : plan.tiles) changed_row(table.read(tile, 1), 0, bound.columns, tally, genes.size());
  nlohmann::json done = nlohmann::json::array();
  for (const AppliedChange& change : tally) {
    done.push_back(change.report());
    const nlohmann::json& report = done.back();
    for (const auto& [key, limit] : {std::pair("clamped_at_zero", 0.0), std::pair("clamped_at_most", spreads.most)}) {
      const auto clamped = report.at(key).get<std::size_t>();
      if (clamped == 0) continue;
      ctx.warn(fmt::format("{}: {} of {} tiles were clamped at {:.4g} (log1p of counts per 10,000)",
                           to_text(change.change()), clamped, plan.tiles.size(), limit));
    }
  }
  const nlohmann::json perturbation = {{"genes", to_text(options_.changes)},
                                       {"changes", done},
                                       {"tiles", plan.tiles.size()},
                                       {"not_in_encoder", bound.not_in_encoder}};

  std::vector<TileCell> cells;
  for (const std::size_t tile : plan.tiles) cells.push_back(plan.rows.cells[tile]);
  const auto& stated = table.table().strings;
  const auto slide = stated.find("slide_sha256");
  io::FeatureWriter writer(outputs.at("genes"), cells, slide == stated.end() ? "" : slide->second,
                           nlohmann::json({{"perturbation", perturbation}}).dump());
  io::FeatureSetInfo set{.name = "cls",
                         .encoder = encoder_->info().name,
                         .encoder_sha256 = encoder_->info().sha256,
                         .geometry = "changed expression of the tile",
                         .vectors = 1,
                         .dim = encoder_->dim()};
  for (const bool tokens : {false, true}) {
    if (tokens && token_values == 0) break;
    if (tokens) {
      set.name = "tokens";
      set.geometry = "one vector a gene, in the encoder's order";
      set.vectors = static_cast<int>(encoder_->genes().size());
    }
    writer.begin_set(set);
    for (std::uint64_t id = 0; id < chunks.count(); ++id) {
      ctx.throw_if_stopped();
      const std::size_t n = chunks.size(id);
      const FeatureRows rows = unpack_rows(ctx.chunks(), id, n, n * (dim + token_values));
      const auto values = std::span(rows.values);
      writer.append(tokens ? values.subspan(n * dim) : values.first(n * dim), rows.valid);
    }
  }
  writer.finish();
  if (options_.write_expression) {
    write_changed(outputs.at("expression"), table, plan, bound, perturbation, ctx);
  }
  ctx.report("genes", done);
  ctx.report("tiles_in_region", plan.in_region);
  ctx.report("tiles_changed", plan.tiles.size());
}

}  // namespace vtissue::stages
