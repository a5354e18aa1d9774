#pragma once

#include <span>
#include <vector>

namespace vtissue::models {

/// Value of the <cls> slot, which is not binned.
inline constexpr float kCfClassValue = -2.0f;

/// What a value's digit may be (models.md 5.4, golden/cancerfoundation). `left` is the number of edges not above the
/// value, `right` of those below it: without ties the digit is left, with them any of right+1..left.
struct BinRanges {
  std::vector<double> edges;  ///< bins - 1 quantiles; none if there is nothing to bin
  std::vector<int> left;      ///< [genes]; 0 for what is not binned
  std::vector<int> right;     ///< [genes]
};

/// Edges are the quantiles of all values or, if the smallest is not positive, of those that are not zero; zeros then
/// are not binned. Throws Error kBadInput for a value that is not finite, kUsage unless bins >= 3. Thread-safe.
BinRanges bin_ranges(std::span<const float> values, int bins);

/// Replaces the expression of one tile by its quantile bin, 1..bins-1 (0 for what is not binned), as CancerFoundation
/// reads it. Where the original draws among the digits that a tied value may have, this takes the middle one, rounded
/// up. Only the order of the values matters. values, out [genes], may be the same array. Throws as bin_ranges().
/// Thread-safe.
void bin_expression(std::span<const float> values, int bins, std::span<float> out);

/// The same as the original does it, with the uniform numbers [genes] in [0, 1) that it draws for every value.
void bin_expression(std::span<const float> values, int bins, std::span<const double> uniforms, std::span<float> out);

}  // namespace vtissue::models
