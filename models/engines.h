#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "models/device.h"

/// What the stages see of the networks: plain arrays in, plain arrays out, no LibTorch type. Every
/// engine works in micro-batches of one fixed size (a smaller last batch is padded), because results
/// may differ in the last bit over the batch size; so a row's result does not depend on its
/// neighbours. Thread-safe: calls queue up on the device's thread. All throw Error kModel when loaded
/// from a folder whose weights are missing, damaged or of another network; the message lists tensors.
///
/// A model is a folder: config.json ("architecture", sizes, "micro_batch", preprocessing) and
/// model.safetensors. The folder name "null" selects the test double of the role. A release with other names of its
/// tensors, or without config.json, needs a name map (docs/weights.md).
namespace vtissue::models {

/// How load() reads a folder that is not as above.
struct LoadOptions {
  std::string name_map;              ///< a name map as JSON; empty: name_map.json of the folder, if it has one
  std::string name_map_origin;       ///< what messages call it: the file it was read from
  bool name_map_if_it_fits = false;  ///< pass over a map that fits no name of the file; false: Error kUsage
};

struct ModelInfo {
  std::string name;          ///< folder name or config's "name"
  std::string architecture;  ///< config's "architecture"
  std::string sha256;        ///< of config.json, the weights file, and the name map if there is one
  int micro_batch = 1;
};

/// H&E tile → embedding (UNI family).
class MorphologyEncoder {
 public:
  static std::shared_ptr<MorphologyEncoder> load(const std::filesystem::path& folder, std::shared_ptr<Device> device,
                                                 const LoadOptions& options = {});
  virtual ~MorphologyEncoder() = default;
  virtual const ModelInfo& info() const = 0;
  virtual int dim() const = 0;
  /// rgb [n, tile_px, tile_px, 3], resized to the network's input and normalised inside; out [n, dim].
  virtual void encode(std::span<const std::uint8_t> rgb, int n, int tile_px, std::span<float> out) const = 0;
};

/// Embeddings of a spot, its sub-tiles and its neighbours → expression (DeepSpot).
class ExpressionPredictor {
 public:
  static std::shared_ptr<ExpressionPredictor> load(const std::filesystem::path& folder, std::shared_ptr<Device> device,
                                                   const LoadOptions& options = {});
  virtual ~ExpressionPredictor() = default;
  virtual const ModelInfo& info() const = 0;
  virtual const std::vector<std::string>& genes() const = 0;
  virtual int feature_dim() const = 0;
  virtual bool uses_subtiles() const = 0;
  virtual bool uses_neighbors() const = 0;
  /// sha256 of the encoder whose features it was trained on ("" if not stated).
  virtual const std::string& encoder_sha256() const = 0;
  /// spot [n, F]; sub [n, 9, F] or empty; neighbors [n, 8, F] with n_neighbors [n] valid rows each, or
  /// empty; out [n, genes]: log1p of counts per 10,000, clipped at 0.
  virtual void predict(std::span<const float> spot, std::span<const float> sub, std::span<const float> neighbors,
                       std::span<const std::int32_t> n_neighbors, int n, std::span<float> out) const = 0;
};

/// Expression of a tile → gene embedding (CancerFoundation, frozen).
class GeneEncoder {
 public:
  static std::shared_ptr<GeneEncoder> load(const std::filesystem::path& folder, std::shared_ptr<Device> device,
                                           const LoadOptions& options = {});
  virtual ~GeneEncoder() = default;
  virtual const ModelInfo& info() const = 0;
  /// The frozen gene list the encoder reads, in its order; never more than max_seq_len - 1.
  virtual const std::vector<std::string>& genes() const = 0;
  virtual int dim() const = 0;
  /// values [n, genes] in any strictly increasing transform of the counts; cls [n, dim]: row 0 of the
  /// last layer, not normalised. tokens [n, genes, dim] if wanted, else empty.
  virtual void encode(std::span<const float> values, int n, std::span<float> cls, std::span<float> tokens) const = 0;
};

/// Guidance of models.md 1.2.6. e(m, g) is the prediction with both conditions, 0 stands for a null.
struct Guidance {
  enum class Form {
    kMorphologyFirst,  ///< e(0,0) + w_m [e(m,0) - e(0,0)] + w_g [e(m,g) - e(m,0)]
    kGeneFirst,        ///< e(0,0) + w_g [e(0,g) - e(0,0)] + w_m [e(m,g) - e(0,g)]
    kOrdinary,         ///< both at once: e(0,0) + w_m [e(m,g) - e(0,0)]; w_g has no part
    kExpressionOnly    ///< no morphology: e(0,0) + w_g [e(0,g) - e(0,0)]; w_m has no part
  };
  /// Noise levels, ends included, at which a condition is guided: the flow's t, or timestep / 1000; 1 is pure noise.
  /// Outside a weight counts as 1 (the condition is used, not amplified); a weight of 0 stays 0.
  struct Interval {
    float low = 0;
    float high = 1;
  };

