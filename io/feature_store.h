#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/units.h"

namespace vtissue::io {

/// One set of embeddings in `features.h5` or `genes.h5`: for each tile `vectors` vectors of `dim`
/// values (1 for the whole tile; 1 + 9 for a spot with sub-tiles; tokens of a gene set).
struct FeatureSetInfo {
  std::string name;            ///< "morphology", "predictor", "cls", "tokens"
  std::string encoder;         ///< the model's name
  std::string encoder_sha256;  ///< digest of its weights
  std::string geometry;        ///< "tile", "tile+3x3"; free text for genes
  int vectors = 1;
  int dim = 0;
};

/// Writes the sets one after another, rows in the canonical order of the cells. Single thread.
class FeatureWriter {
 public:
  /// `cells` sorted and unique; `slide_sha256` as in tiles.h5, empty if unknown; `settings` of the stage that writes, a
  /// JSON object; `grid` as TileSet::grid(). A file that was not finish()ed is removed. Throws Error kOutput.
  FeatureWriter(const std::filesystem::path& path, std::span<const TileCell> cells, const std::string& slide_sha256,
                const std::string& settings = "{}", const std::string& grid = "");
  ~FeatureWriter();
  FeatureWriter(const FeatureWriter&) = delete;
  FeatureWriter& operator=(const FeatureWriter&) = delete;

  /// The name is made of letters, digits, '_', '-' and '.'. Throws std::logic_error if it is not, is
  /// taken, or the set before is not complete.
  void begin_set(const FeatureSetInfo& info);
  /// `values` [n, vectors, dim] for the next n tiles; `valid` [n] (0: no condition there, e.g. no
  /// expression; the row is zeros). Throws Error kOutput.
  void append(std::span<const float> values, std::span<const std::uint8_t> valid);
  /// Throws std::logic_error if a set has not one row a cell, Error kOutput if closing fails.
  void finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Thread-safe; reads take turns.
class FeatureReader {
 public:
  /// Throws Error kBadInput.
  explicit FeatureReader(const std::filesystem::path& path);
  ~FeatureReader();
  FeatureReader(const FeatureReader&) = delete;
  FeatureReader& operator=(const FeatureReader&) = delete;

  const std::vector<TileCell>& cells() const;
  /// Of the slide that the tiles lie on; empty if the writer did not know it.
  const std::string& slide_sha256() const;
  const std::string& settings() const;       ///< of the stage that wrote it, a JSON object
  const std::string& grid() const;           ///< of the tiles, as TileSet::grid()
  std::vector<FeatureSetInfo> sets() const;  ///< in alphabetical order
  /// Throws Error kBadInput if there is no such set.
  FeatureSetInfo info(std::string_view set) const;
  /// Rows [first, first+count): values [count, vectors, dim], valid [count]. Throws std::out_of_range,
  /// Error kBadInput if the file is damaged there.
  void read(std::string_view set, std::size_t first, std::size_t count, std::vector<float>& values,
            std::vector<std::uint8_t>& valid) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace vtissue::io
