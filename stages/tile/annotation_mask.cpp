#include "stages/tile/annotation_mask.h"

#include <algorithm>
#include <limits>
#include <map>

#include "core/edit_distance.h"
#include "core/error.h"
#include "io/geojson.h"
#include "stages/tile/polygon_fill.h"

namespace vtissue::stages {
namespace {

constexpr std::string_view kUnclassified = "Unclassified";
constexpr double kMargin = 2;  // level-0 pixels that an outline may reach over the slide's edge by rounding

std::string shown_class(const std::string& name) { return name.empty() ? std::string(kUnclassified) : name; }

bool is_class_or_derived(const std::string& name, const std::string& wanted) {
  return name == wanted || (name.starts_with(wanted) && std::string_view(name).substr(wanted.size()).starts_with(":"));
}

bool matches(const std::string& name, const std::vector<std::string>& wanted) {
  return std::ranges::any_of(wanted, [&](const std::string& w) { return is_class_or_derived(shown_class(name), w); });
}

struct Extent {
  double left = std::numeric_limits<double>::max(), top = left, right = -left, bottom = -left;

  void add(const io::GeoPoint& p) {
    left = std::min(left, p.x), right = std::max(right, p.x);
    top = std::min(top, p.y), bottom = std::max(bottom, p.y);
  }
  bool meets(Size<Level0Px> size) const {
    return right > 0 && bottom > 0 && left < static_cast<double>(size.width) && top < static_cast<double>(size.height);
  }
  bool within(Size<Level0Px> size) const {
    return left >= -kMargin && top >= -kMargin && right <= static_cast<double>(size.width) + kMargin &&
           bottom <= static_cast<double>(size.height) + kMargin;
  }
  Extent swapped() const { return {top, left, bottom, right}; }
  Extent moved(Point<Level0Px> by) const {
    const auto x = static_cast<double>(by.x), y = static_cast<double>(by.y);
    return {left + x, top + y, right + x, bottom + y};
  }
};

/// What would make coordinates that do not fit the slide fit it; empty if nothing simple.
std::string remedy_for(const Extent& extent, const AnnotatedSlide& slide, bool from_bounds) {
  if (extent.swapped().within(slide.size)) return "they fit when x and y are swapped";
  const Point<Level0Px> bounds = slide.bounds_origin;
  if (bounds != Point<Level0Px>{}) {
    const Extent other = extent.moved(from_bounds ? Point<Level0Px>{-bounds.x, -bounds.y} : bounds);
    if (other.within(slide.size)) {
      return fmt::format("they fit with tissue.annotations_origin {}", from_bounds ? "level0" : "bounds");
    }
  }
  const double factor = std::max(extent.right / static_cast<double>(slide.size.width),
                                 extent.bottom / static_cast<double>(slide.size.height));
  if (factor > 1 && extent.left >= 0 && extent.top >= 0) {
    return fmt::format(
        "they need a slide at least {:.3g} times as large: are they in level-0 pixels of this slide, not in those of "
        "another scan or in nm?",
        factor);
  }
  return "are they of this slide?";
}

class AnnotationReader {
 public:
  AnnotationReader(const std::filesystem::path& path, const AnnotatedSlide& slide, const AnnotationOptions& options)
      : path_(path), slide_(slide), options_(options) {
    masks_.limits = !options.include.empty() || options.exclude.empty();
    for (BinaryImage* mask : {&masks_.included, &masks_.excluded}) {
      *mask = {slide.mask_size, std::vector<std::uint8_t>(static_cast<std::size_t>(slide.mask_size.area()))};
    }
    frame_.downsample = slide.downsample;
    if (options.from_bounds) {
      frame_.origin_x = -static_cast<double>(slide.bounds_origin.x);
      frame_.origin_y = -static_cast<double>(slide.bounds_origin.y);
    }
  }

  AnnotationMasks read() {
    const std::size_t objects = io::read_geojson(path_, [&](io::GeoObject&& object) { take(object); });
    check(objects);
    warn();
    masks_.figures = {{"objects", objects}, {"areas", with_area_}, {"classes", nlohmann::json::object()}};
    for (const auto& [name, count] : classes_) masks_.figures["classes"][shown_class(name)] = count;
    return std::move(masks_);
  }

 private:
  void take(const io::GeoObject& object) {
    const std::string& type = object.object_type;
    if (type == "detection" || type == "cell" || type == "tile" || type == "root") {
      ++detections_;
      return;
    }
    without_area_ += object.without_area;
    open_ += object.open_rings;
    thin_ += object.thin_rings;
    if (object.polygons.empty()) return;
    ++with_area_;
    ++classes_[object.class_name];
    Extent extent;
    for (const io::GeoPolygon& polygon : object.polygons) {
      for (const io::GeoPoint& point : polygon.front()) {
        extent.add({point.x - frame_.origin_x, point.y - frame_.origin_y});
        extent_.add({point.x - frame_.origin_x, point.y - frame_.origin_y});
      }
    }
    outside_ += !extent.meets(slide_.size);
    overhanging_ += extent.meets(slide_.size) && !extent.within(slide_.size);

    const bool excluded = matches(object.class_name, options_.exclude);
    const bool ignored = options_.include.empty() && object.class_name.ends_with('*');
    const bool included =
        masks_.limits && !ignored && (options_.include.empty() || matches(object.class_name, options_.include));
    std::int64_t pixels = 0;
    bool crossing = false;
    for (const io::GeoPolygon& polygon : object.polygons) {
      for (BinaryImage* mask : {excluded ? &masks_.excluded : nullptr, included ? &masks_.included : nullptr}) {
        if (mask == nullptr) continue;
        const FillResult filled = fill_polygon(*mask, polygon, frame_);
        pixels += filled.pixels;
        crossing = crossing || filled.self_crossing;
      }
    }
    if (!excluded && !included) return;
    crossing_ += crossing;
    tiny_ += pixels == 0 && extent.meets(slide_.size);
  }

