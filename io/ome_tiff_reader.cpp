#include "io/ome_tiff_reader.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <map>
#include <string>
#include <utility>

#include "core/error.h"
#include "io/ome_xml.h"
#include "io/tiff_tiles.h"
#include "io/vips_reader.h"

namespace vtissue::io {
namespace {

class OmeTiffReader final : public SlideReader {
 public:
  OmeTiffReader(const std::filesystem::path& path, TiffLevels tiff, const SlideOptions& options)
      : tiles_(path, levels_of(tiff)) {
    info_.path = path;
    info_.format = "ome-tiff";
    const Size<LevelPx> level0 = tiles_.levels().front().size;
    for (const TiffLevel& level : tiles_.levels()) {
      const double across = static_cast<double>(level0.width) / static_cast<double>(level.size.width);
      const double down = static_cast<double>(level0.height) / static_cast<double>(level.size.height);
      info_.levels.push_back({level.size, downsample_of(level0, level.size, (across + down) / 2)});
    }
    SlideProperties properties = ome_properties(tiff.description);
    info_.mpp = resolve_mpp(properties, options.mpp, path);
    info_.icc_profile = std::move(tiff.icc_profile);
    for (const OmeImage& image : ome_images(tiff.description)) {
      const std::string name = associated_name(image.name);
      if (image.directory > 0 && !name.empty() && pages_.emplace(name, image.directory).second) {
        info_.associated.push_back(name);
      }
    }
  }

  const SlideInfo& info() const override { return info_; }

  void read(int level, Point<Level0Px> origin, Size<LevelPx> size, std::span<std::uint8_t> out) const override {
    const Box<LevelPx> box = checked_box(level, origin, size, out.size());
    if (size.empty() || tiles_.read(static_cast<std::size_t>(level), box, out)) return;
    throw Error(ErrorCode::kBadInput, "{}: level {}, box at ({}, {}): a tile is not what its directory says",
                info_.path.string(), level, box.origin.x, box.origin.y);
  }

  Picture thumbnail(int longest_px) const override { return area_thumbnail(longest_px); }

  Picture associated_image(const std::string& name) const override {
    const auto page = pages_.find(name);
    return page == pages_.end() ? SlideReader::associated_image(name) : read_tiff_page(info_.path, page->second);
  }

 private:
  /// What the others call an image of that name ("label image", "Macro"); empty for a picture of another kind.
  static std::string associated_name(std::string name) {
    std::ranges::transform(name, name.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    for (const std::string_view known : {"label", "macro", "thumbnail"}) {
      if (name.starts_with(known)) return std::string(known);
    }
    return name.starts_with("overview") ? "macro" : "";
  }

  /// Level 0, then the SubIFDs as long as they get smaller.
  static std::vector<TiffLevel> levels_of(TiffLevels& tiff) {
    std::vector<TiffLevel> levels{std::move(tiff.chain.front())};
    for (TiffLevel& level : tiff.subifds) {
      if (level.size.width >= levels.back().size.width || level.size.height > levels.back().size.height) break;
      levels.push_back(std::move(level));
    }
    return levels;
  }

  TiffTiles tiles_;
  std::map<std::string, int> pages_;  // of the pictures beside the slide
  SlideInfo info_;
};

}  // namespace

std::unique_ptr<SlideReader> open_ome_tiff(const std::filesystem::path& path, const SlideOptions& options,
                                           TiffLevels& tiff) {
  const bool is_ome = tiff.description.find("<OME") != std::string::npos;
  if (!is_ome || !tiff.first_is_level) return nullptr;
  return std::make_unique<OmeTiffReader>(path, std::move(tiff), options);
}

}  // namespace vtissue::io
