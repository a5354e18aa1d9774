#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "io/pyramid_writer.h"
#include "models/engines.h"
#include "pipeline/stage.h"

namespace vtissue::io {
class LatentReader;
struct LatentStoreInfo;
struct TileSet;
}  // namespace vtissue::io

namespace vtissue::stages {

struct StitchOptions {
  io::PyramidProfile profile = io::PyramidProfile::kSvs;
  io::PyramidCodec codec = io::PyramidCodec::kJpeg;
  int quality = 90;                                          ///< 1..100, of JPEG and JPEG 2000
  io::ChromaSampling sampling = io::ChromaSampling::k444;    ///< of JPEG
  std::vector<std::byte> icc_profile;                        ///< what the pictures' numbers mean; empty: not said
  std::array<std::uint8_t, 3> background = {244, 243, 245};  ///< where there is no tissue: bright glass
  std::string generator = "vtissue";  ///< program and version: "vtissue 0.1.0"; on the label and in the metadata
  nlohmann::json provenance = nlohmann::json::object();  ///< what the slide says of itself; no paths
  std::string numerics_class;                            ///< Device::numerics_class()
};

/// latents, tiles, expression (optional; its digest and what made it are taken), ood (optional; the ood stage's report,
/// which becomes "out_of_distribution") → virtual.tiff: the tiles decoded, laid
/// out on glass, and written as a pyramid (io/pyramid_writer.h) that says it is synthetic: in its metadata, in its
/// label and macro images, and in its pixels (stages/stitch/synthetic_mark.h). To `provenance` the stage adds
/// "synthetic": true, the digest of the source slide, the noise's seed and the decoder; what synthesis was set to
/// ("configuration", "synthesize") and the models before the decoder ("models") it takes from the latents' index.
class StitchStage : public pipeline::Stage {
 public:
  static constexpr int kBlockPx = 2048;

  /// Throws std::logic_error if the provenance names a path.
  StitchStage(StitchOptions options, std::shared_ptr<const models::Autoencoder> autoencoder);

  std::string_view name() const override { return "stitch"; }
  int format_version() const override { return 5; }
  std::vector<pipeline::Port> inputs() const override;
  std::vector<pipeline::Port> outputs() const override;
  nlohmann::json identity() const override;
  void preflight(const pipeline::Bindings& available_inputs) const override;
  pipeline::Estimate estimate(const pipeline::Bindings& available_inputs) const override;
  bool divisible(const pipeline::Bindings&) const override { return true; }
  void run(const pipeline::Bindings& inputs, const pipeline::Bindings& outputs,
           pipeline::RunContext& ctx) const override;

 private:
  /// `expression` as describe_expression() gives it.
  io::PyramidOptions pyramid_options(const io::TileSet& tiles, const io::LatentStoreInfo& latents,
                                     const nlohmann::json& expression) const;

  StitchOptions options_;
  std::shared_ptr<const models::Autoencoder> autoencoder_;
};

}  // namespace vtissue::stages
