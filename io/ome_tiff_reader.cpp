#include "io/ome_tiff_reader.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/error.h"
#include "io/tiff_tiles.h"

namespace vtissue::io {
namespace {

/// The value of an attribute in a start tag, entities left as they are.
std::optional<std::string_view> attribute_of(std::string_view tag, std::string_view name) {
  for (std::size_t at = tag.find(name); at != std::string_view::npos; at = tag.find(name, at + 1)) {
    const bool is_whole = at > 0 && (tag[at - 1] == ' ' || tag[at - 1] == '\n' || tag[at - 1] == '\t') &&
                          at + name.size() < tag.size() && tag[at + name.size()] == '=';
    if (!is_whole || at + name.size() + 1 >= tag.size()) continue;
    const char quote = tag[at + name.size() + 1];
    if (quote != '"' && quote != '\'') continue;
    const std::size_t begin = at + name.size() + 2, end = tag.find(quote, begin);
    if (end == std::string_view::npos) return std::nullopt;
    return tag.substr(begin, end - begin);
  }
  return std::nullopt;
}

/// µm in a unit of OME's; 0 for a unit that is no length.
double micrometres(std::string_view unit) {
  constexpr std::pair<std::string_view, double> kUnits[] = {
      {"\u00b5m", 1}, {"\u03bcm", 1}, {"um", 1},      {"nm", 1e-3},   {"mm", 1e3},   {"cm", 1e4},
      {"m", 1e6},     {"in", 25400},  {"&#181;m", 1}, {"&#xB5;m", 1}, {"&#xb5;m", 1}};
  for (const auto& [name, value] : kUnits) {
    if (unit == name) return value;
  }
  return 0;
}

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
  }

  const SlideInfo& info() const override { return info_; }

  void read(int level, Point<Level0Px> origin, Size<LevelPx> size, std::span<std::uint8_t> out) const override {
    const Box<LevelPx> box = checked_box(level, origin, size, out.size());
    if (size.empty() || tiles_.read(static_cast<std::size_t>(level), box, out)) return;
    throw Error(ErrorCode::kBadInput, "{}: level {}, box at ({}, {}): a tile is not what its directory says",
                info_.path.string(), level, box.origin.x, box.origin.y);
  }

  Picture thumbnail(int longest_px) const override { return area_thumbnail(longest_px); }

 private:
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
  SlideInfo info_;
};

}  // namespace

SlideProperties ome_properties(std::string_view xml) {
  SlideProperties properties;
  if (xml.find("<OME") == std::string_view::npos && xml.find(":OME") == std::string_view::npos) return properties;
  std::size_t at = xml.find("Pixels ");
  while (at != std::string_view::npos && (at == 0 || (xml[at - 1] != '<' && xml[at - 1] != ':')))
    at = xml.find("Pixels ", at + 1);
  if (at == std::string_view::npos) return properties;
  const std::string_view tag = xml.substr(at, xml.find('>', at) - at);
  for (const std::string_view axis : {"PhysicalSizeX", "PhysicalSizeY"}) {
    const auto text = attribute_of(tag, axis);
    const auto value = text ? parse_property_number(*text) : std::nullopt;
    const double unit = micrometres(attribute_of(tag, std::string(axis) + "Unit").value_or("um"));
    if (value && unit > 0) properties["ome." + std::string(axis)] = fmt::format("{}", *value * unit);
  }
  return properties;
}

std::unique_ptr<SlideReader> open_ome_tiff(const std::filesystem::path& path, const SlideOptions& options,
                                           TiffLevels& tiff) {
  const bool is_ome = tiff.description.find("<OME") != std::string::npos;
  if (!is_ome || !tiff.first_is_level) return nullptr;
  return std::make_unique<OmeTiffReader>(path, std::move(tiff), options);
}

}  // namespace vtissue::io