  /// "Tumor (3), Stroma (1)", most frequent first.
  std::string class_list() const {
    std::vector<std::pair<std::string, std::size_t>> sorted;
    for (const auto& [name, count] : classes_) sorted.emplace_back(shown_class(name), count);
    std::ranges::stable_sort(sorted, [](const auto& a, const auto& b) { return a.second > b.second; });
    std::string text;
    constexpr std::size_t kMost = 12;
    for (std::size_t i = 0; i < std::min(kMost, sorted.size()); ++i) {
      text += fmt::format("{}{} ({})", i > 0 ? ", " : "", sorted[i].first, sorted[i].second);
    }
    if (sorted.size() > kMost) text += fmt::format(" and {} more", sorted.size() - kMost);
    return text;
  }

  void check_classes(std::string_view key, const std::vector<std::string>& wanted) const {
    for (const std::string& name : wanted) {
      if (std::ranges::any_of(classes_, [&](const auto& c) { return is_class_or_derived(shown_class(c.first), name); }))
        continue;
      std::string nearest;
      std::size_t least = std::numeric_limits<std::size_t>::max();
      for (const auto& [has, count] : classes_) {
        const std::size_t distance = edit_distance(name, shown_class(has));
        if (distance < least) least = distance, nearest = shown_class(has);
      }
      throw Error(ErrorCode::kUsage, "{}: no annotation of class '{}' in {}; the nearest is '{}'. The file has {}", key,
                  name, path_.string(), nearest, class_list());
    }
  }

  void check(std::size_t objects) const {
    if (objects == 0) {
      throw Error(ErrorCode::kBadInput,
                  "{}: no annotations in it; export them again (QuPath: File, Export objects as GeoJSON)",
                  path_.string());
    }
    if (with_area_ == 0) {
      throw Error(
          ErrorCode::kBadInput,
          "{}: none of its {} objects is an annotation with an area ({} points, lines or empty, {} detections, cells "
          "or tiles, {} rings of fewer than three points)",
          path_.string(), objects, without_area_, detections_, thin_);
    }
    if (outside_ == with_area_) {
      throw Error(
          ErrorCode::kBadInput,
          "{}: no annotation lies inside the slide of {} x {} level-0 pixels: they span x {:.0f} to {:.0f}, y {:.0f} "
          "to {:.0f}; {}",
          path_.string(), slide_.size.width, slide_.size.height, extent_.left, extent_.right, extent_.top,
          extent_.bottom, remedy_for(extent_, slide_, options_.from_bounds));
    }
    check_classes("tissue.include_classes", options_.include);
    check_classes("tissue.exclude_classes", options_.exclude);
    if (masks_.limits && std::ranges::count(masks_.included.pixels, 1) == 0) {
      throw Error(ErrorCode::kBadInput,
                  "{}: the included annotations cover no pixel of the tissue mask, whose pixels have a side of {:.1f} "
                  "level-0 pixels; {}",
                  path_.string(), slide_.downsample,
                  outside_ > 0 ? "some lie outside the slide" : "are they in level-0 pixels?");
    }
  }

  void warn() {
    const auto say = [&](std::size_t count, std::string_view what) {
      if (count > 0) masks_.warnings.push_back(fmt::format("annotations: {} {}", count, what));
    };
    if (outside_ + overhanging_ > 0) {
      std::string text = fmt::format("annotations of {} lie outside the slide or reach over its edge", with_area_);
      if (!extent_.within(slide_.size) && extent_.swapped().within(slide_.size)) {
        text += "; they fit when x and y are swapped";
      }
      say(outside_ + overhanging_, text);
    }
    say(detections_, "detections, cells or tiles were left out; annotations alone count");
    say(without_area_, "points, lines or empty geometries have no area and were left out");
    say(open_, "outlines were not closed; the last point was connected to the first");
    say(thin_, "rings of fewer than three points were left out");
    say(crossing_, "annotations cross themselves; what an outline winds around twice counts as inside");
    say(tiny_, "annotations are smaller than the pixels of the tissue mask and cover none (tissue.mpp)");
    if (slide_.bounds_origin != Point<Level0Px>{} && !options_.from_bounds) {
      masks_.warnings.push_back(
          fmt::format("annotations: coordinates were taken from level 0's corner, but the slide's non-empty area "
                      "begins at ({}, {}), where "
                      "QuPath usually counts from: check the mask, or set tissue.annotations_origin bounds",
                      slide_.bounds_origin.x, slide_.bounds_origin.y));
    }
  }

  const std::filesystem::path& path_;
  const AnnotatedSlide& slide_;
  const AnnotationOptions& options_;
  MaskFrame frame_;
  AnnotationMasks masks_;
  std::map<std::string, std::size_t> classes_;
  Extent extent_;
  std::size_t with_area_ = 0, outside_ = 0, overhanging_ = 0, detections_ = 0, without_area_ = 0, open_ = 0, thin_ = 0,
              crossing_ = 0, tiny_ = 0;
};

}  // namespace

AnnotationMasks read_annotation_masks(const std::filesystem::path& path, const AnnotatedSlide& slide,
                                      const AnnotationOptions& options) {
  return AnnotationReader(path, slide, options).read();
}

}  // namespace vtissue::stages
