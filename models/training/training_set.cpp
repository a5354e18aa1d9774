#include "models/training/training_set.h"

#include <spdlog/fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "core/error.h"

namespace vtissue::models::training {
namespace {

using Shape = std::vector<std::int64_t>;

const SafetensorsEntry& require(const SafetensorsFile& file, const std::filesystem::path& path, const std::string& name,
                                std::string_view dtype, std::size_t rank) {
  const SafetensorsEntry* entry = file.find(name);
  if (entry == nullptr) {
    throw Error(ErrorCode::kBadInput, "{}: no tensor '{}'; make the training set again with vtissue train prepare",
                path.string(), name);
  }
  if (entry->dtype != dtype || entry->shape.size() != rank) {
    throw Error(ErrorCode::kBadInput, "{}: tensor '{}' is {} with {} dimensions, expected {} with {}", path.string(),
                name, entry->dtype, entry->shape.size(), dtype, rank);
  }
  return *entry;
}

void require_shape(const SafetensorsEntry& entry, const std::filesystem::path& path, const Shape& expected) {
  if (entry.shape != expected) {
    throw Error(ErrorCode::kBadInput, "{}: tensor '{}' has shape [{}], expected [{}]", path.string(), entry.name,
                fmt::join(entry.shape, ", "), fmt::join(expected, ", "));
  }
}

std::span<const std::uint8_t> bytes_of(const SafetensorsEntry& entry) {
  return {reinterpret_cast<const std::uint8_t*>(entry.data.data()), entry.data.size()};
}

/// A copy: the file's data may be unaligned.
std::vector<float> floats_of(const SafetensorsEntry& entry) {
  std::vector<float> values(entry.data.size() / sizeof(float));
  std::memcpy(values.data(), entry.data.data(), values.size() * sizeof(float));
  return values;
}

std::int64_t blocks(std::int64_t px) { return (px + TrainingSet::kMaskPx - 1) / TrainingSet::kMaskPx; }

int mirrored(int i, int n) {
  if (n == 1) return 0;
  const int period = 2 * (n - 1);
  i = std::abs(i) % period;
  return i < n ? i : period - i;
}

}  // namespace

TrainingSet TrainingSet::open(const std::filesystem::path& path) {
  TrainingSet set;
  set.path_ = path;
  set.file_ = std::make_shared<SafetensorsFile>(SafetensorsFile::open(path));
  const auto info_text = set.file_->metadata().find("info");
  if (info_text == set.file_->metadata().end()) {
    throw Error(ErrorCode::kBadInput, "{}: not a training set (no 'info'); make one with vtissue train prepare",
                path.string());
  }
  try {
    const auto info = nlohmann::json::parse(info_text->second);
    if (info.at("format").get<int>() != 1) {
      throw Error(ErrorCode::kBadInput, "{}: training set of format {}, this version reads 1", path.string(),
                  info.at("format").get<int>());
    }
    set.mpp_ = info.at("mpp").get<double>();
    set.genes_ = info.at("genes").get<std::vector<std::string>>();
    for (const auto& item : info.at("sections")) {
      TrainingSection section;
      section.name = item.at("name").get<std::string>();
      const auto split = item.at("split").get<std::string>();
      if (split != "train" && split != "val") {
        throw Error(ErrorCode::kBadInput, "{}: section {}: split '{}' is neither train nor val", path.string(),
                    section.name, split);
      }
      section.validation = split == "val";
      const auto spots = item.at("spots").get<std::int64_t>();
      const std::string prefix = fmt::format("section/{}/", set.sections_.size());
      const auto genes = static_cast<std::int64_t>(set.genes_.size());

      const auto& rgb = require(*set.file_, path, prefix + "rgb", "U8", 3);
      require_shape(rgb, path, {rgb.shape[0], rgb.shape[1], 3});
      section.height = static_cast<int>(rgb.shape[0]);
      section.width = static_cast<int>(rgb.shape[1]);
      section.rgb = bytes_of(rgb);
      const auto& mask = require(*set.file_, path, prefix + "mask", "U8", 2);
      require_shape(mask, path, {blocks(section.height), blocks(section.width)});
      section.mask = bytes_of(mask);
      const auto& xy = require(*set.file_, path, prefix + "spots_xy", "F32", 2);
      require_shape(xy, path, {spots, 2});
      section.spots_xy = floats_of(xy);
      const auto& counts = require(*set.file_, path, prefix + "counts", "F32", 2);
      require_shape(counts, path, {spots, genes});
      section.counts = floats_of(counts);
      const auto& total = require(*set.file_, path, prefix + "total", "F32", 1);
      require_shape(total, path, {spots});
      section.total = floats_of(total);
      set.sections_.push_back(std::move(section));
    }
  } catch (const nlohmann::json::exception& e) {
    throw Error(ErrorCode::kBadInput, "{}: 'info' of the training set: {}", path.string(), e.what());
  }
  return set;
}

void TrainingSet::read(const Crop& crop, int px, std::span<std::uint8_t> out) const {
  const TrainingSection& section = sections_[static_cast<std::size_t>(crop.section)];
  const bool swap = (crop.symmetry & 4) != 0;
  const bool flip_x = (crop.symmetry & 1) != 0;
  const bool flip_y = (crop.symmetry & 2) != 0;
  for (int y = 0; y < px; ++y) {
    for (int x = 0; x < px; ++x) {
      int sx = swap ? y : x;
      int sy = swap ? x : y;
      if (flip_x) sx = px - 1 - sx;
      if (flip_y) sy = px - 1 - sy;
      const auto column = static_cast<std::size_t>(mirrored(crop.x + sx, section.width));
      const auto row = static_cast<std::size_t>(mirrored(crop.y + sy, section.height));
      const std::uint8_t* source = section.rgb.data() + (row * static_cast<std::size_t>(section.width) + column) * 3;
      std::uint8_t* target = out.data() + (static_cast<std::size_t>(y) * px + x) * 3;
      target[0] = source[0];
      target[1] = source[1];
      target[2] = source[2];
    }
  }
}

double TrainingSet::tissue(int section, int x, int y, int px) const {
  const TrainingSection& s = sections_[static_cast<std::size_t>(section)];
  const auto columns = blocks(s.width);
  const auto rows = blocks(s.height);
  const auto half = kMaskPx / 2;
  // A mask value counts if its centre is in the square.
  int inside = 0;
  int all = 0;
  for (int by = static_cast<int>(std::floor(static_cast<double>(y + half) / kMaskPx)); by * kMaskPx + half < y + px;
       ++by) {
    if (by * kMaskPx + half < y) continue;
    for (int bx = static_cast<int>(std::floor(static_cast<double>(x + half) / kMaskPx)); bx * kMaskPx + half < x + px;
         ++bx) {
      if (bx * kMaskPx + half < x) continue;
      ++all;
      if (bx < 0 || by < 0 || bx >= columns || by >= rows) continue;
      inside += s.mask[static_cast<std::size_t>(by * columns + bx)] != 0 ? 1 : 0;
    }
  }
  return all == 0 ? 0.0 : static_cast<double>(inside) / all;
}

CropSampler::CropSampler(const TrainingSet& set, Split split, int px, double min_tissue, double balance)
    : set_(&set), px_(px) {
  const auto n = set.sections().size();
  places_.resize(n);
  cumulative_.resize(n);
  double sum = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const TrainingSection& section = set.sections()[i];
    double area = 0;
    if (section.validation == (split == Split::kValidation)) {
      for (int y = 0; y + px <= section.height; y += TrainingSet::kMaskPx) {
        for (int x = 0; x + px <= section.width; x += TrainingSet::kMaskPx) {
          if (set.tissue(static_cast<int>(i), x, y, px) < min_tissue) continue;
          places_[i].push_back(x);
          places_[i].push_back(y);
        }
      }
      area = static_cast<double>(places_[i].size());
    }
    if (area > 0) sum += std::pow(area, balance);
    cumulative_[i] = sum;
  }
  if (sum == 0) {
    throw Error(ErrorCode::kBadInput, "{}: no place of {} px with {:.0f} % tissue in the {} sections",
                set.path().string(), px, 100 * min_tissue, split == Split::kTrain ? "training" : "validation");
  }
  for (double& value : cumulative_) value /= sum;
}

