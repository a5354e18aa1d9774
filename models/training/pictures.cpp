#include "models/training/pictures.h"

#include <string>

#include "core/atomic_file.h"

namespace vtissue::models::training {

void write_picture(const std::filesystem::path& path, const at::Tensor& images, int columns) {
  constexpr std::int64_t kGap = 2;
  const std::int64_t n = images.size(0);
  const std::int64_t height = images.size(2);
  const std::int64_t width = images.size(3);
  const std::int64_t rows = (n + columns - 1) / columns;
  at::Tensor sheet = at::full({rows * (height + kGap) - kGap, columns * (width + kGap) - kGap, 3}, 255, at::kByte);
  const at::Tensor pixels = images.detach().clamp(0, 1).mul(255).round().to(at::kByte).permute({0, 2, 3, 1});
  for (std::int64_t i = 0; i < n; ++i) {
    const std::int64_t y = i / columns * (height + kGap);
    const std::int64_t x = i % columns * (width + kGap);
    sheet.narrow(0, y, height).narrow(1, x, width).copy_(pixels[i]);
  }
  std::string file = "P6\n" + std::to_string(sheet.size(1)) + " " + std::to_string(sheet.size(0)) + "\n255\n";
  file.append(reinterpret_cast<const char*>(sheet.const_data_ptr<std::uint8_t>()),
              static_cast<std::size_t>(sheet.numel()));
  write_file_atomically(path, file);
}

}  // namespace vtissue::models::training
