#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/engines.h"
#include "pipeline/stage.h"
#include "stages/stitch/stitch_stage.h"

namespace vtissue::stages {

struct DifferenceOptions {
  StitchOptions
      pyramid;      ///< profile, codec, quality, background, generator of the pictures; its provenance is not used
  double gain = 4;  ///< of the colour difference in difference.tiff
  double most =
      32;  ///< mean absolute difference, levels, of the heat map's brightest colour; the colours go by its root
  std::string numerics_class;  ///< Device::numerics_class()
};

/// A tile before and after.
struct TileDifference {
  double magnitude = 0;           ///< mean absolute difference over pixels and channels, levels
  std::array<double, 3> shift{};  ///< mean signed difference, after less before, by channel
  bool changed() const { return magnitude > 0; }
};

/// `before`, `after` [side, side, 3]. Pure.
TileDifference compare_tiles(std::span<const std::uint8_t> before, std::span<const std::uint8_t> after);

/// tiles, base, virtual → difference: a pyramid of the signed colour difference on the run's slide in pale grey;
/// heatmap: a pyramid of the run's slide in grey with each changed tile in the colour of its magnitude; table: the
/// changed tiles, most changed first (TSV). Both slides are read back from their files: what a viewer shows. With an
/// encoder the table has the distance of the tiles' embeddings too. Both pyramids say that they are synthetic and what
/// was changed.
class DifferenceStage : public pipeline::Stage {
 public:
  /// `encoder` may be null.
  DifferenceStage(DifferenceOptions options, std::shared_ptr<const models::MorphologyEncoder> encoder);

  std::string_view name() const override { return "difference"; }
  int format_version() const override { return 1; }
  std::vector<pipeline::Port> inputs() const override;
  std::vector<pipeline::Port> outputs() const override;
  nlohmann::json identity() const override;
  void run(const pipeline::Bindings& inputs, const pipeline::Bindings& outputs,
           pipeline::RunContext& ctx) const override;

 private:
  DifferenceOptions options_;
  std::shared_ptr<const models::MorphologyEncoder> encoder_;
};

}  // namespace vtissue::stages
