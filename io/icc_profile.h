#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace vtissue::io {

/// The ICC profile of a file, or of the name "srgb". Throws Error kUsage if it cannot be read or is no profile of RGB
/// pictures.
std::vector<std::byte> read_icc_profile(const std::string& file_or_name);

}  // namespace vtissue::io
