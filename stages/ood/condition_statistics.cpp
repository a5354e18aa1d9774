#include "stages/ood/condition_statistics.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/hash.h"
#include "core/safetensors.h"

namespace vtissue::stages {
namespace {

constexpr std::size_t kFewestRows = 20;
constexpr std::size_t kHeldOutEvery = 5;
constexpr int kStatisticsVersion = 1;

/// Lower triangular L with L Lᵀ = a [dim, dim], in place of it.
void factorize(std::vector<double>& a, std::size_t dim) {
  for (std::size_t j = 0; j < dim; ++j) {
    for (std::size_t i = j; i < dim; ++i) {
      double sum = a[i * dim + j];
      for (std::size_t k = 0; k < j; ++k) sum -= a[i * dim + k] * a[j * dim + k];
      if (i == j) {
        if (!(sum > 0))
          throw Error(ErrorCode::kBadInput, "the conditions do not vary: no covariance to measure distances by");
        a[j * dim + j] = std::sqrt(sum);
      } else {
        a[i * dim + j] = sum / a[j * dim + j];
      }
    }
    for (std::size_t i = 0; i < j; ++i) a[i * dim + j] = 0;
  }
}

/// Shrinks a covariance [dim, dim] of n rows; returns by how much.
double shrink_covariance(std::vector<double>& a, std::size_t dim, std::size_t n) {
  double trace = 0, squares = 0;
  for (std::size_t i = 0; i < dim; ++i) {
    trace += a[i * dim + i];
    for (std::size_t j = 0; j < dim; ++j) squares += a[i * dim + j] * a[i * dim + j];
  }
  const double d = static_cast<double>(dim);
  const double spread = (static_cast<double>(n) + 1 - 2 / d) * (squares - trace * trace / d);
  const double wanted = (1 - 2 / d) * squares + trace * trace;
  // Never quite 0: a direction without any variance would put everything infinitely far away.
  const double shrinkage = std::clamp(spread > 0 ? wanted / spread : 1.0, 1e-4, 1.0);
  for (std::size_t i = 0; i < dim * dim; ++i) a[i] *= 1 - shrinkage;
  for (std::size_t i = 0; i < dim; ++i) a[i * dim + i] += shrinkage * trace / d;
  return shrinkage;
}

std::vector<std::byte> as_byte_vector(const std::vector<float>& values) {
  const auto bytes = std::as_bytes(std::span(values));
  return {bytes.begin(), bytes.end()};
}

nlohmann::json describe_modality(const ModalityStatistics& m) {
  return {{"encoder_sha256", m.encoder_sha256},
          {"dim", m.dim},
          {"rows", m.rows},
          {"held_out", m.held_out},
          {"shrinkage", m.shrinkage},
          {"quantiles", m.quantiles}};
}

std::vector<float> floats_of_entry(const SafetensorsFile& file, const std::filesystem::path& path,
                                   const std::string& name, std::size_t count) {
  const SafetensorsEntry* entry = file.find(name);
  if (entry == nullptr || entry->dtype != "F32" || entry->data.size() != count * sizeof(float)) {
    throw Error(ErrorCode::kModel, "{}: tensor \"{}\" is not {} numbers of float32; compute the statistics again",
                path.string(), name, count);
  }
  std::vector<float> values(count);
  std::memcpy(values.data(), entry->data.data(), entry->data.size());
  return values;
}

ModalityStatistics read_modality(const SafetensorsFile& file, const std::filesystem::path& path,
                                 const std::string& name, const nlohmann::json& described) {
  constexpr std::size_t kLargestDim = 16384;
  ModalityStatistics m{.encoder_sha256 = described.at("encoder_sha256").get<std::string>(),
                       .dim = described.at("dim").get<std::size_t>(),
                       .rows = described.at("rows").get<std::size_t>(),
                       .held_out = described.at("held_out").get<std::size_t>(),
                       .shrinkage = described.at("shrinkage").get<double>(),
                       .quantiles = described.at("quantiles").get<std::vector<double>>()};
  if (m.dim == 0 || m.dim > kLargestDim || m.quantiles.size() != std::size(ModalityStatistics::kLevels)) {
    throw Error(ErrorCode::kModel, "{}: {} has {} dimensions and {} quantiles; compute the statistics again",
                path.string(), name, m.dim, m.quantiles.size());
  }
  m.mean = floats_of_entry(file, path, name + ".mean", m.dim);
  m.factor = floats_of_entry(file, path, name + ".factor", m.dim * m.dim);
  for (std::size_t i = 0; i < m.dim; ++i) {
    if (m.factor[i * m.dim + i] > 0) continue;
    throw Error(ErrorCode::kModel, "{}: {} has a covariance that is none; compute the statistics again", path.string(),
                name);
  }
  return m;
}

}  // namespace

double ModalityStatistics::distance(std::span<const float> row) const {
  // Solves factor · z = row - mean from the top; |z|² is the squared distance.
  std::vector<double> z(dim);
  double squares = 0;
  for (std::size_t i = 0; i < dim; ++i) {
    double sum = double{row[i]} - mean[i];
    const float* const line = &factor[i * dim];
    for (std::size_t k = 0; k < i; ++k) sum -= line[k] * z[k];
    z[i] = sum / line[i];
    squares += z[i] * z[i];
  }
  return std::sqrt(squares / static_cast<double>(dim));
}

ModalityStatistics modality_statistics(std::span<const float> rows, std::size_t dim, std::string encoder_sha256) {
  const std::size_t n = dim == 0 ? 0 : rows.size() / dim;
  if (n < kFewestRows)
    throw Error(ErrorCode::kBadInput, "{} tiles with a condition; statistics need at least {}", n, kFewestRows);
  for (const float value : rows) {
    if (!std::isfinite(value)) throw Error(ErrorCode::kBadInput, "a condition has the value {}", value);
  }
  const auto held_out = [](std::size_t row) { return row % kHeldOutEvery == kHeldOutEvery - 1; };
  ModalityStatistics result{.encoder_sha256 = std::move(encoder_sha256), .dim = dim};
  std::vector<double> mean(dim);
  for (std::size_t row = 0; row < n; ++row) {
    if (held_out(row)) continue;
    ++result.rows;
    for (std::size_t k = 0; k < dim; ++k) mean[k] += rows[row * dim + k];
  }
  for (double& value : mean) value /= static_cast<double>(result.rows);
  std::vector<double> covariance(dim * dim), centred(dim);
  for (std::size_t row = 0; row < n; ++row) {
    if (held_out(row)) continue;
    for (std::size_t k = 0; k < dim; ++k) centred[k] = rows[row * dim + k] - mean[k];
    for (std::size_t i = 0; i < dim; ++i) {
      for (std::size_t j = 0; j <= i; ++j) covariance[i * dim + j] += centred[i] * centred[j];
    }
  }
  for (std::size_t i = 0; i < dim; ++i) {
    for (std::size_t j = 0; j <= i; ++j) {
      covariance[i * dim + j] /= static_cast<double>(result.rows - 1);
      covariance[j * dim + i] = covariance[i * dim + j];
    }
  }
  result.shrinkage = shrink_covariance(covariance, dim, result.rows);
  factorize(covariance, dim);
  result.mean.assign(mean.begin(), mean.end());
  result.factor.assign(covariance.begin(), covariance.end());
  std::vector<double> distances;
  for (std::size_t row = 0; row < n; ++row) {
    if (held_out(row)) distances.push_back(result.distance(rows.subspan(row * dim, dim)));
  }
  result.held_out = distances.size();
  std::ranges::sort(distances);
  for (const double level : ModalityStatistics::kLevels) {
    const auto at = static_cast<std::size_t>(level * static_cast<double>(distances.size()));
    result.quantiles.push_back(distances[std::min(at, distances.size() - 1)]);
  }
  return result;
}

std::optional<ConditionStatistics> read_condition_statistics(const std::filesystem::path& path) {
  std::error_code absent;
  if (!std::filesystem::exists(path, absent)) return std::nullopt;
  const SafetensorsFile file = SafetensorsFile::open(path);
  const auto stated = file.metadata().find("statistics");
  const nlohmann::json described =
      stated == file.metadata().end() ? nlohmann::json() : nlohmann::json::parse(stated->second, nullptr, false);
  try {
    if (described.at("version") != kStatisticsVersion) {
      throw Error(ErrorCode::kModel, "{}: of another version; compute the statistics again", path.string());
    }
    ConditionStatistics statistics{.sha256 = sha256_file(path)};
    if (described.contains("morphology"))
      statistics.morphology = read_modality(file, path, "morphology", described["morphology"]);
    if (described.contains("gene")) statistics.gene = read_modality(file, path, "gene", described["gene"]);
    return statistics;
  } catch (const nlohmann::json::exception& e) {
    throw Error(ErrorCode::kModel, "{}: its metadata are no statistics of conditions: {}", path.string(), e.what());
  }
}

void write_condition_statistics(const std::filesystem::path& file, const ConditionStatistics& statistics) {
  nlohmann::json described = {{"version", kStatisticsVersion}};
  std::vector<std::vector<std::byte>> bytes;
  bytes.reserve(4);
  std::vector<SafetensorsOutput> tensors;
  const auto add = [&](const std::string& name, const std::optional<ModalityStatistics>& modality) {
    if (!modality) return;
    described[name] = describe_modality(*modality);
    const auto dim = static_cast<std::int64_t>(modality->dim);
    bytes.push_back(as_byte_vector(modality->mean));
    tensors.push_back({name + ".mean", "F32", {dim}, bytes.back()});
    bytes.push_back(as_byte_vector(modality->factor));
    tensors.push_back({name + ".factor", "F32", {dim, dim}, bytes.back()});
  };
  add("morphology", statistics.morphology);
  add("gene", statistics.gene);
  write_safetensors(file, std::move(tensors), {{"statistics", described.dump()}});
}

}  // namespace vtissue::stages
