#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/safetensors.h"
#include "models/training/random.h"

namespace vtissue::models::training {

/// One section of the training set, cropped to a box, at the set's µm/px. Spans point into the mapped file.
struct TrainingSection {
  std::string name;
  bool validation = false;
  int width = 0;                       ///< pixels
  int height = 0;                      ///< pixels
  std::span<const std::uint8_t> rgb;   ///< [height, width, 3]
  std::span<const std::uint8_t> mask;  ///< [ceil(height/16), ceil(width/16)], 1 = tissue
  std::vector<float> spots_xy;         ///< [spots, 2], centre in pixels, (x, y)
  std::vector<float> counts;           ///< [spots, genes], raw
  std::vector<float> total;            ///< [spots], over all genes of the measurement
  int spots() const { return static_cast<int>(total.size()); }
};

/// A square of pixels under one of the eight symmetries of the square. x, y: its upper left corner, which may lie
/// outside the section; what is outside is mirrored at the border.
struct Crop {
  int section = 0;
  int x = 0;
  int y = 0;
  int symmetry = 0;  ///< 0..7: bit 2 swaps x and y, then bit 0 mirrors x and bit 1 mirrors y
};

enum class Split { kTrain, kValidation };

/// The training set that `vtissue train prepare` extracts: a mapped safetensors file. Thread-safe.
class TrainingSet {
 public:
  static constexpr int kMaskPx = 16;  ///< pixels a mask value stands for, per side

  /// Throws Error kBadInput that names the file and what is wrong with it.
  static TrainingSet open(const std::filesystem::path& path);

  double mpp() const { return mpp_; }  ///< µm per pixel
  const std::vector<std::string>& genes() const { return genes_; }
  const std::vector<TrainingSection>& sections() const { return sections_; }
  const std::filesystem::path& path() const { return path_; }

  /// Fills out[px, px, 3].
  void read(const Crop& crop, int px, std::span<std::uint8_t> out) const;

  /// Share of tissue in a square, by the mask; what is outside the section counts as none.
  double tissue(int section, int x, int y, int px) const;

 private:
  std::filesystem::path path_;
  double mpp_ = 0;
  std::vector<std::string> genes_;
  std::vector<TrainingSection> sections_;
  std::shared_ptr<SafetensorsFile> file_;
};

/// Draws crops on tissue from the sections of a split: a section by a power of its tissue's area, so that small slides
/// are seen too, then a place with enough tissue, jittered within the mask's grain. Thread-safe.
class CropSampler {
 public:
  /// Places are those where at least `min_tissue` of the square of `px` is tissue. Throws Error kBadInput if the
  /// split has none. `balance` is the power: 1 draws every place alike, 0 every section alike.
  CropSampler(const TrainingSet& set, Split split, int px, double min_tissue, double balance = 0.5);

  /// The crop's symmetry is random if `symmetries`, else 0. Draws from `random` alone.
  Crop draw(RandomStream& random, bool symmetries) const;

  /// Every place of a section, [n, 2] as (x, y), multiples of the mask's grain; empty for the other split.
  const std::vector<std::int32_t>& places(int section) const { return places_[static_cast<std::size_t>(section)]; }
  int px() const { return px_; }

 private:
  const TrainingSet* set_;
  int px_;
  std::vector<std::vector<std::int32_t>> places_;  ///< a section: x, y, x, y …
  std::vector<double> cumulative_;                 ///< a section: upper end of its interval in [0, 1]
};

/// A spot of the training set.
struct SpotRef {
  int section = 0;
  int spot = 0;
};

/// Spots of a split in the order of the file.
std::vector<SpotRef> spots_of(const TrainingSet& set, Split split);

/// The crop of `px` around a spot's centre, moved by (dx, dy) pixels.
Crop crop_around(const TrainingSet& set, const SpotRef& spot, int px, int dx = 0, int dy = 0, int symmetry = 0);

/// Crops as one tensor [n, px, px, 3] uint8.
at::Tensor read_crops(const TrainingSet& set, std::span<const Crop> crops, int px);

/// uint8 [n, h, w, 3] → float32 [n, 3, h, w] in [0, 1], channels last in memory.
at::Tensor to_unit_range(const at::Tensor& rgb);

}  // namespace vtissue::models::training
