#include "models/checkpoint/convert.h"

#include <vector>

#include "core/error.h"
#include "core/safetensors.h"
#include "models/torch.h"

namespace vtissue::models {

std::size_t convert_weights(const StateDict& weights, const std::filesystem::path& out, std::string_view dtype) {
  if (!dtype.empty() && dtype != "F32" && dtype != "F16" && dtype != "BF16") {
    throw Error(ErrorCode::kUsage, "weights cannot be written as '{}'; expected F32, F16 or BF16", dtype);
  }
  std::vector<at::Tensor> kept;
  std::vector<SafetensorsOutput> outputs;
  for (const TensorInfo& info : weights.tensors()) {
    const std::string& name = info.name;
    const at::Tensor tensor = weights.get(name);
    at::Tensor value = tensor;
    if (!dtype.empty() && value.is_floating_point()) {
      value = value.to(dtype == "F32" ? at::kFloat : dtype == "F16" ? at::kHalf : at::kBFloat16);
      if (dtype == "F16" && !at::isfinite(value).all().item<bool>() &&
          at::isfinite(tensor.to(at::kFloat)).all().item<bool>()) {
        throw Error(ErrorCode::kUsage, "{}: tensor '{}' has values beyond what F16 holds; use BF16 or F32",
                    weights.path().string(), name);
      }
    }
    value = value.contiguous();
    outputs.push_back({.name = name,
                       .dtype = std::string(safetensors_dtype(value)),
                       .shape = value.sizes().vec(),
                       .data = std::span(static_cast<const std::byte*>(value.const_data_ptr()), value.nbytes())});
    kept.push_back(std::move(value));
  }
  write_safetensors(out, std::move(outputs));
  return kept.size();
}

}  // namespace vtissue::models
