#include "io/box_halve.h"

#include <cstdint>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace vtissue::io {
namespace {

/// Makes out[begin, end) of a row, counted in pixels.
void halve_row(const std::uint8_t* upper, const std::uint8_t* lower, std::int64_t begin, std::int64_t end,
               std::uint8_t* out) {
  upper += begin * 6, lower += begin * 6, out += begin * 3;
  for (std::int64_t x = begin; x < end; ++x, upper += 6, lower += 6) {
    for (int c = 0; c < 3; ++c)
      *out++ = static_cast<std::uint8_t>((upper[c] + upper[c + 3] + lower[c] + lower[c + 3] + 2) >> 2);
  }
}

#if defined(__x86_64__)
/// Sums of four neighbouring pixels' pairs in 16 bits: r01 g01 b01 r23 g23 b23, and two words of no use.
__attribute__((target("ssse3"))) inline __m128i pair_sums(const std::uint8_t* pixels, __m128i pairs) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(pixels));
  return _mm_maddubs_epi16(_mm_shuffle_epi8(bytes, pairs), _mm_set1_epi8(1));
}

/// Four pixels at a time; returns how many it made. Loads and stores 16 bytes, of which it uses 12: it stops in time.
__attribute__((target("ssse3"))) std::int64_t halve_row_ssse3(const std::uint8_t* upper, const std::uint8_t* lower,
                                                              std::int64_t pixels, std::uint8_t* out) {
  const __m128i pairs = _mm_setr_epi8(0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11, -1, -1, -1, -1);
  const __m128i packed = _mm_setr_epi8(0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13, -1, -1, -1, -1);
  const __m128i two = _mm_set1_epi16(2);
  std::int64_t x = 0;
  for (; x + 6 <= pixels; x += 4, upper += 24, lower += 24) {
    const __m128i first = _mm_add_epi16(pair_sums(upper, pairs), pair_sums(lower, pairs));
    const __m128i second = _mm_add_epi16(pair_sums(upper + 12, pairs), pair_sums(lower + 12, pairs));
    const __m128i means =
        _mm_packus_epi16(_mm_srli_epi16(_mm_add_epi16(first, two), 2), _mm_srli_epi16(_mm_add_epi16(second, two), 2));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + x * 3), _mm_shuffle_epi8(means, packed));
  }
  return x;
}
#endif

}  // namespace

void halve(const PixelRows& image, RgbImage& half) {
  half.size = {image.width / 2, image.height / 2};
  half.rgb.resize(static_cast<std::size_t>(half.size.area()) * 3);
  halve_rows(image, 0, half.size.height, half);
}

void halve_rows(const PixelRows& image, std::int64_t begin, std::int64_t end, RgbImage& half) {
#if defined(__x86_64__)
  static const bool has_ssse3 = __builtin_cpu_supports("ssse3") != 0;
#endif
  const std::int64_t width = half.size.width;
  for (std::int64_t y = begin; y < end; ++y) {
    const std::uint8_t* const upper = image.at(0, 2 * y);
    const std::uint8_t* const lower = image.at(0, 2 * y + 1);
    std::uint8_t* const out = half.rgb.data() + y * width * 3;
    std::int64_t done = 0;
#if defined(__x86_64__)
    if (has_ssse3) done = halve_row_ssse3(upper, lower, width, out);
#endif
    halve_row(upper, lower, done, width, out);
  }
}

}  // namespace vtissue::io
