#include "stages/tile/mask_picture.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "io/slide_reader.h"

namespace vtissue::stages {
namespace {

constexpr std::int64_t kStripRows = 256;
constexpr std::uint8_t kSoftHalf = 128;
constexpr double kAspectShare = 0.01;  // of a side, or a pixel and a half

bool agrees(double side, double expected) {
  return std::abs(side - expected) <= std::max(1.5, kAspectShare * expected);
}

void check_aspect(const std::filesystem::path& path, Size<LevelPx> picture, Size<Level0Px> slide) {
  const auto width = static_cast<double>(picture.width), height = static_cast<double>(picture.height);
  const double aspect = static_cast<double>(slide.width) / static_cast<double>(slide.height);
  if (agrees(width, height * aspect) || agrees(height, width / aspect)) return;
  const bool turned = agrees(height, width * aspect) || agrees(width, height / aspect);
  throw Error(
      ErrorCode::kBadInput,
      "{}: a mask of {} x {} px does not show the whole slide of {} x {}: at its height it would be {:.0f} px wide; {}",
      path.string(), picture.width, picture.height, slide.width, slide.height, height * aspect,
      turned ? "it fits when turned by 90 degrees" : "export it for the whole slide, at any scale");
}

/// How much of each mask pixel's cover is set, by both meanings of a value.
struct Cover {
  std::vector<float> any, upper_half, all;
};

}  // namespace

BinaryImage read_mask_picture(const std::filesystem::path& path, Size<Level0Px> slide, Size<LevelPx> mask_size,
                              double downsample) {
  const auto reader = io::SlideReader::open(path);
  const io::SlideInfo& info = reader->info();
  check_aspect(path, info.levels.front().size, slide);
  // The smallest level that is not coarser than the mask.
  int level = 0;
  for (std::size_t i = 0; i < info.levels.size(); ++i) {
    if (info.levels[i].size.width >= mask_size.width) level = static_cast<int>(i);
  }
  const io::SlideLevel& chosen = info.levels[static_cast<std::size_t>(level)];
  const Size<LevelPx> size = chosen.size;
  // Picture pixels per mask pixel; the mask may leave out a part of a pixel at the right and lower edge.
  const double across = downsample * static_cast<double>(size.width) / static_cast<double>(slide.width);
  const double down = downsample * static_cast<double>(size.height) / static_cast<double>(slide.height);

  BinaryImage mask{mask_size, std::vector<std::uint8_t>(static_cast<std::size_t>(mask_size.area()))};
  Cover cover;
  for (auto* values : {&cover.any, &cover.upper_half, &cover.all}) values->assign(mask.pixels.size(), 0);
  bool soft = false, set = false;
  std::vector<std::uint8_t> rgb;
  const auto add = [&](std::int64_t column, std::int64_t row, std::uint8_t value) {
    if (column >= mask_size.width || row >= mask_size.height) return;
    const auto i = static_cast<std::size_t>(row * mask_size.width + column);
    cover.all[i] += 1;
    cover.any[i] += value > 0;
    cover.upper_half[i] += value >= kSoftHalf;
  };
  const bool coarse = across < 1 || down < 1;
  std::vector<std::uint8_t> whole(coarse ? static_cast<std::size_t>(size.area()) : 0);
  for (std::int64_t top = 0; top < size.height; top += kStripRows) {
    const std::int64_t rows = std::min(kStripRows, size.height - top);
    rgb.resize(static_cast<std::size_t>(rows * size.width * 3));
    reader->read(level, io::level_origin(chosen, {0, top}), {size.width, rows}, rgb);
    for (std::int64_t y = 0; y < rows; ++y) {
      for (std::int64_t x = 0; x < size.width; ++x) {
        const std::uint8_t* p = &rgb[static_cast<std::size_t>((y * size.width + x) * 3)];
        const std::uint8_t value = std::max({p[0], p[1], p[2]});
        set = set || value > 0;
        soft = soft || value >= kSoftHalf;
        if (coarse) {
          whole[static_cast<std::size_t>((top + y) * size.width + x)] = value;
        } else {
          add(static_cast<std::int64_t>((static_cast<double>(x) + 0.5) / across),
              static_cast<std::int64_t>((static_cast<double>(top + y) + 0.5) / down), value);
        }
      }
    }
  }
  if (!set) throw Error(ErrorCode::kBadInput, "{}: the mask is black throughout: it has no tissue", path.string());
  if (coarse) {
    for (std::int64_t row = 0; row < mask_size.height; ++row) {
      for (std::int64_t column = 0; column < mask_size.width; ++column) {
        const auto x = static_cast<std::int64_t>((static_cast<double>(column) + 0.5) * across);
        const auto y = static_cast<std::int64_t>((static_cast<double>(row) + 0.5) * down);
        add(column, row,
            whole[static_cast<std::size_t>(std::min(y, size.height - 1) * size.width + std::min(x, size.width - 1))]);
      }
    }
  }
  const std::vector<float>& hits = soft ? cover.upper_half : cover.any;
  for (std::size_t i = 0; i < mask.pixels.size(); ++i) mask.pixels[i] = hits[i] > 0 && 2 * hits[i] >= cover.all[i];
  return mask;
}

}  // namespace vtissue::stages
