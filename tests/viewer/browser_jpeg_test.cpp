#include "viewer/browser_jpeg.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "io/jpeg_decoder.h"
#include "io/jpeg_tile.h"
#include "tests/support/synthetic_slide.h"

namespace vtissue::viewer {
namespace {

constexpr int kSide = 128;

struct Encoded {
  std::vector<std::byte> tables, stream;
};

Encoded encoded_tile() {
  const io::RgbImage picture = testing::tissue_picture({kSide, kSide}, 0.5);
  const io::JpegSettings settings{90, io::ChromaSampling::k420};
  return {io::jpeg_tables(settings), io::encode_jpeg_tile(picture.rgb, kSide, kSide, settings)};
}

std::vector<std::uint8_t> decoded(std::span<const std::byte> tables, std::span<const std::byte> stream, bool ycbcr) {
  std::vector<std::uint8_t> rgb(kSide * kSide * 3);
  io::JpegDecoder decoder;
  std::string message;
  EXPECT_EQ(decoder.decode(tables, stream, ycbcr, kSide, kSide, rgb.data(), kSide * 3, message),
            io::TileState::kDecoded)
      << message;
  return rgb;
}

TEST(BrowserJpeg, IsAWholeFileOfTheSamePixels) {
  const Encoded tile = encoded_tile();
  const auto file = browser_jpeg(tile.tables, tile.stream, true, kSide, kSide);
  ASSERT_TRUE(file);
  EXPECT_EQ(decoded({}, std::as_bytes(std::span(*file)), true), decoded(tile.tables, tile.stream, true));
}

TEST(BrowserJpeg, SaysWhatTheComponentsAre) {
  const Encoded tile = encoded_tile();
  for (const bool is_ycbcr : {true, false}) {
    const auto file = browser_jpeg(tile.tables, tile.stream, is_ycbcr, kSide, kSide);
    ASSERT_TRUE(file);
    EXPECT_EQ(file->substr(2, 9), std::string("\xFF\xEE\0\x0E"
                                              "Adobe",
                                              9));
    EXPECT_EQ(file->at(17), is_ycbcr ? 1 : 0);
    EXPECT_EQ(file->find("JFIF"), std::string::npos) << "JFIF would say YCbCr";
  }
}

TEST(BrowserJpeg, RefusesWhatIsNotWholeOrOfAnotherSize) {
  const Encoded tile = encoded_tile();
  EXPECT_FALSE(browser_jpeg(tile.tables, tile.stream, true, kSide, kSide * 2));
  EXPECT_FALSE(browser_jpeg(tile.tables, {}, true, kSide, kSide));
  const std::span<const std::byte> cut = std::span(tile.stream).first(tile.stream.size() / 2);
  EXPECT_FALSE(browser_jpeg(tile.tables, cut, true, kSide, kSide));
  EXPECT_FALSE(browser_jpeg(cut, tile.stream, true, kSide, kSide));
}

TEST(BrowserJpeg, PaddingAfterTheEndIsLeftOut) {
  Encoded tile = encoded_tile();
  const auto file = browser_jpeg(tile.tables, tile.stream, true, kSide, kSide);
  tile.stream.resize(tile.stream.size() + 5);
  EXPECT_EQ(browser_jpeg(tile.tables, tile.stream, true, kSide, kSide), file);
}

TEST(BrowserJpeg, DamagedBytesAreNeverFollowedOutOfTheStream) {
  const Encoded tile = encoded_tile();
  std::mt19937 random(5);
  for (int round = 0; round < 2000; ++round) {
    std::vector<std::byte> tables = tile.tables, stream = tile.stream;
    for (int i = 0; i < 4; ++i) {
      stream[random() % 200] = static_cast<std::byte>(random());
      tables[random() % tables.size()] = static_cast<std::byte>(random());
    }
    stream.resize(1 + random() % stream.size());
    stream.shrink_to_fit();
    browser_jpeg(tables, stream, true, kSide, kSide);
  }
}

}  // namespace
}  // namespace vtissue::viewer
