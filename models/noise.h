#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "core/units.h"

namespace vtissue::models {

/// Philox4x32-10 (Random123). Pure.
std::array<std::uint32_t, 4> philox4x32_10(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key);

/// Philox4x32 with another number of rounds.
std::array<std::uint32_t, 4> philox4x32(int rounds, std::array<std::uint32_t, 4> counter,
                                        std::array<std::uint32_t, 2> key);

/// Four standard normals from four words, by Box-Muller in double; every word gives finite ones.
std::array<double, 4> normals_of_words(const std::array<std::uint32_t, 4>& words);

/// Standard normal noise of a box of the slide's latent canvas: out [channels, h, w]. A value depends on
/// (seed, latent column, latent row, channel, draw) and on nothing else: counter {X, Y, draw,
/// channel/4}, key = the seed's low and high half, Box-Muller in double (formats.md 8.3,
/// golden/philox). Thread-safe.
void latent_noise(std::uint64_t seed, std::uint32_t draw, Box<Latent> box, int channels, std::span<float> out);

}  // namespace vtissue::models
