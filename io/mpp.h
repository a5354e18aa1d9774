#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "io/slide_reader.h"

namespace vtissue::io {

/// Sides of a pixel may differ by 1 % and count as one number.
bool is_square(const Mpp& mpp);

/// Names and values as OpenSlide gives them.
using SlideProperties = std::map<std::string, std::string, std::less<>>;

/// Values outside are not believed: 72 or 96 dpi defaults mean 264–353 µm (formats.md 1.4).
inline constexpr double kSmallestMpp = 0.05;
inline constexpr double kLargestMpp = 20.0;
inline constexpr double kLargestAspect = 2.0;

/// A number with a decimal point or comma and blanks around it, in any locale; nothing if there is
/// anything else in the text.
std::optional<double> parse_property_number(std::string_view text);

/// `openslide.objective-power`, else `aperio.AppMag` (which OpenSlide 3.4.1 drops when it reads
/// "40.000000").
std::optional<double> objective_power_of(const SlideProperties& properties);

/// µm/px of level 0 in the order of formats.md 1.4: `override_mpp`, openslide.mpp-x/-y, ome.PhysicalSizeX/-Y
/// (in µm), aperio.MPP, TIFF resolution, 10 / objective power; nothing if none is plausible. A pure function; `path` is
/// for messages. Throws Error kUsage if the override is not plausible, and kBadInput if x and y differ by more
/// than a factor of kLargestAspect: that is a mistake and no scanner.
std::optional<Mpp> resolve_mpp(const SlideProperties& properties, std::optional<double> override_mpp,
                               const std::filesystem::path& path);

}  // namespace vtissue::io