Crop CropSampler::draw(RandomStream& random, bool symmetries) const {
  const double u = random.uniform();
  std::size_t i = 0;
  while (i + 1 < cumulative_.size() && u >= cumulative_[i]) ++i;
  while (places_[i].empty()) --i;  // only where u is above the last section's interval by rounding
  const std::vector<std::int32_t>& places = places_[i];
  const std::size_t place = 2 * static_cast<std::size_t>(random.below(static_cast<std::uint32_t>(places.size() / 2)));
  const TrainingSection& section = set_->sections()[i];
  Crop crop;
  crop.section = static_cast<int>(i);
  crop.x = std::min(places[place] + static_cast<int>(random.below(TrainingSet::kMaskPx)), section.width - px_);
  crop.y = std::min(places[place + 1] + static_cast<int>(random.below(TrainingSet::kMaskPx)), section.height - px_);
  crop.symmetry = symmetries ? static_cast<int>(random.below(8)) : 0;
  return crop;
}

std::vector<SpotRef> spots_of(const TrainingSet& set, Split split) {
  std::vector<SpotRef> spots;
  for (std::size_t i = 0; i < set.sections().size(); ++i) {
    const TrainingSection& section = set.sections()[i];
    if (section.validation != (split == Split::kValidation)) continue;
    for (int k = 0; k < section.spots(); ++k) spots.push_back({static_cast<int>(i), k});
  }
  return spots;
}

Crop crop_around(const TrainingSet& set, const SpotRef& spot, int px, int dx, int dy, int symmetry) {
  const TrainingSection& section = set.sections()[static_cast<std::size_t>(spot.section)];
  const auto at = static_cast<std::size_t>(2 * spot.spot);
  return {spot.section, static_cast<int>(std::lround(section.spots_xy[at])) - px / 2 + dx,
          static_cast<int>(std::lround(section.spots_xy[at + 1])) - px / 2 + dy, symmetry};
}

at::Tensor read_crops(const TrainingSet& set, std::span<const Crop> crops, int px) {
  const auto n = static_cast<std::int64_t>(crops.size());
  at::Tensor rgb = at::empty({n, px, px, 3}, at::kByte);
  const auto bytes = static_cast<std::size_t>(px) * px * 3;
  for (std::size_t i = 0; i < crops.size(); ++i) {
    set.read(crops[i], px, {rgb.data_ptr<std::uint8_t>() + i * bytes, bytes});
  }
  return rgb;
}

at::Tensor to_unit_range(const at::Tensor& rgb) {
  return rgb.permute({0, 3, 1, 2}).to(at::kFloat, false, false, at::MemoryFormat::ChannelsLast).mul_(1.0f / 255.0f);
}

}  // namespace vtissue::models::training
