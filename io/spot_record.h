#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "io/spot_mapping.h"

/// Which spots made the rows of an expression.h5ad.
namespace vtissue::io {

/// Adds obsm/spots, a csr_matrix [tiles, spots] of weights, and uns/spot_names [spots] to a finished file. Throws Error
/// kOutput; std::logic_error if a weight names a spot without a name.
void add_spot_record(const std::filesystem::path& path, const SpotWeights& weights,
                     std::span<const std::string> spot_names);

struct SpotRecord {
  SpotWeights weights;
  std::vector<std::string> names;
};
/// Nothing for a file without one. Throws Error kBadInput if it is damaged.
std::optional<SpotRecord> read_spot_record(const std::filesystem::path& path);

}  // namespace vtissue::io
