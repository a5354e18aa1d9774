#include "io/bigtiff_writer.h"

#include <gtest/gtest.h>
#include <tiffio.h>

#include <array>
#include <memory>
#include <vector>

#include "core/error.h"
#include "tests/support/temp_folder.h"

namespace vtissue::io {
namespace {

using testing::TempFolder;

TEST(BigTiffWriter, LibtiffReadsEveryKindOfField) {
  const TempFolder folder;
  const auto path = folder / "a.tiff";
  {
    BigTiffWriter writer(path);
    writer.append(std::vector<std::byte>(3));  // the next one moves to an even offset
    const std::vector<std::byte> pixels{std::byte{1}, std::byte{2}, std::byte{3}};
    const BigTiffWriter::Extent extent = writer.append(pixels);
    EXPECT_EQ(extent.offset, 20u);
    std::vector<TiffDirectory> directories(2);
    for (TiffDirectory& directory : directories) {
      directory.set_long(TIFFTAG_IMAGEWIDTH, 1);
      directory.set_long(TIFFTAG_IMAGELENGTH, 1);
      directory.set_short(TIFFTAG_BITSPERSAMPLE, std::array<std::uint16_t, 3>{8, 8, 8});
      directory.set_short(TIFFTAG_COMPRESSION, 1);
      directory.set_short(TIFFTAG_PHOTOMETRIC, 2);
      directory.set_short(TIFFTAG_SAMPLESPERPIXEL, 3);
      directory.set_long8(TIFFTAG_STRIPOFFSETS, std::array{extent.offset});
      directory.set_long8(TIFFTAG_STRIPBYTECOUNTS, std::array{extent.bytes});
      directory.set_rational(TIFFTAG_XRESOLUTION, std::array<std::uint32_t, 2>{20000, 3});
    }
    directories[1].set_ascii(TIFFTAG_IMAGEDESCRIPTION, "second");
    directories[1].set_ascii(TIFFTAG_SOFTWARE, "eight!!");  // seven letters and the end fit in the entry
    writer.finish(directories);
  }
  const std::unique_ptr<TIFF, void (*)(TIFF*)> tiff(TIFFOpen(path.c_str(), "r"), TIFFClose);
  ASSERT_NE(tiff, nullptr);
  EXPECT_EQ(TIFFNumberOfDirectories(tiff.get()), 2);
  std::array<std::uint8_t, 3> pixel{};
  EXPECT_EQ(TIFFReadEncodedStrip(tiff.get(), 0, pixel.data(), 3), 3);
  EXPECT_EQ(pixel, (std::array<std::uint8_t, 3>{1, 2, 3}));
  ASSERT_EQ(TIFFSetDirectory(tiff.get(), 1), 1);
  float resolution = 0;
  char *description = nullptr, *software = nullptr;
  EXPECT_EQ(TIFFGetField(tiff.get(), TIFFTAG_XRESOLUTION, &resolution), 1);
  EXPECT_FLOAT_EQ(resolution, 20000.0f / 3);
  ASSERT_EQ(TIFFGetField(tiff.get(), TIFFTAG_IMAGEDESCRIPTION, &description), 1);
  ASSERT_EQ(TIFFGetField(tiff.get(), TIFFTAG_SOFTWARE, &software), 1);
  EXPECT_STREQ(description, "second");
  EXPECT_STREQ(software, "eight!!");
}

TEST(BigTiffWriter, RemovesWhatIsNotFinished) {
  const TempFolder folder;
  {
    BigTiffWriter writer(folder / "a.tiff");
    EXPECT_TRUE(std::filesystem::exists(folder / "a.tiff"));
    writer.append(std::vector<std::byte>(3 << 20));
  }
  EXPECT_FALSE(std::filesystem::exists(folder / "a.tiff"));
}

}  // namespace
}  // namespace vtissue::io
