#include "io/mpp.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "core/error.h"

namespace vtissue::io {
namespace {

constexpr double kLargestAnisotropy = 0.01;

std::optional<double> number_of(const SlideProperties& properties, std::string_view name) {
  const auto found = properties.find(name);
  return found == properties.end() ? std::nullopt : parse_property_number(found->second);
}

bool plausible(std::optional<double> mpp) { return mpp && *mpp >= kSmallestMpp && *mpp <= kLargestMpp; }

/// Both values, or one for both; nothing unless plausible.
std::optional<Mpp> pair_of(std::optional<double> x, std::optional<double> y, std::string_view source) {
  if (!x) x = y;
  if (!y) y = x;
  if (!plausible(x) || !plausible(y)) return std::nullopt;
  return Mpp{*x, *y, std::string(source)};
}

/// µm/px from pixels a unit; TIFF's default unit is the inch.
std::optional<Mpp> from_tiff_resolution(const SlideProperties& properties) {
  double micrometres = 25400;
  if (const auto unit = properties.find("tiff.ResolutionUnit"); unit != properties.end()) {
    if (unit->second == "centimeter") {
      micrometres = 10000;
    } else if (unit->second != "inch") {
      return std::nullopt;
    }
  }
  const auto mpp_of = [&](std::string_view name) -> std::optional<double> {
    const auto resolution = number_of(properties, name);
    if (!resolution || *resolution <= 0) return std::nullopt;
    return micrometres / *resolution;
  };
  return pair_of(mpp_of("tiff.XResolution"), mpp_of("tiff.YResolution"), "tiff.XResolution");
}

std::optional<Mpp> from_objective(const SlideProperties& properties) {
  const auto power = objective_power_of(properties);
  if (!power) return std::nullopt;
  return pair_of(10.0 / *power, std::nullopt, "objective-power");
}

}  // namespace

bool is_square(const Mpp& mpp) { return std::abs(mpp.x - mpp.y) <= kLargestAnisotropy * std::min(mpp.x, mpp.y); }

std::optional<double> parse_property_number(std::string_view text) {
  const auto is_blank = [](char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; };
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  if (!text.empty() && text.front() == '+') text.remove_prefix(1);
  std::string point(text);
  std::replace(point.begin(), point.end(), ',', '.');
  double value = 0;
  const char* const end = point.data() + point.size();
  const auto [rest, error] = std::from_chars(point.data(), end, value);
  if (error != std::errc{} || rest != end || !std::isfinite(value)) return std::nullopt;
  return value;
}

std::optional<double> objective_power_of(const SlideProperties& properties) {
  for (const std::string_view name : {"openslide.objective-power", "aperio.AppMag"}) {
    const auto power = number_of(properties, name);
    if (power && *power > 0) return power;
  }
  return std::nullopt;
}

std::optional<Mpp> resolve_mpp(const SlideProperties& properties, std::optional<double> override_mpp,
                               const std::filesystem::path& path) {
  if (override_mpp) {
    if (!plausible(override_mpp)) {
      throw Error(ErrorCode::kUsage, "--mpp {}: expected {} to {} µm/px", *override_mpp, kSmallestMpp, kLargestMpp);
    }
    return Mpp{*override_mpp, *override_mpp, "--mpp"};
  }
  auto mpp =
      pair_of(number_of(properties, "openslide.mpp-x"), number_of(properties, "openslide.mpp-y"), "openslide.mpp-x");
  if (!mpp) {
    mpp = pair_of(number_of(properties, "ome.PhysicalSizeX"), number_of(properties, "ome.PhysicalSizeY"),
                  "ome.PhysicalSizeX");
  }
  if (!mpp) mpp = pair_of(number_of(properties, "aperio.MPP"), std::nullopt, "aperio.MPP");
  if (!mpp) mpp = from_tiff_resolution(properties);
  if (!mpp) mpp = from_objective(properties);
  if (mpp && std::max(mpp->x, mpp->y) > kLargestAspect * std::min(mpp->x, mpp->y)) {
    throw Error(
        ErrorCode::kBadInput,
        "{}: pixels of {} x {} µm ({}) are not believed: no scanner makes them more than {} times as long as wide; "
        "pass the right value with --mpp",
        path.string(), mpp->x, mpp->y, mpp->source, kLargestAspect);
  }
  return mpp;
}

}  // namespace vtissue::io
