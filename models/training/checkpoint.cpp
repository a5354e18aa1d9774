#include "models/training/checkpoint.h"

#include <spdlog/fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/safetensors.h"
#include "models/state_dict.h"

namespace vtissue::models::training {
namespace {

std::string_view safetensors_dtype(at::ScalarType type, const std::string& name) {
  switch (type) {
    case at::kFloat:
      return "F32";
    case at::kHalf:
      return "F16";
    case at::kBFloat16:
      return "BF16";
    case at::kLong:
      return "I64";
    case at::kByte:
      return "U8";
    default:
      throw Error(ErrorCode::kOutput, "tensor '{}': dtype {} is not written", name, at::toString(type));
  }
}

}  // namespace

void save_tensors(const std::filesystem::path& path, const NamedTensors& tensors,
                  const std::map<std::string, std::string>& metadata) {
  std::vector<at::Tensor> contiguous;  // owns what the outputs point to
  std::vector<SafetensorsOutput> outputs;
  contiguous.reserve(tensors.size());
  outputs.reserve(tensors.size());
  for (const auto& [name, tensor] : tensors) {
    contiguous.push_back(tensor.detach().to(at::kCPU).contiguous());
    const at::Tensor& data = contiguous.back();
    outputs.push_back({name,
                       std::string(safetensors_dtype(data.scalar_type(), name)),
                       data.sizes().vec(),
                       {static_cast<const std::byte*>(data.const_data_ptr()), data.nbytes()}});
  }
  write_safetensors(path, std::move(outputs), metadata);
}

std::map<std::string, std::string> load_tensors(const std::filesystem::path& path, const NamedTensors& tensors) {
  const torch::NoGradGuard no_grad;
  const StateDict file = StateDict::open(path);
  std::vector<std::string> wrong;
  for (const auto& [name, tensor] : tensors) {
    if (!file.contains(name)) {
      wrong.push_back(name + " (missing)");
      continue;
    }
    const at::Tensor stored = file.get(name);
    at::Tensor target = tensor;
    if (stored.sizes() == target.sizes()) {
      target.copy_(stored);
    } else {
      wrong.push_back(fmt::format("{} (shape [{}], expected [{}])", name, fmt::join(stored.sizes(), ", "),
                                  fmt::join(target.sizes(), ", ")));
    }
  }
  if (!wrong.empty()) {
    throw Error(ErrorCode::kBadInput, "{}: not a checkpoint of this training: {}; use another output folder",
                path.string(), fmt::join(wrong, ", "));
  }
  return SafetensorsFile::open(path).metadata();
}

NamedTensors weights_of(const torch::nn::Module& module, const std::vector<std::string>& drop) {
  NamedTensors weights;
  const auto add = [&](const auto& items) {
    for (const auto& item : items) {
      const bool dropped = std::any_of(drop.begin(), drop.end(),
                                       [&](const std::string& prefix) { return item.key().starts_with(prefix); });
      if (!dropped) weights.emplace_back(item.key(), item.value());
    }
  };
  add(module.named_parameters());
  add(module.named_buffers());
  return weights;
}

void write_model(const std::filesystem::path& folder, const nlohmann::json& config, const NamedTensors& weights) {
  NamedTensors stored;
  for (const auto& [name, tensor] : weights) {
    stored.emplace_back(name, tensor.is_floating_point() ? tensor.detach().to(at::kHalf) : tensor);
  }
  std::error_code failed;
  std::filesystem::create_directories(folder, failed);
  if (failed) throw_output_error(folder, "create", failed.value());
  save_tensors(folder / "model.safetensors", stored);
  write_file_atomically(folder / "config.json", config.dump(2) + "\n");
}

}  // namespace vtissue::models::training
