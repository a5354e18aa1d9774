#pragma once

/// Names of the files in a run's folder (docs/formats.md).
namespace vtissue::viewer::run_files {

inline constexpr const char* kTiles = "tiles.h5";
inline constexpr const char* kFeatures = "features.h5";
inline constexpr const char* kExpression = "expression.h5ad";
inline constexpr const char* kVirtual = "virtual.tiff";
inline constexpr const char* kMetrics = "metrics.json";
inline constexpr const char* kRun = "run.json";
inline constexpr const char* kDigests = ".vtissue/digests.json";

}  // namespace vtissue::viewer::run_files
