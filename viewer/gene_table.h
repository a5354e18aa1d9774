#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "core/units.h"
#include "io/anndata.h"

namespace vtissue::viewer {

/// Expression of a run's tiles by gene. The file has it by tile: on the first question it is turned into one array of
/// binary16 a gene in an unnamed file that is mapped, so that memory is the system's to give and take. Thread-safe.
class GeneTable {
 public:
  static constexpr int kTopGenes = 8;
  static constexpr std::size_t kTopTiles = 256;  ///< tiles of a block of top()

  /// `cells` are those of the overlay, sorted; rows of the file are found by their columns cell_column and cell_row.
  /// Throws Error kBadInput.
  GeneTable(const std::filesystem::path& h5ad, std::span<const TileCell> cells);
  ~GeneTable();
  GeneTable(const GeneTable&) = delete;
  GeneTable& operator=(const GeneTable&) = delete;

  const std::vector<std::string>& genes() const { return rows_.table().x.genes; }
  /// "measured", "predicted" or what the file says.
  const std::string& source() const { return source_; }
  const std::string& unit() const { return unit_; }
  std::size_t tiles() const { return tiles_; }

  /// Numbers of the tiles besides the genes: n_spots and the like, NaN for tiles that are not in the file.
  struct Figure {
    std::string name;
    std::vector<float> values;  ///< [tiles]
  };
  const std::vector<Figure>& figures() const { return figures_; }

  /// binary16 [tiles] of a gene; NaN where the tile has no expression. Empty for a gene that is not there. Valid as
  /// long as the table. Throws Error kBadInput if the file is damaged.
  std::span<const std::uint16_t> column(std::size_t gene);

  struct Top {
    std::uint32_t gene = 0;
    float value = 0;
    float z = 0;  ///< standard deviations above the gene's mean over the slide
  };
  /// For each tile of a block the genes that stand out most, at most kTopGenes, by descending z.
  std::vector<std::vector<Top>> top(std::size_t block);

  /// Mean over the tiles with expression, per gene.
  const std::vector<float>& means();

 private:
  void read_figures();
  void turn();  ///< fills the mapped file
  io::H5adRows rows_;
  std::filesystem::path path_;
  std::string source_, unit_;
  std::size_t tiles_;
  std::vector<std::int64_t> tile_of_row_;  ///< -1: a tile that the overlay does not have
  std::vector<std::uint8_t> has_expression_;
  std::vector<Figure> figures_;
  std::mutex turning_;
  bool turned_ = false;
  std::uint16_t* values_ = nullptr;  ///< [genes, tiles]
  std::vector<float> means_, deviations_;
};

}  // namespace vtissue::viewer
