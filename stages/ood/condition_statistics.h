#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace vtissue::stages {

/// The conditions of one modality that a denoiser was trained with: mean and shrunk covariance, and how far from them
/// its own tiles are.
struct ModalityStatistics {
  std::string encoder_sha256;
  std::size_t dim = 0;
  std::size_t rows = 0;           ///< that mean and covariance come from
  std::size_t held_out = 0;       ///< that the quantiles come from
  double shrinkage = 0;           ///< 0..1
  std::vector<float> mean;        ///< [dim]
  std::vector<float> factor;      ///< [dim, dim] lower triangular, factor · factorᵀ the covariance
  std::vector<double> quantiles;  ///< [kLevels] of the distance

  static constexpr double kLevels[] = {0.5, 0.9, 0.95, 0.99, 0.999};
  static constexpr std::size_t kFar = 3;  ///< farther than this quantile is far

  /// Mahalanobis distance of `row` [dim] from the mean, divided by sqrt(dim): about 1 for what it comes from. Pure.
  double distance(std::span<const float> row) const;
};

/// Mean and covariance of four of five rows [rows, dim], shrunk towards a multiple of the identity as Chen, Wiesel,
/// Eldar and Hero (2010) have it (oracle approximating shrinkage); quantiles of the fifth. Throws Error kBadInput for
/// fewer than 20 rows or values that are not finite.
ModalityStatistics modality_statistics(std::span<const float> rows, std::size_t dim, std::string encoder_sha256);

struct ConditionStatistics {
  std::optional<ModalityStatistics> morphology, gene;
  std::string sha256;  ///< of the file; empty for one that was not read
};

/// The file of a denoiser's folder that has them.
inline constexpr const char* kConditionStatisticsFile = "conditions.safetensors";

/// Nothing if there is no such file. Throws Error kModel if it is damaged.
std::optional<ConditionStatistics> read_condition_statistics(const std::filesystem::path& file);
/// Throws Error kOutput.
void write_condition_statistics(const std::filesystem::path& file, const ConditionStatistics& statistics);

}  // namespace vtissue::stages
