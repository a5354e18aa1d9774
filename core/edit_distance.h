#pragma once

#include <cstddef>
#include <string_view>

namespace vtissue {

/// Levenshtein distance in bytes: how far a misspelt name is from a known one. Pure.
std::size_t edit_distance(std::string_view a, std::string_view b);

}  // namespace vtissue
