#include "io/pyramid_directories.h"

#include <array>
#include <cmath>

#include "io/pyramid_metadata.h"
#include "io/tiff_tags.h"
#include "io/tile_encoder.h"

namespace vtissue::io {
namespace {

constexpr std::uint16_t kPhotometricRgb = 2, kPhotometricYCbCr = 6;
constexpr std::uint16_t kPredictorHorizontal = 2;
constexpr std::uint16_t kUnitCentimetre = 3;
constexpr std::uint32_t kWhole = 0, kReduced = 1, kAperioLabel = 1, kAperioMacro = 9;

std::uint16_t compression_of(PyramidCodec codec) {
  switch (codec) {
    case PyramidCodec::kJpeg:
      return kTiffJpeg;
    case PyramidCodec::kJpeg2000:
      return kTiffJpeg2000Rgb;
    case PyramidCodec::kLzw:
      return kTiffLzw;
    case PyramidCodec::kDeflate:
      return kTiffDeflate;
    case PyramidCodec::kZstd:
      break;
  }
  return kTiffZstd;
}

class Directories {
 public:
  Directories(const PyramidOptions& options, const std::vector<LevelTiles>& tiles, BigTiffWriter& file)
      : options_(options), layout_(layout_of(options)), tiles_(tiles), file_(file) {}

  /// Readers of this profile take the second directory for the thumbnail, whatever it is.
  std::vector<TiffDirectory> svs(const PyramidPictures& pictures) {
    const std::string description = pyramid_description(options_);
    std::vector<TiffDirectory> chain;
    for (std::size_t i = 0; i < layout_.levels.size(); ++i) {
      chain.push_back(level(i, kWhole));
      chain.back().set_ascii(kTagImageDescription, description);
      if (i == 0) chain.push_back(picture(pictures.thumbnail, options_.codec, kWhole, description));
    }
    if (!pictures.label.size.empty()) {  // text stays sharp
      chain.push_back(picture(pictures.label, PyramidCodec::kDeflate, kAperioLabel,
                              associated_description("label", pictures.label.size)));
    }
    if (!pictures.macro.size.empty()) {
      chain.push_back(
          picture(pictures.macro, options_.codec, kAperioMacro, associated_description("macro", pictures.macro.size)));
    }
    return chain;
  }

  /// Readers of this profile know no other pictures: OpenSlide passes over them, others show them as pages.
  std::vector<TiffDirectory> generic() {
    std::vector<TiffDirectory> chain;
    for (std::size_t i = 0; i < layout_.levels.size(); ++i) chain.push_back(level(i, i == 0 ? kWhole : kReduced));
    chain.front().set_ascii(kTagImageDescription, generic_description(options_));
    return chain;
  }

  std::vector<TiffDirectory> ome(const PyramidPictures& pictures) {
    std::vector<std::uint64_t> smaller;
    for (std::size_t i = 1; i < layout_.levels.size(); ++i)
      smaller.push_back(file_.append_directory(level(i, kReduced)));
    std::vector<TiffDirectory> chain{level(0, kWhole)};
    if (!smaller.empty()) chain.front().set_ifd8(kTagSubIfds, smaller);
    std::vector<OmePicture> described;
    // By the names that Bio-Formats' readers give such pictures.
    for (const auto& [name, image, codec] : {std::tuple{"label image", &pictures.label, PyramidCodec::kDeflate},
                                             std::tuple{"macro image", &pictures.macro, options_.codec}}) {
      if (image->size.empty()) continue;
      described.push_back({name, image->size});
      chain.push_back(picture(*image, codec, kWhole, ""));
    }
    chain.front().set_ascii(kTagImageDescription, ome_xml(options_, described));
    return chain;
  }

 private:
  bool in_ycbcr(PyramidCodec codec) const {
    return codec == PyramidCodec::kJpeg && jpeg_settings_of(options_).colour == JpegColour::kYCbCr;
  }

