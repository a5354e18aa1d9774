#include "stages/tile/components.h"

#include <numeric>

namespace vtissue::stages {
namespace {

/// Sets that grow together; the smaller name stays.
class JoinedSets {
 public:
  std::int32_t add() {
    parent_.push_back(static_cast<std::int32_t>(parent_.size()));
    return parent_.back();
  }
  std::int32_t root(std::int32_t i) {
    while (parent_[static_cast<std::size_t>(i)] != i) {
      auto& up = parent_[static_cast<std::size_t>(i)];
      up = parent_[static_cast<std::size_t>(up)];
      i = up;
    }
    return i;
  }
  std::int32_t join(std::int32_t a, std::int32_t b) {
    a = root(a), b = root(b);
    if (a > b) std::swap(a, b);
    parent_[static_cast<std::size_t>(b)] = a;
    return a;
  }
  std::size_t size() const { return parent_.size(); }

 private:
  std::vector<std::int32_t> parent_;
};

}  // namespace

Components find_components(const BinaryImage& image, std::uint8_t value, bool diagonal) {
  const auto [width, height] = image.size;
  Components parts;
  parts.labels.assign(image.pixels.size(), -1);
  JoinedSets sets;
  for (std::int64_t y = 0; y < height; ++y) {
    const std::uint8_t* row = &image.pixels[static_cast<std::size_t>(y * width)];
    std::int32_t* labels = &parts.labels[static_cast<std::size_t>(y * width)];
    const std::int32_t* above = y > 0 ? labels - width : nullptr;
    for (std::int64_t x = 0; x < width; ++x) {
      if (row[x] != value) continue;
      std::int32_t label = x > 0 ? labels[x - 1] : -1;
      const auto meet = [&](std::int32_t other) {
        if (other < 0) return;
        label = label < 0 || label == other ? other : sets.join(label, other);
      };
      if (above != nullptr) {
        if (diagonal && x > 0) meet(above[x - 1]);
        meet(above[x]);
        if (diagonal && x + 1 < width) meet(above[x + 1]);
      }
      labels[x] = label >= 0 ? label : sets.add();
    }
  }

  std::vector<std::int32_t> part_of(sets.size(), -1);
  for (std::int64_t i = 0; i < image.size.area(); ++i) {
    std::int32_t& label = parts.labels[static_cast<std::size_t>(i)];
    if (label < 0) continue;
    std::int32_t& part = part_of[static_cast<std::size_t>(sets.root(label))];
    if (part < 0) {
      part = static_cast<std::int32_t>(parts.pixels.size());
      parts.pixels.push_back(0);
      parts.first.push_back(i);
      parts.edge.push_back(0);
    }
    label = part;
    ++parts.pixels[static_cast<std::size_t>(part)];
    const std::int64_t x = i % width;
    if (x == 0 || x == width - 1 || i < width || i >= (height - 1) * width) {
      parts.edge[static_cast<std::size_t>(part)] = 1;
    }
  }
  return parts;
}

}  // namespace vtissue::stages
