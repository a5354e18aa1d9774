#include "models/engine_support.h"

#include "core/error.h"

namespace vtissue::models {

void check_size(std::string_view what, std::size_t size, std::size_t expected) {
  if (size != expected) throw Error(ErrorCode::kUsage, "{}: an array of {} values; expected {}", what, size, expected);
}

void prepare_for_inference(torch::nn::Module& network, const Device& device) {
  const torch::NoGradGuard no_grad;
  network.eval();
  network.to(torch::Device(device.name()));
  for (at::Tensor& parameter : network.parameters()) {
    if (parameter.dim() == 4) parameter.set_data(parameter.contiguous(at::MemoryFormat::ChannelsLast));
  }
}

at::Tensor to_device(const float* values, at::IntArrayRef shape, const Device& device) {
  const at::Tensor host = at::from_blob(const_cast<float*>(values), shape, at::kFloat);
  return host.to(torch::Device(device.name()), at::kFloat, /*non_blocking=*/false, /*copy=*/true);
}

void require_finite(const at::Tensor& tensor, std::string_view model, std::string_view what) {
  if (at::isfinite(tensor).all().item<bool>()) return;
  throw Error(
      ErrorCode::kModel,
      "{}: {} that are not finite; are the weights and what they are given sound? With bf16 or f16 try dtype f32",
      model, what);
}

void copy_to_host(const at::Tensor& tensor, std::span<float> out) {
  const at::Tensor host = tensor.to(at::kCPU, at::kFloat).contiguous();
  std::copy_n(host.const_data_ptr<float>(), out.size(), out.begin());
}

}  // namespace vtissue::models
