#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "models/cancerfoundation/cancerfoundation.h"
#include "models/deepspot/deepspot.h"
#include "models/taesd/taesd.h"
#include "models/torch.h"
#include "models/vit/vit.h"

/// Models trained before, as inputs of a training: the same folders and preprocessing as the engines', but as tensors
/// and on the calling thread. All work without gradients. All open() throw Error kModel, or kUsage for an empty path.
namespace vtissue::models::training {

struct Neighbourhood;

struct FrozenEncoder {
  static FrozenEncoder open(const std::filesystem::path& folder);

  std::string sha256;
  Vit vit{nullptr};
  int px = 0;  ///< of the image; training crops are of this size, so nothing is resampled
  int dim = 0;

  /// rgb [n, px, px, 3] uint8 → [n, dim].
  at::Tensor encode(const at::Tensor& rgb);

  /// rgb [n, h, w, 3] uint8 of any size, resized and cropped as the engine does → [n, dim].
  at::Tensor encode_resized(const at::Tensor& rgb);

 private:
  Preprocessing preprocessing_;
  at::Tensor mean_;
  at::Tensor std_;
};

struct FrozenAutoencoder {
  static FrozenAutoencoder open(const std::filesystem::path& folder);

  std::string sha256;
  Taesd taesd{nullptr};
  int channels = 0;

  at::Tensor encode(const at::Tensor& rgb);      ///< [n, h, w, 3] uint8 → [n, C, h/8, w/8]
  at::Tensor decode(const at::Tensor& latents);  ///< [n, C, h, w] → [n, 3, 8h, 8w], not clamped
};

struct FrozenPredictor {
  static FrozenPredictor open(const std::filesystem::path& folder);

  DeepSpot deepspot{nullptr};
  std::vector<std::string> genes;
  std::string encoder_sha256;

  /// → [n, genes]: log1p of counts per 10,000, >= 0.
  at::Tensor predict(const Neighbourhood& input);

 private:
  at::Tensor mean_;
  at::Tensor scale_;
};

struct FrozenExpression {
  static FrozenExpression open(const std::filesystem::path& folder);

  std::string sha256;
  CancerFoundation network{nullptr};
  std::vector<std::string> genes;
  int dim = 0;
  int bins = 0;

  /// values [n, genes] in any strictly increasing transform of the counts → cls [n, dim].
  at::Tensor encode(const at::Tensor& values);
  /// The same → [n, 1 + genes, dim]: cls, then a vector for each gene.
  at::Tensor encode_vectors(const at::Tensor& values);

 private:
  at::Tensor hidden(const at::Tensor& binned);
  at::Tensor ids_;
};

/// values [n, genes] → binned, with the class value in front: [n, 1 + genes].
at::Tensor bin_rows(const at::Tensor& values, int bins);

/// Throws Error kModel unless the model reads the training set's genes, in this order.
void require_genes(const std::vector<std::string>& model, const std::vector<std::string>& set, std::string_view what);

}  // namespace vtissue::models::training
