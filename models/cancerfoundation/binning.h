#pragma once

#include <span>

namespace vtissue::models {

/// Value of the <cls> slot, which is not binned.
inline constexpr float kCfClassValue = -2.0f;

/// Replaces the expression of one tile by its quantile bin, 1..bins-1, as CancerFoundation reads it (models.md 5.4,
/// golden/cancerfoundation). Edges are the bins-1 quantiles of all values or, if the smallest is not positive, of those
/// that are not zero; zeros then stay 0, and if there is nothing else, all are. Where the original draws among the
/// digits that a tied value may have, this takes the middle one, rounded up. Only the order of the values matters.
/// values, out [genes], may be the same array; bins >= 3. Throws Error kBadInput for a value that is not finite.
/// Thread-safe.
void bin_expression(std::span<const float> values, int bins, std::span<float> out);

}  // namespace vtissue::models
