#pragma once

#include <filesystem>
#include <memory>

#include "io/feature_store.h"
#include "stages/synthesize/tile_conditions.h"

namespace vtissue::stages {

/// A run's conditions with the gene embeddings of some tiles replaced (ChangeStage). Thread-safe.
class ChangedConditions : public ConditionSource {
 public:
  /// Throws as ConditionSource; Error kBadInput if `changed` has tiles that the run does not, kModel if it was made by
  /// another encoder.
  ChangedConditions(const std::filesystem::path& features, const std::filesystem::path& genes,
                    const std::filesystem::path& changed, std::shared_ptr<const models::Denoiser> denoiser);

  ConditionRows read(std::size_t first, std::size_t count) const override;
  /// Indices of the tiles whose expression is another, ascending.
  std::vector<std::size_t> changed_tiles() const;
  const std::string& change_settings() const { return changed_.settings(); }

 private:
  io::FeatureReader changed_;
  std::size_t dim_, vectors_;
};

}  // namespace vtissue::stages
