#pragma once

#include <cstdint>
#include <span>

namespace vtissue::stages {

/// Otsu's threshold of a histogram: the last bin of the lower class, where the variance between the classes is largest
/// (the first of equal ones). 0 for an empty histogram. Pure.
std::size_t otsu_bin(std::span<const std::int64_t> histogram);

}  // namespace vtissue::stages
