#include "models/training/figures.h"

#include <algorithm>
#include <cmath>

#include "core/atomic_file.h"
#include "models/metrics.h"

namespace vtissue::models::training {
namespace {

double difference_energy(const at::Tensor& image) {
  const at::Tensor down = image.narrow(2, 1, image.size(2) - 1) - image.narrow(2, 0, image.size(2) - 1);
  const at::Tensor right = image.narrow(3, 1, image.size(3) - 1) - image.narrow(3, 0, image.size(3) - 1);
  return down.square().mean(at::kDouble).item<double>() + right.square().mean(at::kDouble).item<double>();
}

}  // namespace

double psnr(const at::Tensor& image, const at::Tensor& reference) {
  const at::Tensor a = image.clamp(0, 1).to(at::kFloat).contiguous();
  const at::Tensor b = reference.to(at::kFloat).contiguous();
  return models::psnr({a.const_data_ptr<float>(), static_cast<std::size_t>(a.numel())},
                      {b.const_data_ptr<float>(), static_cast<std::size_t>(b.numel())});
}

double gradient_energy_ratio(const at::Tensor& image, const at::Tensor& reference) {
  return difference_energy(image.clamp(0, 1)) / difference_energy(reference);
}

std::vector<double> pearson_by_column(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor x = a.to(at::kDouble).contiguous();
  const at::Tensor y = b.to(at::kDouble).contiguous();
  return models::pearson_by_column({x.const_data_ptr<double>(), static_cast<std::size_t>(x.numel())},
                                   {y.const_data_ptr<double>(), static_cast<std::size_t>(y.numel())},
                                   static_cast<int>(x.size(1)));
}

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>((values.size() - 1) / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

nlohmann::ordered_json to_json(const Metrics& metrics) {
  nlohmann::ordered_json object = nlohmann::ordered_json::object();
  for (const auto& [name, value] : metrics) object[name] = value;
  return object;
}

void write_figures(const TrainOptions& options, nlohmann::ordered_json figures) {
  nlohmann::ordered_json file;
  file["role"] = std::string(to_string(options.role));
  file["training_set"] = options.data.filename().string();
  file["config"] = options.config;
  file["figures"] = std::move(figures);
  write_file_atomically(options.out / "figures.json", file.dump(2) + "\n");
}

}  // namespace vtissue::models::training
