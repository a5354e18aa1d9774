#include "io/jpeg_tile.h"

#include <gtest/gtest.h>

#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <stdexcept>

#include "core/error.h"
#include "tests/support/synthetic_slide.h"

namespace vtissue::io {
namespace {

using testing::noise_picture;

TEST(JpegTile, TilesLeaveTheTablesOut) {
  const RgbImage picture = noise_picture({64, 64});
  const auto tables = jpeg_tables({90});
  const auto tile = encode_jpeg_tile(picture.rgb, 64, 64, {90});
  const auto file = encode_jpeg_file(picture.rgb, 64, 64, 90);
  for (const auto* stream : {&tables, &tile, &file}) {
    ASSERT_GT(stream->size(), 4u);
    EXPECT_EQ((*stream)[0], std::byte{0xff});
    EXPECT_EQ((*stream)[1], std::byte{0xd8});
    EXPECT_EQ((*stream)[stream->size() - 1], std::byte{0xd9});
  }
  constexpr std::size_t kJfifBytes = 18;
  EXPECT_EQ(tile.size() + tables.size() - 4 + kJfifBytes, file.size());  // one SOI and EOI less
}

TEST(JpegTile, RefusesWhatDoesNotFit) {
  const RgbImage picture = noise_picture({64, 64});
  EXPECT_THROW(encode_jpeg_tile(picture.rgb, 64, 63, {90}), std::invalid_argument);
  EXPECT_THROW(encode_jpeg_tile(picture.rgb, 64, 64, {0}), std::invalid_argument);
  EXPECT_THROW(encode_jpeg_tile(picture.rgb, 64, 64, {90, ChromaSampling::k420, JpegColour::kRgb}),
               std::invalid_argument);
  const std::vector<std::uint8_t> wide(70000 * 3);
  try {
    encode_jpeg_tile(wide, 70000, 1, {90});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kOutput);
  }
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
/// Encodes noise with too little memory for the stream, so that the error comes after it has grown several times.
[[noreturn]] void encode_short_of_memory(const RgbImage& picture) {
  ::mallopt(M_MMAP_THRESHOLD, 1 << 16);  // large blocks come from the system, not from what was freed before
  ::malloc_trim(0);
  std::ifstream statm("/proc/self/statm");
  rlim_t pages = 0;
  statm >> pages;
  const rlim_t limit = pages * static_cast<rlim_t>(::sysconf(_SC_PAGESIZE)) + (rlim_t{6} << 20);
  const rlimit memory{limit, limit};
  ::setrlimit(RLIMIT_AS, &memory);
  int status = 1;
  try {
    encode_jpeg_file(picture.rgb, static_cast<int>(picture.size.width), static_cast<int>(picture.size.height), 100);
  } catch (const Error& error) {
    status = error.code() == ErrorCode::kOutput ? 0 : 2;
  }
  std::_Exit(status);
}
#endif

TEST(JpegTileDeath, LackOfMemoryIsAnErrorAndFreesNothingTwice) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "the sanitizer's own memory is more than the limit";
#else
  // In a process of its own: what earlier tests freed would serve as memory beyond the limit.
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const RgbImage picture = noise_picture({2500, 2500});  // some 18 MB as JPEG of quality 100
  EXPECT_EXIT(encode_short_of_memory(picture), ::testing::ExitedWithCode(0), "^$");
#endif
}

}  // namespace
}  // namespace vtissue::io
