#include "stages/tile/otsu.h"

#include <cstddef>

namespace vtissue::stages {

std::size_t otsu_bin(std::span<const std::int64_t> histogram) {
  double total = 0, moment = 0;
  for (std::size_t bin = 0; bin < histogram.size(); ++bin) {
    total += static_cast<double>(histogram[bin]);
    moment += static_cast<double>(histogram[bin]) * static_cast<double>(bin);
  }
  double below = 0, moment_below = 0, best = -1;
  std::size_t threshold = 0;
  for (std::size_t bin = 0; bin < histogram.size(); ++bin) {
    below += static_cast<double>(histogram[bin]);
    moment_below += static_cast<double>(histogram[bin]) * static_cast<double>(bin);
    const double above = total - below;
    if (below == 0) continue;
    if (above == 0) break;
    const double distance = moment_below / below - (moment - moment_below) / above;
    const double between = below * above * distance * distance;
    if (between > best) {
      best = between;
      threshold = bin;
    }
  }
  return threshold;
}

}  // namespace vtissue::stages
