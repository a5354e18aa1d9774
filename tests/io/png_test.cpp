#include "io/png.h"

#include <gtest/gtest.h>

#include <stdexcept>

#include "core/error.h"
#include "io/slide_reader.h"
#include "tests/support/synthetic_slide.h"
#include "tests/support/temp_folder.h"

namespace vtissue::io {
namespace {

using testing::noise_picture;
using testing::TempFolder;

TEST(Png, IsLosslessAndTheSameEachTime) {
  const TempFolder folder;
  const RgbImage picture = noise_picture({70, 50});
  write_picture(folder / "a.png", picture);
  EXPECT_EQ(SlideReader::open(folder / "a.png")->thumbnail(70).rgb, picture.rgb);
  EXPECT_EQ(encode_png(picture), encode_png(picture));
}

TEST(Png, RefusesOtherEndingsAndSizes) {
  const TempFolder folder;
  try {
    write_picture(folder / "a.bmp", noise_picture({7, 5}));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUsage);
  }
  EXPECT_THROW(encode_png(std::vector<std::uint8_t>(5), 2, 2, 1), std::invalid_argument);
  EXPECT_THROW(encode_png(std::vector<std::uint8_t>(8), 2, 2, 2), std::invalid_argument);
  try {
    write_picture(folder / "missing/a.jpg", noise_picture({7, 5}));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kOutput);
  }
}

}  // namespace
}  // namespace vtissue::io
