#pragma once

namespace at {
class Tensor;
}

namespace vtissue::models {

/// A grid of tokens, and what its coordinates are measured in (models.md 2.5): index k of n lies at
/// k / (n / base) / interpolation + phase.
struct PositionGrid {
  int rows = 1;
  int columns = 1;
  int base = 1;  ///< tokens a side for which the table was made
  double interpolation = 1;
  double phase = 0;
};

/// Sine-cosine table [rows * columns, dim], float32, tokens by row; `dim` is a multiple of 4. A quarter of the channels
/// each: sine and cosine of the column, sine and cosine of the row.
at::Tensor position_table(int dim, const PositionGrid& grid);

/// Sinusoid of timesteps [B] on the 0..999 scale → [B, 256] float32, cosines first (models.md 2.4, step 3). In float32
/// throughout: that is what the published weights were trained with.
at::Tensor timestep_sinusoid(const at::Tensor& t);

}  // namespace vtissue::models
