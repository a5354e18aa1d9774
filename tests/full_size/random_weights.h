#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/safetensors.h"
#include "models/state_dict.h"
#include "models/torch.h"

/// Weights of published sizes: what they are filled with, and where they lie.
namespace vtissue::models {

using Tensors = std::map<std::string, at::Tensor>;
using Shape = std::vector<std::int64_t>;

/// A float16 tensor for every parameter and buffer. The values are cut from one noise of a prime length, so that no two
/// tensors, nor parts of one, are alike: an exchange of any two shows. Scales of norms lie around 1, all else around 0.
class RandomWeights {
 public:
  RandomWeights()
      : noise_(at::empty({kLength}, at::kFloat)
                   .normal_(0, 0.03, at::make_generator<at::CPUGeneratorImpl>(2025))
                   .to(at::kHalf)) {}

  at::Tensor make(const std::string& name, at::IntArrayRef shape) {
    at::Tensor tensor = at::empty(shape, at::kHalf);
    at::Tensor flat = tensor.view(-1);
    for (std::int64_t done = 0; done < flat.numel();) {
      const std::int64_t from = (values_ + done) % kLength;
      const std::int64_t count = std::min(kLength - from, flat.numel() - done);
      flat.narrow(0, done, count).copy_(noise_.narrow(0, from, count));
      done += count;
    }
    values_ += flat.numel();
    const bool scale = tensor.dim() == 1 && !name.ends_with("bias");
    return scale ? tensor.add_(1) : tensor;
  }

  Tensors of(const torch::nn::Module& network) {
    Tensors tensors;
    for (const auto& list : {network.named_parameters(), network.named_buffers()}) {
      for (const auto& item : list) tensors[item.key()] = make(item.key(), item.value().sizes());
    }
    return tensors;
  }

  std::int64_t values() const { return values_; }  ///< handed out

 private:
  static constexpr std::int64_t kLength = 1'000'003;
  at::Tensor noise_;
  std::int64_t values_ = 0;
};

/// A folder under VTISSUE_FULL_SIZE_DIR (by default the system's for temporary files), removed at the end.
class FullSizeFolder {
 public:
  explicit FullSizeFolder(const std::string& name) {
    const char* root = std::getenv("VTISSUE_FULL_SIZE_DIR");
    path_ = std::filesystem::path(root != nullptr ? root : testing::TempDir()) / ("vtissue_full_size_" + name);
    std::filesystem::remove_all(path_);
    std::filesystem::create_directories(path_);
  }
  ~FullSizeFolder() {
    std::error_code unimportant;
    std::filesystem::remove_all(path_, unimportant);
  }
  FullSizeFolder(const FullSizeFolder&) = delete;
  FullSizeFolder& operator=(const FullSizeFolder&) = delete;

  std::filesystem::path write(const std::string& name, const Tensors& tensors) const {
    std::vector<SafetensorsOutput> outputs;
    for (const auto& [key, tensor] : tensors) {
      outputs.push_back({key, "F16", tensor.sizes().vec(),
                         std::span(static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes())});
    }
    write_safetensors(path_ / name, std::move(outputs));
    return path_ / name;
  }

 private:
  std::filesystem::path path_;
};

/// What models.md says of names and shapes, taken at its word.
inline void expect_shapes(const Tensors& tensors, const std::map<std::string, Shape>& published) {
  for (const auto& [name, shape] : published) {
    const auto found = tensors.find(name);
    ASSERT_NE(found, tensors.end()) << name;
    EXPECT_EQ(found->second.sizes().vec(), shape) << name;
  }
}

/// The same bits, none of them trivial.
inline void expect_same(const at::Tensor& one, const at::Tensor& other) {
  EXPECT_TRUE(at::equal(one, other));
  EXPECT_TRUE(at::isfinite(one).all().item<bool>());
  EXPECT_GT(one.std().item<float>(), 1e-3f * one.abs().max().item<float>());
}

}  // namespace vtissue::models