  /// Fields that levels and other pictures share.
  TiffDirectory common(std::int64_t width, std::int64_t height, PyramidCodec codec) const {
    TiffDirectory directory;
    directory.set_long(kTagImageWidth, static_cast<std::uint32_t>(width));
    directory.set_long(kTagImageLength, static_cast<std::uint32_t>(height));
    directory.set_short(kTagBitsPerSample, std::array<std::uint16_t, 3>{8, 8, 8});
    directory.set_short(kTagCompression, compression_of(codec));
    directory.set_short(kTagPhotometric, in_ycbcr(codec) ? kPhotometricYCbCr : kPhotometricRgb);
    directory.set_short(kTagOrientation, 1);
    directory.set_short(kTagSamplesPerPixel, 3);
    directory.set_short(kTagPlanarConfiguration, 1);
    directory.set_ascii(kTagSoftware, options_.software);
    if (codec == PyramidCodec::kJpeg) {
      directory.set_bytes(kTagJpegTables, TiffDirectory::Type::kUndefined, jpeg_tables(jpeg_settings_of(options_)));
    }
    if (in_ycbcr(codec)) {
      const std::uint16_t factor = options_.sampling == ChromaSampling::k420 ? 2 : 1;
      directory.set_short(kTagYCbCrSubsampling, std::array<std::uint16_t, 2>{factor, factor});
      directory.set_rational(kTagReferenceBlackWhite,
                             std::array<std::uint32_t, 12>{0, 1, 255, 1, 128, 1, 255, 1, 128, 1, 255, 1});
    }
    if (is_lossless(codec)) {
      directory.set_short(kTagPredictor, kPredictorHorizontal);
    }
    if (!options_.icc_profile.empty())
      directory.set_bytes(kTagIccProfile, TiffDirectory::Type::kUndefined, options_.icc_profile);
    return directory;
  }

  TiffDirectory level(std::size_t index, std::uint32_t subfile_type) const {
    const Size<LevelPx> size = layout_.levels[index];
    TiffDirectory directory = common(size.width, size.height, options_.codec);
    const double pixels_per_cm = 10000 / (options_.mpp * std::ldexp(1.0, static_cast<int>(index)));
    const std::array<std::uint32_t, 2> resolution{static_cast<std::uint32_t>(std::lround(pixels_per_cm * 1000)), 1000};
    directory.set_long(kTagNewSubfileType, subfile_type);
    directory.set_rational(kTagXResolution, resolution);
    directory.set_rational(kTagYResolution, resolution);
    directory.set_short(kTagResolutionUnit, kUnitCentimetre);
    directory.set_long(kTagTileWidth, static_cast<std::uint32_t>(options_.tile_px));
    directory.set_long(kTagTileLength, static_cast<std::uint32_t>(options_.tile_px));
    directory.set_long8(kTagTileOffsets, tiles_[index].offsets);
    directory.set_long8(kTagTileByteCounts, tiles_[index].byte_counts);
    if (index == 0 && !options_.provenance_json.empty()) {
      const std::string packet = provenance_packet(options_.provenance_json);
      directory.set_bytes(kTagXmp, TiffDirectory::Type::kByte, std::as_bytes(std::span(packet)));
    }
    return directory;
  }

  /// An image of one strip: OpenSlide takes what is not tiled for an associated image. No JPEG 2000, which readers
  /// expect in tiles alone.
  TiffDirectory picture(const RgbImage& image, PyramidCodec codec, std::uint32_t subfile_type,
                        const std::string& description) {
    if (codec == PyramidCodec::kJpeg2000) codec = PyramidCodec::kJpeg;
    TiffDirectory directory = common(image.size.width, image.size.height, codec);
    TileEncoder encoder(codec, options_);
    const BigTiffWriter::Extent extent =
        file_.append(encoder.encode({image.rgb.data(), image.size.width, image.size.height, image.size.width * 3}));
    directory.set_long(kTagNewSubfileType, subfile_type);
    if (!description.empty()) directory.set_ascii(kTagImageDescription, description);
    directory.set_long(kTagRowsPerStrip, static_cast<std::uint32_t>(image.size.height));
    directory.set_long8(kTagStripOffsets, std::array{extent.offset});
    directory.set_long8(kTagStripByteCounts, std::array{extent.bytes});
    return directory;
  }

  const PyramidOptions& options_;
  PyramidLayout layout_;
  const std::vector<LevelTiles>& tiles_;
  BigTiffWriter& file_;
};

}  // namespace

std::vector<TiffDirectory> pyramid_directories(const PyramidOptions& options, const std::vector<LevelTiles>& tiles,
                                               const PyramidPictures& pictures, BigTiffWriter& file) {
  Directories directories(options, tiles, file);
  switch (options.profile) {
    case PyramidProfile::kSvs:
      return directories.svs(pictures);
    case PyramidProfile::kGeneric:
      return directories.generic();
    case PyramidProfile::kOme:
      break;
  }
  return directories.ome(pictures);
}

}  // namespace vtissue::io
