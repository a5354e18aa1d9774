#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "io/tile_store.h"
#include "viewer/gene_table.h"
#include "viewer/run_finder.h"
#include "viewer/slide_tiles.h"

namespace vtissue::viewer {

/// Where real slides are looked for.
struct SlideSearch {
  std::filesystem::path slide;   ///< the slide of a single run; empty: looked for
  std::filesystem::path folder;  ///< further folder of slides, by the name that run.json has; may be empty
  bool without = false;          ///< none is shown, even if it is there
};

/// An opened run's folder: both slides, the tile grid, what there is to lay over it. Immutable but for caches;
/// thread-safe.
class Run {
 public:
  /// The virtual slide must open; whatever else is missing or cannot be read is said in description()'s "notes". The
  /// real slide is taken only if its digest is the one that the tiles were made from: `search.slide`, else the path
  /// that the run has remembered, else the recorded name beside the run or in `search.folder`. Files of the run that
  /// are links leading outside `root` are refused. Throws Error kBadInput.
  Run(RunPlace place, const std::filesystem::path& root, const SlideSearch& search);

  const RunPlace& place() const { return place_; }
  /// Changes when one of the files was replaced.
  static std::string version_of(const std::filesystem::path& folder);
  const std::string& version() const { return version_; }

  SlideTiles& virtual_slide() { return *virtual_; }
  SlideTiles* real_slide() { return real_.get(); }           ///< null: not found
  const io::TileSet* tiles() const { return tiles_.get(); }  ///< null: there is no tiles.h5
  GeneTable* genes() { return genes_.get(); }                ///< null: there is no expression.h5ad

  /// A map over the tiles.
  struct Figure {
    std::string name, label;
    std::vector<float> values;  ///< [tiles]; NaN: none
  };
  const std::vector<Figure>& figures() const { return figures_; }

  /// What the page needs to show it: "name", "virtual" and "real" {width, height, mpp, tile_px, levels, version, …},
  /// "tiles" {count, tile_px, mpp, …}, "figures", "genes", "metrics", "facts", "notes".
  nlohmann::json description() const;

 private:
  void open_tiles();
  void open_real(const SlideSearch& search);
  void open_maps();
  std::filesystem::path checked(const char* name) const;
  bool has(const char* name) const;

  RunPlace place_;
  std::filesystem::path root_;
  std::string version_;
  std::unique_ptr<SlideTiles> virtual_, real_;
  std::string real_name_;
  std::unique_ptr<io::TileSet> tiles_;
  std::unique_ptr<GeneTable> genes_;
  std::vector<Figure> figures_;
  nlohmann::json record_, metrics_, provenance_;
  std::vector<std::string> notes_;
};

}  // namespace vtissue::viewer
