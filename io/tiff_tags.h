#pragma once

#include <cstdint>

namespace vtissue::io {

/// TIFF's tags and values that the pyramids are made of (formats.md 2.3).
enum TiffTag : std::uint16_t {
  kTagNewSubfileType = 254,
  kTagImageWidth = 256,
  kTagImageLength = 257,
  kTagBitsPerSample = 258,
  kTagCompression = 259,
  kTagPhotometric = 262,
  kTagImageDescription = 270,
  kTagStripOffsets = 273,
  kTagOrientation = 274,
  kTagSamplesPerPixel = 277,
  kTagRowsPerStrip = 278,
  kTagStripByteCounts = 279,
  kTagXResolution = 282,
  kTagYResolution = 283,
  kTagPlanarConfiguration = 284,
  kTagResolutionUnit = 296,
  kTagSoftware = 305,
  kTagPredictor = 317,
  kTagTileWidth = 322,
  kTagTileLength = 323,
  kTagTileOffsets = 324,
  kTagTileByteCounts = 325,
  kTagSubIfds = 330,
  kTagJpegTables = 347,
  kTagYCbCrSubsampling = 530,
  kTagReferenceBlackWhite = 532,
  kTagXmp = 700,
  kTagIccProfile = 34675,
};

inline constexpr std::uint16_t kTiffLzw = 5, kTiffJpeg = 7, kTiffDeflate = 8, kTiffZstd = 50000;
/// Aperio's: JPEG 2000 codestreams whose components are YCbCr or RGB.
inline constexpr std::uint16_t kTiffJpeg2000YCbCr = 33003, kTiffJpeg2000Rgb = 33005;

}  // namespace vtissue::io
