// Every class of defect once for slides and pictures: empty, cut, swapped for another format, sizes that cannot be,
// headers that lie. Tiles that are damaged inside a whole slide: slide_reader_test.cpp; directories:
// tiff_check_test.cpp.

#include <gmock/gmock.h>

#include <cmath>
#include <fstream>
#include <functional>
#include <iterator>

#include "core/error.h"
#include "io/png.h"
#include "io/slide_reader.h"
#include "tests/support/synthetic_slide.h"
#include "tests/support/temp_folder.h"

namespace vtissue::io {
namespace {

namespace fs = std::filesystem;
using testing::TempFolder;

std::string bytes_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void write_bytes(const fs::path& path, const std::string& bytes) { std::ofstream(path, std::ios::binary) << bytes; }

/// A classic TIFF of one strip with these numbers in it, whatever they are; the pixels are 300 bytes.
std::string tiff(std::uint32_t width, std::uint32_t height, std::uint32_t samples = 3, std::uint32_t compression = 1,
                 std::uint32_t bits = 8) {
  std::string bytes = "II";
  const auto put = [&](std::uint64_t value, int count) {
    for (int i = 0; i < count; ++i) bytes.push_back(static_cast<char>(value >> (8 * i)));
  };
  put(42, 2), put(8, 4);
  const std::uint32_t tags[][2] = {{256, width},           {257, height},  {258, bits},   {259, compression}, {262, 2},
                                   {273, 8 + 2 + 120 + 4}, {277, samples}, {278, height}, {279, 300},         {284, 1}};
  put(std::size(tags), 2);
  for (const auto& [tag, value] : tags) put(tag, 2), put(4, 2), put(1, 4), put(value, 4);
  put(0, 4);
  return bytes + std::string(300, '\x80');
}

/// A whole slide of ours.
std::string slide_bytes(const TempFolder& folder) {
  testing::write_slide(folder / "whole.svs", testing::noise_picture({300, 200}), 0.5);
  return bytes_of(folder / "whole.svs");
}

struct BrokenSlide {
  std::string name;
  std::string file;
  std::function<std::string(const TempFolder& folder)> bytes;
};

class BrokenSlides : public ::testing::TestWithParam<BrokenSlide> {};

TEST_P(BrokenSlides, AreRefusedByName) {
  const TempFolder folder;
  const fs::path path = folder / GetParam().file;
  write_bytes(path, GetParam().bytes(folder));
  try {
    const auto slide = SlideReader::open(path, {.mpp = 0.5});
    // What a header cannot tell is found when pixels are read.
    std::vector<std::uint8_t> rgb(64 * 64 * 3);
    slide->read(0, {0, 0}, {64, 64}, rgb);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kBadInput);
    EXPECT_THAT(error.what(), ::testing::HasSubstr(path.string()));
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, BrokenSlides,
    ::testing::Values(
        BrokenSlide{"Empty", "a.svs", [](const TempFolder&) { return std::string(); }},
        BrokenSlide{"Text", "a.svs", [](const TempFolder&) { return std::string("barcode,x,y\nAAA-1,1,2\n"); }},
        BrokenSlide{"SwappedForHdf5", "a.tif",
                    [](const TempFolder&) { return bytes_of(fs::path(VTISSUE_TEST_DATA) / "golden/h5ad/csr.h5ad"); }},
        BrokenSlide{"CutToItsHead", "a.svs",
                    [](const TempFolder& folder) { return slide_bytes(folder).substr(0, 16); }},
        BrokenSlide{"CutInTheMiddle", "a.svs",
                    [](const TempFolder& folder) {
                      const std::string whole = slide_bytes(folder);
                      return whole.substr(0, whole.size() / 2);
                    }},
        BrokenSlide{"DirectoryBeyondTheEnd", "a.svs",
                    [](const TempFolder& folder) {
                      std::string whole = slide_bytes(folder);
                      whole.replace(8, 8, std::string("\xff\xff\xff\xff\xff\xff\xff\x0f", 8));
                      return whole;
                    }},
        BrokenSlide{"HugeSize", "a.tif", [](const TempFolder&) { return tiff(0x7fffffff, 0x7fffffff); }},
        BrokenSlide{"SizeTheBytesCannotFill", "a.tif", [](const TempFolder&) { return tiff(9000, 9000); }},
        BrokenSlide{"NoSize", "a.tif", [](const TempFolder&) { return tiff(0, 0); }},
        BrokenSlide{"SevenBands", "a.tif", [](const TempFolder&) { return tiff(6, 7, 7); }},
        BrokenSlide{"UnknownCompression", "a.tif", [](const TempFolder&) { return tiff(10, 10, 3, 54321); }},
        BrokenSlide{"ThreeBits", "a.tif", [](const TempFolder&) { return tiff(10, 10, 3, 1, 3); }},
        BrokenSlide{"CutPng", "a.png",
                    [](const TempFolder&) {
                      const RgbImage picture = testing::noise_picture({80, 60});
                      const auto png = encode_png(picture);
                      return std::string(reinterpret_cast<const char*>(png.data()), png.size() / 2);
                    }},
        BrokenSlide{"PngOfNothing", "a.png", [](const TempFolder&) { return std::string("\x89PNG\r\n\x1a\n", 8); }},
        BrokenSlide{"JpegOfNothing", "a.jpg", [](const TempFolder&) { return std::string("\xff\xd8\xff\xd9", 4); }}),
    [](const auto& given) { return given.param.name; });

}  // namespace
}  // namespace vtissue::io
