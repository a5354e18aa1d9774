#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/units.h"

namespace vtissue::io {

/// µm per pixel of level 0, and where the number comes from (formats.md 1.4); part of provenance.
struct Mpp {
  double x = 0;
  double y = 0;
  std::string
      source;  ///< "--mpp", "openslide.mpp-x", "ome.PhysicalSizeX", "aperio.MPP", "tiff.XResolution", "objective-power"
};

struct SlideLevel {
  Size<LevelPx> size;
  /// Level-0 pixels per pixel of this level. Whole where the sizes allow it: 3001 px halved to 1500 is
  /// a downsample of 2, not the 2.0007 that the sizes' quotient suggests.
  double downsample = 1;
};

/// Where a level's pixel begins on level 0: the origins that SlideReader::read() takes.
Point<Level0Px> level_origin(const SlideLevel& level, Point<LevelPx> pixel);

struct SlideInfo {
  std::string format;              ///< OpenSlide's vendor, "ome-tiff", or "image" for a plain picture
  std::vector<SlideLevel> levels;  ///< [0] is the largest
  std::optional<Mpp> mpp;          ///< absent: nothing trustworthy in the file
  double pixel_aspect = 1;         ///< height by width of the file's pixels where they are not square; see open()
  std::optional<double> objective_power;
  std::optional<Box<Level0Px>> bounds;  ///< non-empty area of sparse formats
  std::vector<std::string> associated;  ///< pictures besides the slide: "label", "macro", "thumbnail"
  std::vector<std::byte>
      icc_profile;                 ///< what the numbers mean, if a TIFF, PNG or JPEG says; see SlideOptions::to_srgb
  bool converted_to_srgb = false;  ///< pixels are converted by the profile the file has; icc_profile is empty then
  std::filesystem::path path;      ///< as given to open(); for messages
};

struct SlideOptions {
  std::optional<double> mpp;  ///< µm/px of level 0, overrides the file (--mpp)
  /// Height by width of the file's pixels, 0.5..2; nothing: as the file's µm/px say, square with `mpp`.
  std::optional<double> pixel_aspect;
  bool to_srgb = false;  ///< convert pixels by the slide's ICC profile, if it has one
};

/// A whole-slide image, read-only. Thread-safe. RGB8, row-major [h, w, 3], composed over white;
/// outside the slide is white.
class SlideReader {
 public:
  /// OME-TIFF of RGB with SubIFDs, OpenSlide's formats, else plain TIFF, PNG and JPEG through libvips. Tiles of
  /// Aperio's files and of tiled TIFFs are decoded straight to RGB; what is unusual in them goes through OpenSlide.
  /// A slide whose pixels are not square by more than 1 % is read as if they were: rows are resampled, so that its
  /// level-0 row y is the file's row y / info().pixel_aspect (io/square_pixels.h); --mpp says that they are square.
  /// Throws Error kBadInput: missing, not a slide, damaged, truncated; kUsage: options.mpp out of range.
  static std::unique_ptr<SlideReader> open(const std::filesystem::path& path, const SlideOptions& options = {});
  virtual ~SlideReader() = default;

  virtual const SlideInfo& info() const = 0;

  /// Reads a box of `level`: origin in level-0 pixels (a multiple of the level's downsample, see
  /// level_origin()), size in pixels of the level; out has height*width*3 bytes. A pixel does not
  /// depend on the box it is read with. Throws Error kBadInput if the file cannot be decoded there; the
  /// reader stays usable for other boxes. Throws std::invalid_argument for a level that is not there,
  /// an origin between the level's pixels or a wrong size of `out`.
  virtual void read(int level, Point<Level0Px> origin, Size<LevelPx> size, std::span<std::uint8_t> out) const = 0;

  /// The whole slide shrunk so that no side exceeds `longest_px`: [h, w, 3] and its size.
  struct Picture {
    Size<LevelPx> size;
    std::vector<std::uint8_t> rgb;
    double downsample = 1;  ///< level-0 pixels per pixel
  };
  virtual Picture thumbnail(int longest_px) const = 0;

  /// One of info().associated, composed over white. It may show the name of a patient: nothing of it goes into what is
  /// published. Throws std::invalid_argument for another name, Error kBadInput if it cannot be decoded.
  virtual Picture associated_image(const std::string& name) const;

 protected:
  /// Checks read()'s arguments and gives the box in pixels of the level.
  Box<LevelPx> checked_box(int level, Point<Level0Px> origin, Size<LevelPx> size, std::size_t out_bytes) const;
  /// The whole number that the sizes agree with, if one does; else `reported`: scanners shrink by whole factors and cut
  /// or keep the last, incomplete pixel.
  static double downsample_of(Size<LevelPx> level0, Size<LevelPx> level, double reported);
  /// thumbnail() by area resampling of the nearest larger level.
  Picture area_thumbnail(int longest_px) const;
};

}  // namespace vtissue::io
