#pragma once

#include <filesystem>
#include <functional>

#include "io/slide_reader.h"

namespace vtissue::io {

struct DziOptions {
  int tile_px = 254;  ///< without the overlap
  int overlap_px = 1;
  int jpeg_quality = 85;  ///< 1..100; 4:2:0
  int threads = 1;
};

/// Writes a Deep Zoom picture for web pages (formats.md 6.1): NAME.dzi and its tiles in NAME_files/. Level by level a
/// pixel is the mean of the slide's pixels that it covers, read from the nearest larger level. Memory: some tiles a
/// thread. The folder gets its name once it is whole, then the descriptor is written; `stop` is asked between tiles.
/// Throws Error kUsage for a name that does not end in .dzi or options out of range, kBadInput if the slide cannot be
/// decoded, kOutput if it cannot be written, kInterrupted if stopped.
void export_dzi(const SlideReader& slide, const std::filesystem::path& dzi, const DziOptions& options,
                const std::function<bool()>& stop = {});

}  // namespace vtissue::io
