#include "io/patch_coordinates.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <stdexcept>

#include "io/hdf5.h"

namespace vtissue::io {
namespace {

constexpr std::int64_t kLargestCoordinate = 10'000'000;  // level-0 pixels; the largest slides have a tenth
constexpr double kLargestSide = 1e6;
constexpr int kLargestFeature = 1 << 20;
constexpr std::uint64_t kCoordinateRows = 4096;  // of a chunk
constexpr std::uint64_t kFeatureBytes = 1 << 20;

/// Of an array [N, …] or [1, N, …]: which axis the rows are on. `rank` counts without the leading 1.
std::size_t row_axis(const hdf5::Dataset& dataset, std::size_t rank) {
  const auto& shape = dataset.shape();
  if (shape.size() == rank) return 0;
  if (shape.size() == rank + 1 && shape[0] == 1) return 1;
  dataset.place().fail(fmt::format("has shape [{}], expected {} axes", fmt::join(shape, ", "), rank));
}

std::vector<Point<Level0Px>> read_corners(const hdf5::Group& root) {
  const hdf5::Dataset coords = root.dataset("coords");
  const std::size_t axis = row_axis(coords, 2);
  if (coords.shape()[axis + 1] != 2) {
    coords.place().fail(fmt::format("has shape [{}], expected x and y a row", fmt::join(coords.shape(), ", ")));
  }
  const std::vector<double> numbers = coords.read<double>();
  std::vector<Point<Level0Px>> corners;
  corners.reserve(numbers.size() / 2);
  for (std::size_t row = 0; 2 * row < numbers.size(); ++row) {
    std::array<std::int64_t, 2> at{};
    for (std::size_t k = 0; k < 2; ++k) {
      const double value = numbers[2 * row + k];
      if (!(std::abs(value) <= kLargestCoordinate) || value != std::round(value)) {
        coords.place().fail(fmt::format("row {} is ({}, {}); coordinates are whole level-0 pixels", row,
                                        numbers[2 * row], numbers[2 * row + 1]));
      }
      at[k] = static_cast<std::int64_t>(value);
    }
    corners.push_back({at[0], at[1]});
  }
  if (corners.empty()) coords.place().fail("has no patches");
  return corners;
}

std::optional<double> number(const hdf5::Object& object, const std::string& name) {
  const auto values = object.numbers_attribute(name);
  if (!values) return std::nullopt;
  if (values->empty() || !std::isfinite(values->front())) {
    object.place().fail(fmt::format("attribute '{}' is no number", name));
  }
  return values->front();
}

/// A length or factor: positive and not absurd.
double positive(const hdf5::Object& object, const std::string& name, std::optional<double> instead = std::nullopt) {
  const std::optional<double> value = number(object, name);
  if (!value && !instead) object.place().fail(fmt::format("attribute '{}' is missing", name));
  const double result = value.value_or(instead.value_or(0));
  if (!(result > 0) || result > kLargestSide) object.place().fail(fmt::format("attribute '{}' is {}", name, result));
  return result;
}

/// Level-0 pixels of TRIDENT's patches; nothing if the attributes are not its.
std::optional<double> trident_side(const hdf5::Object& coords) {
  if (coords.numbers_attribute("patch_size_level0")) return positive(coords, "patch_size_level0");
  if (!coords.numbers_attribute("level0_magnification") || !coords.numbers_attribute("target_magnification")) {
    return std::nullopt;
  }
  return std::floor(positive(coords, "patch_size") * positive(coords, "level0_magnification") /
                    positive(coords, "target_magnification"));
}

void read_trident(const hdf5::Object& coords, PatchCoordinates& result) {
  result.tool = PatchTool::kTrident;
  if (const auto overlap = number(coords, "overlap")) {
    const double patch = positive(coords, "patch_size");
    if (*overlap < 0 || *overlap >= patch) {
      coords.place().fail(fmt::format("attribute 'overlap' is {} for patches of {} px", *overlap, patch));
    }
    // As TRIDENT lays them out: patch and overlap are rounded to level-0 pixels each for itself.
    result.stride_px = result.side_px - std::round(*overlap * result.side_px / patch);
  }
  const auto width = number(coords, "level0_width"), height = number(coords, "level0_height");
  if (width && height) result.slide_size = {std::llround(*width), std::llround(*height)};
}

void read_clam(const hdf5::Object& coords, PatchCoordinates& result) {
  result.tool = PatchTool::kClam;
  const double level = number(coords, "patch_level").value_or(0);
  if (level < 0 || level > 64 || level != std::round(level)) {
    coords.place().fail(fmt::format("attribute 'patch_level' is {}", level));
  }
  const bool base = level == 0;
  const double downsample = positive(coords, "downsample", base ? std::optional(1.0) : std::nullopt);
  result.side_px = positive(coords, "patch_size") * downsample * positive(coords, "custom_downsample", 1.0);
  result.side_rounding_px = downsample / 2;
  const auto size = coords.numbers_attribute("level_dim");
  if (base && size && size->size() == 2) result.slide_size = {std::llround((*size)[0]), std::llround((*size)[1])};
}

void write_attributes(hdf5::Dataset& coords, PatchTool tool, const PatchLayout& layout) {
  const auto side = std::llround(layout.patch_px * layout.scale);
  if (tool == PatchTool::kClam) {
    coords.set_integer("patch_size",
                       std::max<std::int64_t>(1, std::llround(layout.patch_px * layout.scale / layout.downsample)));
    coords.set_integer("patch_level", layout.level);
    coords.set_numbers("downsample", std::array{layout.downsample, layout.downsample});
    const std::array size{layout.level_size.width, layout.level_size.height};
    coords.set_integers("downsampled_level_dim", size);
    coords.set_integers("level_dim", size);
    coords.set_string("name", layout.name);
    coords.set_string("save_path", ".");
    return;
  }
  const int magnification = nominal_magnification(layout.level0_mpp);
  const double target = magnification / layout.scale;
  coords.set_integer("patch_size", layout.patch_px);
  coords.set_integer("patch_size_level0", side);
  coords.set_integer("level0_magnification", magnification);
  if (target == std::round(target)) {
    coords.set_integer("target_magnification", std::llround(target));
  } else {
    coords.set_number("target_magnification", target);
  }
  coords.set_integer("overlap", layout.overlap_px);
  coords.set_string("name", layout.name);
  coords.set_string("savetodir", ".");
  coords.set_integer("level0_width", layout.slide_size.width);
  coords.set_integer("level0_height", layout.slide_size.height);
}

template <typename T>
hdf5::Dataset write_corners(hdf5::Group& root, std::span<const Point<Level0Px>> corners) {
  std::vector<T> numbers;
  numbers.reserve(2 * corners.size());
  for (const auto& corner : corners) {
    numbers.push_back(static_cast<T>(corner.x));
    numbers.push_back(static_cast<T>(corner.y));
  }
  const std::uint64_t n = corners.size();
  hdf5::Dataset coords = root.create_growable_dataset("coords", hdf5::native_type<T>(), std::array{n, std::uint64_t{2}},
                                                      std::min(std::max<std::uint64_t>(n, 1), kCoordinateRows));
  coords.write_rows(0, n, numbers.data());
  return coords;
}

}  // namespace

std::string_view to_string(PatchTool tool) { return tool == PatchTool::kClam ? "clam" : "trident"; }

int nominal_magnification(double mpp) {
  constexpr std::array<std::pair<double, int>, 6> kBelow{
      {{0.16, 80}, {0.2, 60}, {0.3, 40}, {0.6, 20}, {1.2, 10}, {2.4, 5}}};
  for (const auto& [limit, magnification] : kBelow) {
    if (mpp < limit) return magnification;
  }
  return std::max(1, static_cast<int>(std::lround(10 / mpp)));
}

std::string trident_folder(const PatchLayout& layout) {
  return fmt::format("{:.4g}x_{}px_{}px_overlap", nominal_magnification(layout.level0_mpp) / layout.scale,
                     layout.patch_px, layout.overlap_px);
}

PatchCoordinates read_patch_coordinates(const std::filesystem::path& path) {
  const hdf5::File file = hdf5::File::open(path);
  const hdf5::Group root = file.root();
  PatchCoordinates result;
  result.corners = read_corners(root);
  const hdf5::Dataset coords = root.dataset("coords");
  if (const auto side = trident_side(coords)) {
    result.side_px = *side;
    read_trident(coords, result);
  } else if (coords.numbers_attribute("patch_level")) {
    read_clam(coords, result);
  } else {
    coords.place().fail(
        "has neither TRIDENT's attributes (patch_size_level0) nor CLAM's (patch_size, patch_level): the patches' size "
        "is "
        "not known. Name the file of coordinates, not the one of features");
  }
  return result;
}

struct PatchFeatures::Impl {
  hdf5::File file;
  hdf5::Dataset features;
  std::vector<Point<Level0Px>> corners;
  std::size_t axis = 0;
  int dim = 0;
  std::string encoder;
  std::optional<double> side;
};

PatchFeatures::PatchFeatures(const std::filesystem::path& path) {
  hdf5::File file = hdf5::File::open(path);
  const hdf5::Group root = file.root();
  hdf5::Dataset features = root.dataset("features");
  const std::size_t axis = row_axis(features, 2);
  if (features.kind() != hdf5::TypeKind::kFloat) features.place().fail("does not hold floats");
  features.require_plausible();
  const std::uint64_t rows = features.shape()[axis], dim = features.shape()[axis + 1];
  if (dim < 1 || dim > kLargestFeature) features.place().fail(fmt::format("has {} values a patch", dim));
  std::vector<Point<Level0Px>> corners = read_corners(root);
  if (corners.size() != rows) {
    features.place().fail(fmt::format("has {} rows, but there are coordinates of {} patches", rows, corners.size()));
  }
  std::string encoder = features.string_attribute("encoder").value_or("");
  const std::optional<double> side = trident_side(root.dataset("coords"));
  impl_.reset(new Impl{std::move(file), std::move(features), std::move(corners), axis, static_cast<int>(dim),
                       std::move(encoder), side});
}

PatchFeatures::~PatchFeatures() = default;
PatchFeatures::PatchFeatures(PatchFeatures&&) noexcept = default;

const std::vector<Point<Level0Px>>& PatchFeatures::corners() const { return impl_->corners; }
int PatchFeatures::dim() const { return impl_->dim; }
const std::string& PatchFeatures::encoder() const { return impl_->encoder; }
std::optional<double> PatchFeatures::side_px() const { return impl_->side; }

void PatchFeatures::read(std::size_t first, std::size_t count, std::span<float> out) const {
  const auto dim = static_cast<std::size_t>(impl_->dim);
  if (first > impl_->corners.size() || count > impl_->corners.size() - first || out.size() != count * dim) {
    throw std::out_of_range(fmt::format("PatchFeatures::read: rows {}+{} of {} into {} values", first, count,
                                        impl_->corners.size(), out.size()));
  }
  impl_->features.read_rows(first, count, out.data(), impl_->axis);
  const auto bad = std::ranges::find_if(out, [](float value) { return !std::isfinite(value); });
  if (bad != out.end()) {
    const auto at = static_cast<std::size_t>(bad - out.begin());
    impl_->features.place().fail(fmt::format("value {} in row {}; features must be finite", *bad, first + at / dim));
  }
}

void write_patch_coordinates(const std::filesystem::path& path, PatchTool tool, const PatchLayout& layout,
                             std::span<const Point<Level0Px>> corners) {
  hdf5::File file = hdf5::File::create(path);
  {
    hdf5::Group root = file.root();
    hdf5::Dataset coords = write_corners<std::int64_t>(root, corners);
    write_attributes(coords, tool, layout);
  }
  file.close();
}

struct PatchFeatureWriter::Impl {
  hdf5::File file;
  std::optional<hdf5::Dataset> features;
  std::size_t rows, dim, written = 0;
};

PatchFeatureWriter::PatchFeatureWriter(const std::filesystem::path& path, PatchTool tool, const PatchLayout& layout,
                                       std::span<const Point<Level0Px>> corners, int dim, const std::string& encoder) {
  if (dim < 1 || dim > kLargestFeature) throw std::logic_error(fmt::format("features of {} values", dim));
  impl_.reset(new Impl{hdf5::File::create(path), {}, corners.size(), static_cast<std::size_t>(dim)});
  hdf5::Group root = impl_->file.root();
  const std::uint64_t row_bytes = static_cast<std::uint64_t>(dim) * sizeof(float);
  const std::uint64_t chunk =
      std::clamp<std::uint64_t>(kFeatureBytes / row_bytes, 1, std::max<std::size_t>(1, impl_->rows));
  impl_->features.emplace(root.create_growable_dataset(
      "features", H5T_NATIVE_FLOAT, std::array<std::uint64_t, 2>{impl_->rows, static_cast<std::uint64_t>(dim)}, chunk));
  if (tool == PatchTool::kClam) {
    write_corners<std::int32_t>(root, corners);
    return;
  }
  hdf5::Dataset coords = write_corners<std::int64_t>(root, corners);
  write_attributes(coords, tool, layout);
  impl_->features->set_string("encoder", encoder);
  impl_->features->set_string("name", layout.name);
  impl_->features->set_string("savetodir", ".");
}

PatchFeatureWriter::~PatchFeatureWriter() = default;

void PatchFeatureWriter::append(std::span<const float> rows) {
  const std::size_t count = rows.size() / impl_->dim;
  if (rows.size() % impl_->dim != 0 || count > impl_->rows - impl_->written) {
    throw std::logic_error(fmt::format("PatchFeatureWriter: {} values after {} of {} rows of {}", rows.size(),
                                       impl_->written, impl_->rows, impl_->dim));
  }
  impl_->features->write_rows(impl_->written, count, rows.data());
  impl_->written += count;
}

void PatchFeatureWriter::finish() {
  if (impl_->written != impl_->rows) {
    throw std::logic_error(fmt::format("PatchFeatureWriter: {} of {} rows", impl_->written, impl_->rows));
  }
  impl_->features.reset();
  impl_->file.close();
}

}  // namespace vtissue::io
