#pragma once

#include <cstdint>
#include <filesystem>

namespace vtissue::testing {

/// Writes a slide of `side` x `side` pixels at `mpp` µm/px, nearly all of it glass, with so many squares of
/// kTissueBlockPx px of tissue-like texture, spread evenly as solid bands. Memory does not depend on the side.
inline constexpr std::int64_t kTissueBlockPx = 2048;
void write_large_slide(const std::filesystem::path& path, std::int64_t side, int tissue_blocks, double mpp);

}  // namespace vtissue::testing
