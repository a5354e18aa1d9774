#include "models/stmdit/stmdit.h"

#include <cmath>
#include <string_view>

#include "models/stmdit/position_table.h"

namespace vtissue::models {

namespace nn = torch::nn;

namespace {

at::Tensor modulate(const at::Tensor& x, const at::Tensor& shift, const at::Tensor& scale) {
  return plain_layer_norm(x) * (1 + scale) + shift;
}

/// A [B] mask as given, or all of `value`.
at::Tensor mask_or(const at::Tensor& mask, bool value, std::int64_t batch, const at::Tensor& like) {
  return mask.defined() ? mask : at::full({batch}, value, like.options().dtype(at::kBool));
}

void xavier_uniform(at::Tensor weight, at::Generator generator) {
  const auto fan_out = static_cast<double>(weight.size(0));
  const auto fan_in = static_cast<double>(weight.numel()) / fan_out;
  const double bound = std::sqrt(6.0 / (fan_in + fan_out));
  weight.uniform_(-bound, bound, generator);
}

bool is_gene_parameter(std::string_view name) {
  return name.starts_with("ge.") || name.find(".ge_") != std::string_view::npos;
}

at::Generator cpu_generator(std::uint64_t seed) { return at::make_generator<at::CPUGeneratorImpl>(seed); }

/// Weights of linears and of the patch convolution Xavier-uniform, their biases zero; norms stay as they are made.
void initialize_linears(nn::Module& module, const std::function<bool(std::string_view)>& wanted,
                        at::Generator generator) {
  for (const auto& item : module.named_modules("", /*include_self=*/false)) {
    if (!wanted(item.key())) continue;
    if (auto* linear = item.value()->as<nn::Linear>()) {
      xavier_uniform(linear->weight, generator);
      linear->bias.zero_();
    } else if (auto* patch = item.value()->as<nn::Conv2d>()) {
      xavier_uniform(patch->weight, generator);
      patch->bias.zero_();
    }
  }
}

}  // namespace

StmditBlockImpl::StmditBlockImpl(const StmditConfig& config)
    : attn1_(config.dim, config.heads),
      attn2_(config.dim, config.heads, config.one_token_shortcut),
      ff_(config.dim, config.mlp_hidden()) {
  scale_shift_table_ = register_parameter("scale_shift_table", at::zeros({6, config.dim}));
  register_module("attn1", attn1_);
  register_module("attn2", attn2_);
  register_module("ff", ff_);
  if (config.separate_attention()) {
    ge_attn_ = register_module("ge_attn", DitAttention(config.dim, config.heads, config.one_token_shortcut));
    if (config.gene_gate) ge_gate_ = register_parameter("ge_gate", at::zeros({config.dim}));
  }
}

at::Tensor StmditBlockImpl::forward(at::Tensor x, const at::Tensor& context, const at::Tensor& genes,
                                    const at::Tensor& modulation) {
  const auto m = (scale_shift_table_ + modulation).chunk(6, 1);  // shift, scale, gate of attention, then of the MLP
  const at::Tensor h = modulate(x, m[0], m[1]);
  x = x + m[2] * attn1_(h, h);
  x = x + attn2_(x, context);  // the query is neither normalised nor modulated
  if (!ge_attn_.is_empty()) {
    const at::Tensor attended = ge_attn_(plain_layer_norm(x), genes);
    x = x + (ge_gate_.defined() ? at::tanh(ge_gate_) * attended : attended);
  }
  return x + m[5] * ff_(modulate(x, m[3], m[4]));
}

void StmditBlockImpl::zero_outputs() {
  const at::NoGradGuard no_grad;
  scale_shift_table_.zero_();
  attn2_->out()->weight.zero_();
  attn2_->out()->bias.zero_();
  zero_gene_output();
}

void StmditBlockImpl::zero_gene_output() {
  if (ge_attn_.is_empty()) return;
  const at::NoGradGuard no_grad;
  // Either factor alone makes a fresh branch nothing; both at zero would leave neither with a gradient.
  if (ge_gate_.defined()) {
    ge_gate_.zero_();
  } else {
    ge_attn_->out()->weight.zero_();
    ge_attn_->out()->bias.zero_();
  }
}

StmditImpl::StmditImpl(const StmditConfig& config) : config_(config) {
  patch_embed_ =
      register_module("pos_embed", std::make_shared<nn::Module>())
          ->register_module(
              "proj",
              nn::Conv2d(nn::Conv2dOptions(config.latent_channels, config.dim, config.patch).stride(config.patch)));
  adaln_single_ = register_module("adaln_single", AdaLnSingle(config.dim));
  caption_projection_ = register_module("caption_projection", MorphologyProjection(config));
  if (config.morphology_tokens > 1) {
    const auto side = static_cast<int>(std::lround(std::sqrt(config.morphology_tokens)));
    const int base = config.latent_size / config.patch;
    const PositionGrid grid{.rows = side,
                            .columns = side,
                            .base = base,
                            .interpolation = config.condition_interpolation_scale,
                            .phase = static_cast<double>(base / config.morphology_tokens)};
    y_pos_embed_ = register_module("y_pos_embed", std::make_shared<nn::Module>())
                       ->register_buffer("y_pos_embed", position_table(config.morphology_dim, grid).unsqueeze(0));
  }
  for (int i = 0; i < config.depth; ++i) blocks_->push_back(StmditBlock(config));
  register_module("transformer_blocks", blocks_);
  scale_shift_table_ = register_parameter("scale_shift_table", at::zeros({2, config.dim}));
  proj_out_ = register_module("proj_out", nn::Linear(config.dim, config.patch * config.patch * config.out_channels()));
  if (config.takes_genes()) ge_ = register_module("ge", GenePath(config));
}

void StmditImpl::initialize(std::uint64_t seed) {
  const at::NoGradGuard no_grad;
  at::Generator generator = cpu_generator(seed);
  initialize_linears(
      *this, [](std::string_view name) { return !is_gene_parameter(name); }, generator);
  adaln_single_->initialize_time(generator);
  adaln_single_->linear()->weight.zero_();
  caption_projection_->uncond_embedding().normal_(0, 1 / std::sqrt(static_cast<double>(config_.morphology_dim)),
                                                  generator);
  for (const auto& block : *blocks_) block->as<StmditBlock>()->zero_outputs();
  scale_shift_table_.zero_();
  proj_out_->weight.zero_();
  initialize_gene_path(seed);
}

void StmditImpl::initialize_gene_path(std::uint64_t seed) {
  if (ge_.is_empty()) return;
  const at::NoGradGuard no_grad;
  // A stream of its own, so that variants of one seed share what they have of PixCell.
  at::Generator generator = cpu_generator(~seed);
  initialize_linears(*this, is_gene_parameter, generator);
  ge_->initialize(generator);
  for (const auto& block : *blocks_) block->as<StmditBlock>()->zero_gene_output();
}

at::Tensor StmditImpl::position_table_for(std::int64_t rows, std::int64_t columns) {
  if (!position_table_.defined() || rows != table_rows_ || columns != table_columns_) {
    // Another size than the tile's keeps the tile's extent (models.md 2.5).
    position_table_ = position_table(config_.dim, {.rows = static_cast<int>(rows),
                                                   .columns = static_cast<int>(columns),
                                                   .base = config_.latent_size / config_.patch,
                                                   .interpolation = config_.interpolation_scale});
    table_rows_ = rows;
    table_columns_ = columns;
  }
  return position_table_.to(proj_out_->weight.options());
}

at::Tensor StmditImpl::morphology_tokens(const StmditInput& input, std::int64_t batch) {
  const at::Tensor null = caption_projection_->uncond_embedding().unsqueeze(0);
  at::Tensor tokens = null.expand({batch, -1, -1});
  if (input.morphology.defined()) {
    const at::Tensor given = input.morphology.dim() == 2 ? input.morphology.unsqueeze(1) : input.morphology;
    tokens = at::where(mask_or(input.has_morphology, true, batch, input.x).view({-1, 1, 1}), given, null);
  }
  return caption_projection_(y_pos_embed_.defined() ? tokens + y_pos_embed_ : tokens);
}

at::Tensor StmditImpl::forward(const StmditInput& input) {
  const std::int64_t batch = input.x.size(0);
  const std::int64_t rows = input.x.size(2) / config_.patch;
  const std::int64_t columns = input.x.size(3) / config_.patch;
  at::Tensor x = patch_embed_(input.x).flatten(2).transpose(1, 2) + position_table_for(rows, columns);
  at::Tensor t_emb = adaln_single_->embed(input.t);
  at::Tensor context = morphology_tokens(input, batch);

  at::Tensor gene_tokens;
  if (!ge_.is_empty()) {
    const bool given = input.gene.defined();
    const at::Tensor gene =
        given ? input.gene : at::zeros({batch, config_.gene_vectors, config_.gene_dim}, proj_out_->weight.options());
    const at::Tensor has_gene =
        given ? mask_or(input.has_gene, true, batch, input.x) : mask_or({}, false, batch, input.x);
    if (config_.adaln) t_emb = t_emb + ge_->time_shift(gene, has_gene);
    if (config_.xattn) gene_tokens = ge_->tokens(gene, has_gene);
    if (config_.concat_attention()) context = at::cat({context, gene_tokens}, 1);
  }

  const at::Tensor modulation = adaln_single_->modulation(t_emb);
  for (const auto& block : *blocks_) x = block->as<StmditBlock>()->forward(x, context, gene_tokens, modulation);
  const auto last = (scale_shift_table_ + t_emb.unsqueeze(1)).chunk(2, 1);
  return unpatchify(proj_out_(modulate(x, last[0], last[1])), rows, columns);
}

at::Tensor StmditImpl::unpatchify(const at::Tensor& tokens, std::int64_t rows, std::int64_t columns) const {
  const std::int64_t p = config_.patch;
  const std::int64_t channels = config_.out_channels();
  return tokens.view({tokens.size(0), rows, columns, p, p, channels})
      .permute({0, 5, 1, 3, 2, 4})
      .reshape({tokens.size(0), channels, rows * p, columns * p});
}

}  // namespace vtissue::models
