#pragma once

#include <span>
#include <vector>

namespace vtissue::models {

/// Local regression of y on x, of second degree with tricube weights, at every x: Cleveland's loess with its default
/// interpolation. The fit is made at the vertices of a tree over x, and between two of them follows the cubic that has
/// their values and slopes. `span` is the share of the points that a neighbourhood holds, 0..1. Throws Error kBadInput
/// if the arrays differ in length, hold what is not finite, or there are fewer than 4 points in a neighbourhood.
std::vector<double> loess(std::span<const double> x, std::span<const double> y, double span);

}  // namespace vtissue::models
