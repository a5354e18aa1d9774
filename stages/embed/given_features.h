#pragma once

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "io/patch_coordinates.h"
#include "io/tile_store.h"

namespace vtissue::stages {

/// Features of a set of tiles that another tool has computed.
class GivenFeatures {
 public:
  /// `dim` values a tile are wanted. Throws Error kBadInput: damaged, features for only some of the tiles, of patches
  /// of another size; kModel: another number of values.
  GivenFeatures(const std::filesystem::path& path, const io::TileSet& tiles, int dim);

  /// Those of tiles [first, first + count) into out [count, dim]. Throws Error kBadInput.
  void read(std::size_t first, std::size_t count, std::span<float> out) const;

  /// Computes the features of some tiles, evenly spread, and compares: a file of another encoder, of other tiles or in
  /// another order is refused (Error kModel), however it calls itself. Returns what is to be said of it in the store:
  /// the name it gives its encoder, the number of tiles compared and the share of the variance that agrees, 1 at best.
  nlohmann::json compare(const std::function<std::vector<float>(std::span<const std::size_t> tiles)>& compute) const;

 private:
  std::filesystem::path path_;
  io::PatchFeatures features_;
  std::vector<std::size_t> rows_;  // of the tiles
};

}  // namespace vtissue::stages
