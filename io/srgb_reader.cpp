#include "io/srgb_reader.h"

#include <algorithm>
#include <utility>
#include <vips/vips8>

#include "core/error.h"
#include "io/vips_runtime.h"

namespace vtissue::io {
namespace {

class SrgbReader final : public SlideReader {
 public:
  explicit SrgbReader(std::unique_ptr<SlideReader> slide) : slide_(std::move(slide)), info_(slide_->info()) {
    // A damaged profile is found when the slide is opened, not at the first tile.
    std::vector<std::uint8_t> grey(3, 128);
    convert(grey, {1, 1});
    // What the numbers mean now needs no profile: it is what is taken for granted.
    profile_.swap(info_.icc_profile);
    info_.converted_to_srgb = true;
  }

  const SlideInfo& info() const override { return info_; }

  void read(int level, Point<Level0Px> origin, Size<LevelPx> size, std::span<std::uint8_t> out) const override {
    const Box<LevelPx> box = checked_box(level, origin, size, out.size());
    slide_->read(level, origin, size, out);
    const Size<LevelPx> whole = info_.levels[static_cast<std::size_t>(level)].size;
    const std::int64_t left = std::max<std::int64_t>(0, -box.origin.x), top = std::max<std::int64_t>(0, -box.origin.y);
    const std::int64_t right = std::min(size.width, whole.width - box.origin.x);
    const std::int64_t bottom = std::min(size.height, whole.height - box.origin.y);
    if (left >= right || top >= bottom) return;
    if (left == 0 && right == size.width) {
      convert(out.subspan(static_cast<std::size_t>(top * size.width * 3),
                          static_cast<std::size_t>((bottom - top) * size.width * 3)),
              {size.width, bottom - top});
      return;
    }
    std::vector<std::uint8_t> inside;
    for (std::int64_t y = top; y < bottom; ++y) {
      const auto row = out.begin() + (y * size.width + left) * 3;
      inside.insert(inside.end(), row, row + (right - left) * 3);
    }
    convert(inside, {right - left, bottom - top});
    for (std::int64_t y = top; y < bottom; ++y) {
      std::copy_n(inside.begin() + (y - top) * (right - left) * 3, (right - left) * 3,
                  out.begin() + (y * size.width + left) * 3);
    }
  }

  Picture thumbnail(int longest_px) const override {
    Picture picture = slide_->thumbnail(longest_px);
    convert(picture.rgb, picture.size);
    return picture;
  }

  Picture associated_image(const std::string& name) const override { return slide_->associated_image(name); }

 private:
  const std::vector<std::byte>& profile() const { return profile_.empty() ? info_.icc_profile : profile_; }

  /// Pixels [h, w, 3] in place. Each by itself: none depends on the picture it is converted in.
  void convert(std::span<std::uint8_t> rgb, Size<LevelPx> size) const {
    try {
      vips::VImage image = vips::VImage::new_from_memory(rgb.data(), rgb.size(), static_cast<int>(size.width),
                                                         static_cast<int>(size.height), 3, VIPS_FORMAT_UCHAR)
                               .copy(vips::VImage::option()->set("interpretation", VIPS_INTERPRETATION_sRGB));
      const std::vector<std::byte>& icc = profile();
      // A profile that cannot be used would be taken for sRGB's without a word.
      if (!vips_icc_is_compatible_profile(image.get_image(), icc.data(), icc.size())) {
        throw vips::VError("it is damaged, or not one of RGB pictures");
      }
      image.set(VIPS_META_ICC_NAME, nullptr, const_cast<std::byte*>(icc.data()), icc.size());
      image = image.icc_transform(
          "srgb", vips::VImage::option()->set("embedded", true)->set("intent", VIPS_INTENT_RELATIVE)->set("depth", 8));
      std::size_t bytes = 0;
      const std::unique_ptr<void, void (*)(void*)> pixels(image.write_to_memory(&bytes), g_free);
      if (bytes != rgb.size()) throw vips::VError("it gives pictures of another size");
      std::copy_n(static_cast<const std::uint8_t*>(pixels.get()), bytes, rgb.begin());
    } catch (const vips::VError& error) {
      std::string reason = error.what();
      vips_error_clear();
      while (!reason.empty() && reason.back() == '\n') reason.pop_back();
      std::ranges::replace(reason, '\n', ';');
      throw Error(ErrorCode::kBadInput, "{}: its colour profile of {} bytes cannot be used ({}); set tile.icc = ignore",
                  info_.path.string(), profile().size(), reason);
    }
  }

  std::unique_ptr<SlideReader> slide_;
  SlideInfo info_;
  std::vector<std::byte> profile_;
};

}  // namespace

std::unique_ptr<SlideReader> read_as_srgb(std::unique_ptr<SlideReader> slide) {
  if (slide->info().icc_profile.empty()) return slide;
  ensure_image_libraries();
  return std::make_unique<SrgbReader>(std::move(slide));
}

}  // namespace vtissue::io