  Form form = Form::kMorphologyFirst;
  float morphology = 2.0f;  ///< w_m
  float gene = 1.0f;        ///< w_g
  Interval morphology_interval = {};
  Interval gene_interval = {};
};

/// Conditions of n tiles. valid 0 selects the null of that modality.
struct TileConditions {
  std::span<const float> morphology;             ///< [n, m_dim]
  std::span<const std::uint8_t> has_morphology;  ///< [n]
  std::span<const float> gene;                   ///< [n, g_vectors, g_dim]: cls, or cls and tokens
  std::span<const std::uint8_t> has_gene;        ///< [n]
};

/// Conditions of some tiles after everything that does not depend on the latents or the time: projections, pooled gene
/// tokens, attentions over one token. Belongs to the denoiser that made it; immutable, may be used by several threads.
class PreparedConditions {
 public:
  virtual ~PreparedConditions() = default;
  virtual int tiles() const = 0;
};

/// The diffusion transformer with guidance applied (STMDiT; PixCell without expression).
class Denoiser {
 public:
  static std::shared_ptr<Denoiser> load(const std::filesystem::path& folder, std::shared_ptr<Device> device,
                                        const LoadOptions& options = {});
  virtual ~Denoiser() = default;
  virtual const ModelInfo& info() const = 0;
  virtual int latent_channels() const = 0;
  virtual int latent_size() const = 0;  ///< side of a tile in latents
  virtual int morphology_dim() const = 0;
  virtual int gene_dim() const = 0;            ///< 0: the variant takes no expression
  virtual int gene_vectors() const = 0;        ///< 1: cls alone
  virtual bool predicts_velocity() const = 0;  ///< true: flow (v = eps - x0, t in 0..1); false: epsilon, t in 0..999
  virtual const std::string& morphology_sha256() const = 0;  ///< encoders it was trained with; "" if not stated
  virtual const std::string& gene_sha256() const = 0;
  /// Whether there are variance channels beside the prediction, as the "iddpm" sampler needs them.
  virtual bool predicts_variance() const { return false; }
  /// x, out [n, C, h, w]; t is the sampler's timestep (flow: 0..1; epsilon: 0..999, may be
  /// fractional), equal for all n. out: the guided prediction. variance, empty or as out: the learned-sigma half of the
  /// branch with the most conditions that was evaluated; it is never guided. Throws Error kUsage if it is asked for and
  /// not predicted.
  virtual void predict(std::span<const float> x, int n, double t, const TileConditions& conditions,
                       const Guidance& guidance, std::span<float> out, std::span<float> variance = {}) const = 0;

  /// What predict() would do with the same conditions in every step, done once; the arrays may go when this returns.
  virtual std::shared_ptr<const PreparedConditions> prepare(int n, const TileConditions& conditions) const;
  /// predict() for all the tiles of `conditions`, which this denoiser's prepare() made: the same bits.
  virtual void predict_prepared(std::span<const float> x, double t, const PreparedConditions& conditions,
                                const Guidance& guidance, std::span<float> out, std::span<float> variance = {}) const;
};

/// How a picture larger than memory is decoded: in squares of `inner` latents of which the decoder sees `halo` more to
/// every side, blended over `ramp` latents to both sides of their borders where a decoder looks farther than any halo.
struct DecodeWindow {
  int inner = 64;
  int halo = 0;
  int ramp = 0;  ///< at most halo
};

/// Latents ↔ pixels.
class Autoencoder {
 public:
  static std::shared_ptr<Autoencoder> load(const std::filesystem::path& folder, std::shared_ptr<Device> device,
                                           const LoadOptions& options = {});
  virtual ~Autoencoder() = default;
  virtual const ModelInfo& info() const = 0;
  virtual int latent_channels() const = 0;
  virtual int factor() const = 0;  ///< pixels per latent: 8
  virtual DecodeWindow decode_window() const { return {}; }
  /// z [n, C, h, w] → rgb [n, factor*h, factor*w, 3], rounded.
  virtual void decode(std::span<const float> z, int n, int h, int w, std::span<std::uint8_t> rgb) const = 0;
  /// rgb [n, H, W, 3], H and W multiples of factor → z [n, C, H/factor, W/factor].
  virtual void encode(std::span<const std::uint8_t> rgb, int n, int height, int width, std::span<float> z) const = 0;
};

}  // namespace vtissue::models
