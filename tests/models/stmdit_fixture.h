#pragma once

#include <string>

#include "models/stmdit/checkpoint.h"
#include "models/stmdit/stmdit.h"
#include "tests/models/golden.h"

/// Small STMDiT networks, and PixCell as the reference computes it: for the trainable network and its form for
/// inference alike.
namespace vtissue::models {

inline at::Tensor drawn(at::IntArrayRef shape, std::uint64_t seed) {
  return at::randn(shape, at::make_generator<at::CPUGeneratorImpl>(seed), at::kFloat);
}

/// A network that does something everywhere: no parameter stays at its initial zero.
inline void shake(torch::nn::Module& network, std::uint64_t seed, double amount = 0.05) {
  const at::NoGradGuard no_grad;
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  for (const at::Tensor& parameter : network.parameters()) {
    parameter.add_(at::randn(parameter.sizes(), generator, at::kFloat), amount);
  }
}

inline StmditConfig small_stmdit_config() {
  StmditConfig c;
  c.dim = 48;
  c.depth = 2;
  c.heads = 4;
  c.latent_channels = 4;
  c.latent_size = 8;
  c.morphology_dim = 12;
  c.gene_dim = 10;
  c.gene_vectors = 5;
  c.pma_seeds = 3;
  return c;
}

/// A variant of models.md 1.2.
struct StmditVariant {
  std::string name;
  bool adaln = false;
  bool xattn = false;
  StmditConfig::CrossAttention mode = StmditConfig::CrossAttention::kSeparate;
  StmditConfig::Pool pool = StmditConfig::Pool::kCls;
  bool gate = false;
  StmditConfig::PmaForm pma_form = StmditConfig::PmaForm::kOwn;
  int morphology_tokens = 1;

  StmditConfig config() const {
    StmditConfig c = small_stmdit_config();
    c.adaln = adaln;
    c.xattn = xattn;
    c.cross_attention = mode;
    c.pool = pool;
    c.gene_gate = gate;
    c.pma_form = pma_form;
    c.morphology_tokens = morphology_tokens;
    return c;
  }
};

/// A batch with both modalities, from early to late in the diffusion.
inline StmditInput small_stmdit_input(const StmditConfig& c, std::int64_t batch = 2) {
  StmditInput input;
  input.x = drawn({batch, c.latent_channels, c.latent_size, c.latent_size}, 1);
  input.t = at::linspace(3, 990, batch);
  input.morphology = drawn({batch, c.morphology_tokens, c.morphology_dim}, 2);
  input.gene = drawn({batch, c.gene_vectors, c.gene_dim}, 3);
  return input;
}

/// Golden folders and weights files of PixCell: both sizes, both layouts.
inline auto pixcell_goldens() {
  return testing::Values(std::pair{"pixcell_256", "weights.safetensors"},
                         std::pair{"pixcell_1024", "weights.safetensors"},
                         std::pair{"pixcell_1024", "original.safetensors"});
}

inline Stmdit load_pixcell_golden(const std::string& folder, const std::string& file) {
  Stmdit network(parse_stmdit_config(golden_json(folder + "/config.json")));
  load_stmdit(*network, golden(folder + "/" + file));
  return network;
}

/// All outputs of a PixCell golden; `forward` takes a StmditInput.
template <typename Forward>
void expect_pixcell_golden(const std::string& folder, double tolerance, Forward&& forward) {
  const StateDict io = golden(folder + "/io.safetensors");
  const at::Tensor x = io.get("x"), y = io.get("y");
  const auto run = [&](const at::Tensor& latents, const at::Tensor& t, const at::Tensor& morphology) {
    return forward(StmditInput{.x = latents, .t = t, .morphology = morphology});
  };
  expect_close(run(x, io.get("t_a"), y), io.get("out_a"), tolerance);
  expect_close(run(x, io.get("t_b"), y), io.get("out_b"), tolerance);
  expect_close(run(x, io.get("t_a"), io.get("uncond")), io.get("out_u"), tolerance);
  // The stored embedding is the null.
  expect_close(run(x, io.get("t_a"), {}), io.get("out_u"), tolerance);
  at::Tensor fractional = run(x, io.get("t_f"), y);
  if (folder == "pixcell_1024") fractional = fractional.slice(2, 0, {}, 2).slice(3, 0, {}, 2);
  expect_close(fractional, io.get("out_f"), tolerance);
  expect_close(run(io.get("x_rect"), io.get("t_rect"), y.slice(0, 0, 1)), io.get("out_rect"), tolerance);
}

}  // namespace vtissue::models
