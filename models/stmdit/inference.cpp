#include "models/stmdit/inference.h"

#include "models/stmdit/position_table.h"

namespace vtissue::models {

using kernels::Activation;
using kernels::PackedLinear;

namespace {

constexpr std::int64_t kConditionRows = 16;  ///< conditions computed at a time; fewer are padded

using Tensors = torch::OrderedDict<std::string, at::Tensor>;

/// The layers of one name level, packed.
class Layers {
 public:
  Layers(const Tensors& parameters, at::ScalarType dtype, const at::Device& device, std::int64_t rows)
      : parameters_(parameters), dtype_(dtype), device_(device), rows_(rows) {}

  at::Tensor weight(const std::string& name) const { return parameters_[name + ".weight"]; }
  at::Tensor bias(const std::string& name) const { return parameters_[name + ".bias"]; }

  PackedLinear linear(const std::string& name) const {
    return PackedLinear(weight(name), bias(name), dtype_, device_, rows_);
  }
  /// Layers of the same input as one.
  PackedLinear joined(const std::string& prefix, std::initializer_list<std::string> names, std::int64_t rows) const {
    std::vector<at::Tensor> weights, biases;
    for (const std::string& name : names) {
      weights.push_back(weight(prefix + name));
      biases.push_back(bias(prefix + name));
    }
    return PackedLinear(at::cat(weights), at::cat(biases), dtype_, device_, rows);
  }
  PackedLinear joined(const std::string& prefix, std::initializer_list<std::string> names) const {
    return joined(prefix, names, rows_);
  }

