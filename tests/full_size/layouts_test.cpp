#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "core/safetensors.h"
#include "models/checkpoint/name_map.h"
#include "models/stmdit/checkpoint.h"
#include "models/stmdit/stmdit.h"
#include "models/torch.h"

// PixCell-256 at its published size with random weights: what is loaded from diffusers' layout and from the original
// one computes the same. Needs some 6 GB of memory and 3 GB in VTISSUE_FULL_SIZE_DIR (by default the system's folder
// for temporary files).
namespace vtissue::models {
namespace {

namespace fs = std::filesystem;
using Tensors = std::map<std::string, at::Tensor>;

fs::path write_half(const fs::path& path, const Tensors& tensors) {
  std::vector<SafetensorsOutput> outputs;
  for (const auto& [name, tensor] : tensors) {
    outputs.push_back({name, "F16", tensor.sizes().vec(),
                       std::span(static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes())});
  }
  write_safetensors(path, std::move(outputs));
  return path;
}

TEST(FullSize, PixCell256InBothLayouts) {
  const at::NoGradGuard no_grad;
  const char* root = std::getenv("VTISSUE_FULL_SIZE_DIR");
  const fs::path folder = fs::path(root != nullptr ? root : testing::TempDir()) / "vtissue_full_size";
  fs::create_directories(folder);
  StmditConfig config;  // models.md 2.1
  config.dim = 1152;
  config.depth = 28;
  config.heads = 16;
  Stmdit network(config);
  Tensors ours;
  std::int64_t values = 0;
  for (const auto& list : {network->named_parameters(), network->named_buffers()}) {
    for (const auto& item : list) {
      // Not random where it need not be: a different value in each place is what the layouts have to keep.
      const std::int64_t n = item.value().numel();
      at::Tensor value = at::arange(values, values + n, at::kDouble).mul_(0.7).sin_().mul_(0.03);
      ours[item.key()] = value.to(at::kHalf).view(item.value().sizes());
      values += n;
    }
  }
  EXPECT_EQ(values, 608'074'496);
  StmditInput input;
  input.x = at::arange(16 * 32 * 32, at::kFloat).sin_().view({1, 16, 32, 32});
  input.t = at::full({1}, 499.0f);
  input.morphology = at::arange(1536, at::kFloat).cos_().view({1, 1536});
  const auto output = [&](const fs::path& file) {
    load_stmdit(*network, StateDict::open(file));
    network->eval();
    return network->forward(input).clone();
  };
  const Tensors original = stmdit_original_names().as_file(ours);
  EXPECT_EQ(original.at("blocks.27.attn.qkv.weight").sizes().vec(), (std::vector<std::int64_t>{3456, 1152}));
  const at::Tensor diffusers = output(write_half(folder / "diffusion_pytorch_model.safetensors", ours));
  for (at::Tensor parameter : network->parameters()) parameter.zero_();
  EXPECT_TRUE(at::equal(output(write_half(folder / "original.safetensors", original)), diffusers));
  EXPECT_TRUE(at::isfinite(diffusers).all().item<bool>());
  EXPECT_GT(diffusers.abs().max().item<float>(), 0.0f);
  fs::remove_all(folder);
}

}  // namespace
}  // namespace vtissue::models
