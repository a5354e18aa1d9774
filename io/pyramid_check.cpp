#include "io/pyramid_check.h"

#include <tiffio.h>

#include <memory>
#include <vector>

#include "core/error.h"
#include "io/tiff_tags.h"
#include "io/vips_runtime.h"

namespace vtissue::io {
namespace {

class PyramidCheck {
 public:
  PyramidCheck(const std::filesystem::path& path, const PyramidOptions& options)
      : path_(path),
        options_(options),
        layout_(layout_of(options)),
        file_bytes_(std::filesystem::file_size(path)),
        tiff_(TIFFOpen(path.c_str(), "rm"), TIFFClose) {
    require(tiff_ != nullptr, "cannot be opened");
  }

  void run() {
    check_level(0);
    std::vector<std::uint64_t> smaller;
    if (options_.profile == PyramidProfile::kOme && layout_.levels.size() > 1) {
      std::uint16_t count = 0;
      std::uint64_t* offsets = nullptr;
      require(TIFFGetField(tiff_.get(), TIFFTAG_SUBIFD, &count, &offsets) == 1, "has no SubIFDs");
      smaller.assign(offsets, offsets + count);
      require(smaller.size() + 1 == layout_.levels.size(), "has another number of levels");
    }
    const int skipped = options_.profile == PyramidProfile::kSvs ? 1 : 0;  // the thumbnail
    for (std::size_t level = 1; level < layout_.levels.size(); ++level) {
      const bool found = smaller.empty() ? TIFFSetDirectory(tiff_.get(), static_cast<tdir_t>(level) + skipped) == 1
                                         : TIFFSetSubDirectory(tiff_.get(), smaller[level - 1]) == 1;
      require(found, "has another number of levels");
      check_level(level);
    }
  }

 private:
  void require(bool condition, const char* otherwise) const {
    if (!condition) {
      throw Error(ErrorCode::kOutput, "{}: written, but read back it {}; check the disk and run the command again",
                  path_.string(), otherwise);
    }
  }

  void check_level(std::size_t level) {
    TIFF* const tiff = tiff_.get();
    std::uint32_t width = 0, height = 0;
    require(
        TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, &width) == 1 && TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &height) == 1,
        "has a level without a size");
    require(Size<LevelPx>{width, height} == layout_.levels[level], "has a level of another size");
    require(TIFFIsTiled(tiff) != 0, "has a level that is not tiled");
    const std::uint32_t tiles = TIFFNumberOfTiles(tiff);
    for (std::uint32_t tile = 0; tile < tiles; ++tile) {
      const std::uint64_t offset = TIFFGetStrileOffset(tiff, tile), bytes = TIFFGetStrileByteCount(tiff, tile);
      require(bytes > 0 && offset <= file_bytes_ && bytes <= file_bytes_ - offset, "has tiles outside the file");
    }
    const auto across =
        (width + static_cast<std::uint32_t>(options_.tile_px) - 1) / static_cast<std::uint32_t>(options_.tile_px);
    for (const std::uint32_t tile : {0u, across - 1, tiles - across, tiles - 1}) decode(tile);
  }

  void decode(std::uint32_t tile) {
    TIFF* const tiff = tiff_.get();
    if (options_.codec == PyramidCodec::kJpeg2000) {  // not libtiff's: the codestream's ends
      std::vector<unsigned char> data(TIFFGetStrileByteCount(tiff, tile));
      const bool is_whole = TIFFReadRawTile(tiff, tile, data.data(), static_cast<tmsize_t>(data.size())) ==
                                static_cast<tmsize_t>(data.size()) &&
                            data.size() > 4 && data[0] == 0xff && data[1] == 0x4f && data[data.size() - 2] == 0xff &&
                            data.back() == 0xd9;
      require(is_whole, "has a tile that cannot be decoded");
      return;
    }
    if (options_.codec == PyramidCodec::kJpeg) TIFFSetField(tiff, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
    pixels_.resize(static_cast<std::size_t>(TIFFTileSize(tiff)));
    const auto bytes = static_cast<tmsize_t>(pixels_.size());
    require(TIFFReadEncodedTile(tiff, tile, pixels_.data(), bytes) == bytes, "has a tile that cannot be decoded");
  }

  const std::filesystem::path& path_;
  const PyramidOptions& options_;
  PyramidLayout layout_;
  std::uint64_t file_bytes_;
  std::unique_ptr<TIFF, void (*)(TIFF*)> tiff_;
  std::vector<std::uint8_t> pixels_;
};

}  // namespace

void check_pyramid(const std::filesystem::path& path, const PyramidOptions& options) {
  ensure_image_libraries();
  PyramidCheck(path, options).run();
}

}  // namespace vtissue::io
