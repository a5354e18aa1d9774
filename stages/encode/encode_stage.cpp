#include "stages/encode/encode_stage.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "io/anndata.h"
#include "io/feature_store.h"
#include "pipeline/run_context.h"
#include "stages/embed/feature_chunks.h"
#include "stages/encode/expression_rows.h"
#include "stages/encode/gene_matching.h"

namespace vtissue::stages {
namespace {

/// A chunk between reader and encoder.
struct EncodeChunk {
  std::size_t n = 0;
  std::vector<float> expression;  ///< [n, genes]
  FeatureRows rows;
};

GeneMatch checked_match(const std::filesystem::path& path, const io::H5adRows& rows, const models::GeneEncoder& encoder,
                        double minimum) {
  GeneMatch match = match_genes(encoder.genes(), rows.table().x.genes);
  if (match.fraction() < minimum) {
    throw Error(
        ErrorCode::kBadInput,
        "{}: has {} of the {} genes that {} reads ({:.0f} %), encode.min_matched_genes is {:.0f} %; the table's "
        "genes must be symbols of the same species, such as {}",
        path.string(), match.matched, match.wanted, encoder.info().name, 100 * match.fraction(), 100 * minimum,
        encoder.genes().empty() ? "-" : encoder.genes().front());
  }
  return match;
}

/// Appends a set's part of each chunk's rows: `vectors` vectors from vector `first` of each tile.
void append_set(io::FeatureWriter& writer, const io::FeatureSetInfo& info, std::size_t first, std::size_t vectors_all,
                const TileChunks& chunks, pipeline::RunContext& ctx) {
  writer.begin_set(info);
  const auto dim = static_cast<std::size_t>(info.dim);
  const std::size_t width = static_cast<std::size_t>(info.vectors) * dim;
  for (std::uint64_t id = 0; id < chunks.count(); ++id) {
    ctx.throw_if_stopped();
    const std::size_t n = chunks.size(id);
    const FeatureRows rows = unpack_rows(ctx.chunks(), id, n, n * vectors_all * dim);
    std::vector<float> values(n * width);
    for (std::size_t i = 0; i < n; ++i) {
      if (rows.valid[i] == 0) continue;
      std::copy_n(rows.values.begin() + static_cast<std::ptrdiff_t>((i * vectors_all + first) * dim), width,
                  values.begin() + static_cast<std::ptrdiff_t>(i * width));
    }
    writer.append(values, rows.valid);
  }
}

}  // namespace

EncodeStage::EncodeStage(EncodeOptions options, std::shared_ptr<const models::GeneEncoder> encoder)
    : options_(std::move(options)), encoder_(std::move(encoder)) {}

std::vector<pipeline::Port> EncodeStage::inputs() const { return {{.name = "expression"}}; }

std::vector<pipeline::Port> EncodeStage::outputs() const { return {{.name = "genes"}}; }

std::size_t EncodeStage::rows_per_chunk() const {
  return stages::rows_per_chunk(options_.chunk_tiles, encoder_->info().micro_batch);
}

nlohmann::json EncodeStage::settings() const { return {{"min_matched_genes", options_.min_matched_genes}}; }

nlohmann::json EncodeStage::identity() const {
  nlohmann::json identity = settings();
  identity["chunk_tiles"] = rows_per_chunk();
  identity["tokens"] = options_.tokens;
  identity["encoder"] = {{"sha256", encoder_->info().sha256}, {"micro_batch", encoder_->info().micro_batch}};
  identity["numerics_class"] = options_.numerics_class;
  return identity;
}

void EncodeStage::preflight(const pipeline::Bindings& available_inputs) const {
  const auto bound = available_inputs.find("expression");
  if (bound == available_inputs.end()) return;
  const io::H5adRows table(bound->second);
  expression_rows(bound->second, table);
  checked_match(bound->second, table, *encoder_, options_.min_matched_genes);
}

pipeline::Estimate EncodeStage::estimate(const pipeline::Bindings& available_inputs) const {
  const auto bound = available_inputs.find("expression");
  if (bound == available_inputs.end()) return {};
  const std::size_t tiles = io::H5adRows(bound->second).rows();
  return {.chunks = static_cast<std::int64_t>(TileChunks{tiles, rows_per_chunk()}.count()),
          .disk_bytes = static_cast<std::int64_t>(tiles * values_per_tile() * sizeof(float)),
          .note = fmt::format("{} tiles, {} genes", tiles, encoder_->genes().size())};
}

void EncodeStage::run(const pipeline::Bindings& inputs, const pipeline::Bindings& outputs,
                      pipeline::RunContext& ctx) const {
  const std::filesystem::path& path = inputs.at("expression");
  const io::H5adRows table(path);
  const ExpressionRows rows = expression_rows(path, table);
  const GeneMatch match = checked_match(path, table, *encoder_, options_.min_matched_genes);
  const TileChunks chunks{rows.cells.size(), rows_per_chunk()};
  const auto dim = static_cast<std::size_t>(encoder_->dim());
  const pipeline::ChunkIds own = ctx.share(chunks.count());
  ctx.set_total(chunks.rows(own), "tiles");

  pipeline::for_each_chunk<EncodeChunk>(
      ctx, own,
      [&](std::uint64_t id) {
        const std::size_t n = chunks.size(id);
        const auto first = rows.valid.begin() + static_cast<std::ptrdiff_t>(chunks.first(id));
        return EncodeChunk{n,
                           gather_rows(table.read(chunks.first(id), n), match),
                           {.valid = {first, first + static_cast<std::ptrdiff_t>(n)}, .values = {}}};
      },
      [&](std::uint64_t, EncodeChunk& chunk) {
        const int n = static_cast<int>(chunk.n);
        if (!options_.tokens) {
          chunk.rows.values.resize(chunk.n * dim);
          encoder_->encode(chunk.expression, n, chunk.rows.values, {});
          return;
        }
        std::vector<float> cls(chunk.n * dim);
        const std::size_t token_values = encoder_->genes().size() * dim;
        std::vector<float> tokens(chunk.n * token_values);
        encoder_->encode(chunk.expression, n, cls, tokens);
        chunk.rows.values.reserve(chunk.n * values_per_tile());
        for (std::size_t i = 0; i < chunk.n; ++i) {
          const auto cls_row = std::span(cls).subspan(i * dim, dim);
          const auto token_rows = std::span(tokens).subspan(i * token_values, token_values);
          chunk.rows.values.insert(chunk.rows.values.end(), cls_row.begin(), cls_row.end());
          chunk.rows.values.insert(chunk.rows.values.end(), token_rows.begin(), token_rows.end());
        }
      },
      [](std::uint64_t, EncodeChunk& chunk) { return pack_rows(chunk.rows); },
      [&](std::uint64_t id) { return static_cast<std::int64_t>(chunks.size(id)); });

  if (ctx.shard()) return;
  const auto& stated = table.table().strings;
  const auto text = [&stated](const char* name) {
    const auto found = stated.find(name);
    return found == stated.end() ? std::string() : found->second;
  };
  io::FeatureWriter writer(outputs.at("genes"), rows.cells, text("slide_sha256"), settings().dump(), text("grid"));
  const io::FeatureSetInfo cls{.name = "cls",
                               .encoder = encoder_->info().name,
                               .encoder_sha256 = encoder_->info().sha256,
                               .geometry = "expression of the tile",
                               .vectors = 1,
                               .dim = encoder_->dim()};
  append_set(writer, cls, 0, vectors(), chunks, ctx);
  if (options_.tokens) {
    io::FeatureSetInfo tokens = cls;
    tokens.name = "tokens";
    tokens.geometry = "one vector a gene, in the encoder's order";
    tokens.vectors = static_cast<int>(encoder_->genes().size());
    append_set(writer, tokens, 1, vectors(), chunks, ctx);
  }
  writer.finish();

  const auto with_expression = static_cast<std::size_t>(std::ranges::count(rows.valid, std::uint8_t{1}));
  ctx.report("tiles", chunks.tiles);
  ctx.report("tiles_with_expression", with_expression);
  ctx.report("genes_matched", match.matched);
  ctx.report("genes_wanted", match.wanted);
  if (match.duplicates != 0) {
    ctx.warn(fmt::format("{} columns of the expression table repeat a symbol and were left out", match.duplicates));
  }
  if (match.matched < match.wanted) {
    ctx.warn(fmt::format("{} of the {} genes that {} reads are not in the expression table and count as 0",
                         match.wanted - match.matched, match.wanted, encoder_->info().name));
  }
}

}  // namespace vtissue::stages