 private:
  const Tensors& parameters_;
  at::ScalarType dtype_;
  at::Device device_;
  std::int64_t rows_;
};

/// Attention over one token, to_out(to_v(c)), of all blocks as one layer D → depth * D; `gates` may be empty.
PackedLinear folded(const Layers& layers, int depth, const std::string& attention, const std::vector<at::Tensor>& gates,
                    const at::Device& device) {
  std::vector<at::Tensor> weights, biases;
  for (int i = 0; i < depth; ++i) {
    const std::string prefix = "transformer_blocks." + std::to_string(i) + "." + attention;
    const at::Tensor out = layers.weight(prefix + ".to_out.0");
    at::Tensor weight = out.matmul(layers.weight(prefix + ".to_v"));
    at::Tensor bias = at::addmv(layers.bias(prefix + ".to_out.0"), out, layers.bias(prefix + ".to_v"));
    if (!gates.empty() && gates[static_cast<std::size_t>(i)].defined()) {
      const at::Tensor gate = gates[static_cast<std::size_t>(i)].view({-1});
      weight = weight * gate.unsqueeze(1);
      bias = bias * gate;
    }
    weights.push_back(weight);
    biases.push_back(bias);
  }
  return PackedLinear(at::cat(weights), at::cat(biases), at::kFloat, device, kConditionRows);
}

template <typename Module>
Module child(const torch::nn::Module& network, const std::string& name) {
  return Module(std::dynamic_pointer_cast<typename Module::ContainedType>(network.named_children()[name]));
}

/// Rows in pieces of kConditionRows, the last one filled up: results may differ in the last bit over the number of
/// rows.
template <typename Work>
at::Tensor in_fixed_rows(std::int64_t n, Work&& work) {
  std::vector<at::Tensor> parts;
  for (std::int64_t first = 0; first < n; first += kConditionRows) {
    const std::int64_t count = std::min(kConditionRows, n - first);
    at::Tensor index = at::arange(first, first + kConditionRows, at::kLong).clamp_max(n - 1);
    parts.push_back(work(index).narrow(0, 0, count));
  }
  return at::cat(parts);
}

at::Tensor rows_at(const at::Tensor& tensor, const at::Tensor& index) {
  return tensor.defined() ? tensor.index_select(0, index.to(tensor.device())) : tensor;
}

}  // namespace

StmditInference::StmditInference(StmditImpl& network, at::ScalarType dtype, const at::Device& device,
                                 std::int64_t batch)
    : config_(network.config()), dtype_(dtype) {
  const torch::NoGradGuard no_grad;
  network.eval();
  network.to(device);
  const std::int64_t side = config_.latent_size / config_.patch;
  const std::int64_t rows = batch * side * side;
  const Tensors parameters = network.named_parameters();
  const Tensors buffers = network.named_buffers();
  const Layers layers(parameters, dtype, device, rows);
  adaln_single_ = child<AdaLnSingle>(network, "adaln_single");
  caption_projection_ = child<MorphologyProjection>(network, "caption_projection");
  if (config_.takes_genes()) ge_ = child<GenePath>(network, "ge");
  if (config_.morphology_tokens > 1) y_pos_embed_ = buffers["y_pos_embed.y_pos_embed"].to(device);

  patch_in_ = PackedLinear(parameters["pos_embed.proj.weight"].flatten(1), parameters["pos_embed.proj.bias"],
                           at::kFloat, device, rows);
  patch_out_ = PackedLinear(layers.weight("proj_out"), layers.bias("proj_out"), at::kFloat, device, rows);
  position_table_ = position_table_for(side, side);

  std::vector<at::Tensor> tables, gates;
  for (int i = 0; i < config_.depth; ++i) {
    const std::string prefix = "transformer_blocks." + std::to_string(i) + ".";
    Block block;
    block.qkv = layers.joined(prefix + "attn1.", {"to_q", "to_k", "to_v"});
    block.out = layers.linear(prefix + "attn1.to_out.0");
    if (!one_token()) {
      block.cross_q = layers.linear(prefix + "attn2.to_q");
      block.cross_kv = layers.joined(prefix + "attn2.", {"to_k", "to_v"}, batch * config_.morphology_tokens);
      block.cross_out = layers.linear(prefix + "attn2.to_out.0");
    }
    if (config_.separate_attention()) {
      if (config_.gene_gate) block.gene_gate = at::tanh(parameters[prefix + "ge_gate"]).unsqueeze(0).to(device);
      gates.push_back(block.gene_gate);
      if (!one_gene_token()) {
        block.gene_q = layers.linear(prefix + "ge_attn.to_q");
        block.gene_kv = layers.joined(prefix + "ge_attn.", {"to_k", "to_v"}, batch * config_.gene_tokens());
        block.gene_out = layers.linear(prefix + "ge_attn.to_out.0");
      }
    }
    block.ff_in = layers.linear(prefix + "ff.net.0.proj");
    block.ff_out = layers.linear(prefix + "ff.net.2");
    blocks_.push_back(std::move(block));
    tables.push_back(parameters[prefix + "scale_shift_table"]);
  }
  if (one_token()) morphology_vectors_ = folded(layers, config_.depth, "attn2", {}, device);
  if (one_gene_token()) gene_vectors_ = folded(layers, config_.depth, "ge_attn", gates, device);

  const auto one_on = [&](std::int64_t count, std::initializer_list<std::int64_t> scales) {
    at::Tensor ones = at::zeros({count, 1}, parameters["scale_shift_table"].options());
    for (const std::int64_t i : scales) ones[i] = 1;
    return ones;
  };
  tables_ = (at::stack(tables) + one_on(6, {1, 4})).unsqueeze(1);
  last_table_ = (parameters["scale_shift_table"] + one_on(2, {1})).unsqueeze(0);
}

at::Tensor StmditInference::position_table_for(std::int64_t rows, std::int64_t columns) const {
  const std::int64_t side = config_.latent_size / config_.patch;
  if (position_table_.defined() && rows == side && columns == side) return position_table_;
  // Another size than the tile's keeps the tile's extent (models.md 2.5).
  return position_table(config_.dim, {.rows = static_cast<int>(rows),
                                      .columns = static_cast<int>(columns),
                                      .base = static_cast<int>(side),
                                      .interpolation = config_.interpolation_scale})
      .to(last_table_.defined() ? last_table_.device() : adaln_single_->linear()->weight.device());
}

at::Tensor StmditInference::morphology(const at::Tensor& morphology, const at::Tensor& has_morphology,
                                       std::int64_t n) const {
  const at::Tensor null = caption_projection_->uncond_embedding().unsqueeze(0);
  return in_fixed_rows(n, [&](const at::Tensor& index) {
    at::Tensor tokens = null.expand({kConditionRows, -1, -1});
    if (morphology.defined()) {
      at::Tensor given = rows_at(morphology, index);
      if (given.dim() == 2) given = given.unsqueeze(1);
      tokens =
          has_morphology.defined() ? at::where(rows_at(has_morphology, index).view({-1, 1, 1}), given, null) : given;
    }
    return caption_projection_(y_pos_embed_.defined() ? tokens + y_pos_embed_ : tokens);
  });
}

StmditInference::Gene StmditInference::gene(const at::Tensor& gene, const at::Tensor& has_gene, std::int64_t n) const {
  Gene result;
  if (ge_.is_empty()) return result;
  const auto options = last_table_.options();
  const auto rows = [&](const at::Tensor& index) -> std::pair<at::Tensor, at::Tensor> {
    if (!gene.defined()) {
      return {at::zeros({kConditionRows, config_.gene_vectors, config_.gene_dim}, options),
              at::zeros({kConditionRows}, options.dtype(at::kBool))};
    }
    return {rows_at(gene, index),
            has_gene.defined() ? rows_at(has_gene, index) : at::ones({kConditionRows}, options.dtype(at::kBool))};
  };
  if (config_.xattn) {
    result.tokens = in_fixed_rows(n, [&](const at::Tensor& index) {
      const auto [values, given] = rows(index);
      return ge_->tokens(values, given);
    });
  }
  if (config_.adaln) {
    result.time_shift = in_fixed_rows(n, [&](const at::Tensor& index) {
      const auto [values, given] = rows(index);
      return ge_->time_shift(values, given);
    });
  }
  return result;
}

StmditConditions StmditInference::conditions(const at::Tensor& morphology, const Gene& gene) const {
  StmditConditions result;
  result.time_shift = gene.time_shift;
  const auto vectors = [](const PackedLinear& linear, const at::Tensor& token) {
    const at::Tensor rows = token.select(1, 0);
    return in_fixed_rows(rows.size(0), [&](const at::Tensor& index) { return linear(rows_at(rows, index)); });
  };
  if (one_token()) {
    result.vectors = vectors(morphology_vectors_, morphology);
  } else {
    result.context =
        (config_.concat_attention() ? at::cat({morphology, gene.tokens}, 1) : morphology).to(dtype_).contiguous();
  }
  if (one_gene_token()) {
    const at::Tensor more = vectors(gene_vectors_, gene.tokens);
    result.vectors = result.vectors.defined() ? result.vectors + more : more;
  } else if (config_.separate_attention()) {
    result.gene_tokens = gene.tokens.to(dtype_).contiguous();
  }
  return result;
}

StmditModulation StmditInference::modulation_of(const at::Tensor& t_emb) const {
  return {.blocks = tables_ + adaln_single_->modulation(t_emb).unsqueeze(0), .last = last_table_ + t_emb.unsqueeze(1)};
}

StmditModulation StmditInference::modulation(double t, const at::Tensor& time_shift) const {
  const at::Tensor t_emb = adaln_single_->embed(at::full({1}, t, last_table_.options()));
  return modulation_of(time_shift.defined() ? t_emb + time_shift : t_emb);
}

at::Tensor StmditInference::cross(const PackedLinear& q, const PackedLinear& kv, const PackedLinear& out,
                                  const at::Tensor& x, const at::Tensor& context) const {
  const at::Tensor both = kv(context);
  return out(kernels::attention(q(x), both.narrow(2, 0, config_.dim), both.narrow(2, config_.dim, config_.dim),
                                config_.heads));
}

at::Tensor StmditInference::forward(const at::Tensor& x, const StmditConditions& conditions,
                                    const StmditModulation& modulation) const {
  const std::int64_t batch = x.size(0), p = config_.patch, dim = config_.dim;
  const std::int64_t rows = x.size(2) / p, columns = x.size(3) / p;
  const at::Tensor patches = x.view({batch, config_.latent_channels, rows, p, columns, p})
                                 .permute({0, 2, 4, 1, 3, 5})
                                 .reshape({batch, rows * columns, config_.latent_channels * p * p});
  at::Tensor state = patch_in_(patches).add_(position_table_for(rows, columns));

  const auto of_block = [&](std::size_t i, std::int64_t what) {
    return modulation.blocks.select(0, static_cast<std::int64_t>(i)).select(1, what);
  };
  const kernels::Norm last{.scale = modulation.last.select(1, 1), .shift = modulation.last.select(1, 0)};
  at::Tensor h = kernels::add_norm(state, {}, {.scale = of_block(0, 1), .shift = of_block(0, 0)}, dtype_);
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    const Block& block = blocks_[i];
    const at::Tensor qkv = block.qkv(h);
    kernels::Residual branch{.y = block.out(kernels::attention(qkv.narrow(2, 0, dim), qkv.narrow(2, dim, dim),
                                                               qkv.narrow(2, 2 * dim, dim), config_.heads)),
                             .gate = of_block(i, 2)};
    const at::Tensor vector = conditions.vectors.defined()
                                  ? conditions.vectors.narrow(1, static_cast<std::int64_t>(i) * dim, dim)
                                  : at::Tensor();
    if (conditions.context.defined()) {
      kernels::add(state, branch);  // the query is neither normalised nor modulated
      branch = {.y = cross(block.cross_q, block.cross_kv, block.cross_out, state.to(dtype_), conditions.context)};
    }
    branch.constant = vector;
    if (conditions.gene_tokens.defined()) {
      const at::Tensor query = kernels::add_norm(state, branch, {}, dtype_);
      branch = {.y = cross(block.gene_q, block.gene_kv, block.gene_out, query, conditions.gene_tokens),
                .gate = block.gene_gate};
    }
    const kernels::Norm before_ff{.scale = of_block(i, 4), .shift = of_block(i, 3)};
    h = kernels::add_norm(state, branch, before_ff, dtype_);
    const at::Tensor mapped = block.ff_out(block.ff_in(h, Activation::kGeluTanh));
    const bool is_last = i + 1 == blocks_.size();
    h = kernels::add_norm(state, {.y = mapped, .gate = of_block(i, 5)},
                          is_last ? last : kernels::Norm{.scale = of_block(i + 1, 1), .shift = of_block(i + 1, 0)},
                          is_last ? at::kFloat : dtype_);
  }
  return patch_out_(h)
      .view({batch, rows, columns, p, p, config_.out_channels()})
      .permute({0, 5, 1, 3, 2, 4})
      .reshape({batch, config_.out_channels(), rows * p, columns * p});
}

at::Tensor StmditInference::forward(const StmditInput& input) const {
  const std::int64_t batch = input.x.size(0);
  const StmditConditions given =
      conditions(morphology(input.morphology, input.has_morphology, batch), gene(input.gene, input.has_gene, batch));
  const at::Tensor t_emb = adaln_single_->embed(input.t);
  return forward(input.x, given, modulation_of(given.time_shift.defined() ? t_emb + given.time_shift : t_emb));
}

}  // namespace vtissue::models
