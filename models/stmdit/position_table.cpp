#include "models/stmdit/position_table.h"

#include <cmath>
#include <vector>

#include "models/torch.h"

namespace vtissue::models {
namespace {

constexpr double kMaxPeriod = 10000.0;
constexpr int kTimeFrequencies = 128;

/// Coordinates in float32 and frequencies in double: so that the table equals the reference's to the bit.
std::vector<float> coordinates(int count, const PositionGrid& grid) {
  const auto step = static_cast<float>(static_cast<double>(count) / grid.base);
  std::vector<float> result;
  for (int k = 0; k < count; ++k) {
    result.push_back(static_cast<float>(k) / step / static_cast<float>(grid.interpolation) +
                     static_cast<float>(grid.phase));
  }
  return result;
}

}  // namespace

at::Tensor position_table(int dim, const PositionGrid& grid) {
  const int quarter = dim / 4;
  std::vector<double> frequencies;
  for (int i = 0; i < quarter; ++i) frequencies.push_back(1.0 / std::pow(kMaxPeriod, static_cast<double>(i) / quarter));
  const std::vector<float> xs = coordinates(grid.columns, grid);
  const std::vector<float> ys = coordinates(grid.rows, grid);

  at::Tensor table = at::empty({grid.rows * grid.columns, dim}, at::kFloat);
  auto* out = table.data_ptr<float>();
  for (const float y : ys) {
    for (const float x : xs) {
      for (const double coordinate : {static_cast<double>(x), static_cast<double>(y)}) {
        for (const double f : frequencies) *out++ = static_cast<float>(std::sin(coordinate * f));
        for (const double f : frequencies) *out++ = static_cast<float>(std::cos(coordinate * f));
      }
    }
  }
  return table;
}

at::Tensor timestep_sinusoid(const at::Tensor& t) {
  const at::Tensor index = at::arange(kTimeFrequencies, t.options().dtype(at::kFloat));
  const at::Tensor frequencies = at::exp(index * static_cast<float>(-std::log(kMaxPeriod)) / kTimeFrequencies);
  const at::Tensor angles = t.to(at::kFloat).unsqueeze(1) * frequencies;
  return at::cat({at::cos(angles), at::sin(angles)}, 1);
}

}  // namespace vtissue::models
