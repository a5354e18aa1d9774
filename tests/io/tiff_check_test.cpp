#include "io/tiff_check.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "core/error.h"
#include "tests/support/temp_folder.h"

namespace vtissue::io {
namespace {

using ::testing::HasSubstr;
using testing::TempFolder;

/// A classic TIFF's bytes in either byte order.
class Bytes {
 public:
  explicit Bytes(bool big_endian) : big_endian_(big_endian), text_(big_endian ? "MM" : "II") {}
  Bytes& put(std::uint64_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) {
      const int shift = 8 * (big_endian_ ? bytes - 1 - i : i);
      text_ += static_cast<char>(value >> shift & 255);
    }
    return *this;
  }
  const std::string& text() const { return text_; }

 private:
  bool big_endian_;
  std::string text_;
};

/// One directory with one strip of `bytes` at byte 100, of a file of 200 bytes.
std::string classic(bool big_endian, std::uint64_t strip_bytes, std::uint64_t next_directory = 0) {
  Bytes bytes(big_endian);
  bytes.put(42, 2).put(8, 4).put(2, 2);
  bytes.put(273, 2).put(4, 2).put(1, 4).put(100, 4);
  bytes.put(279, 2).put(4, 2).put(1, 4).put(strip_bytes, 4);
  bytes.put(next_directory, 4);
  std::string text = bytes.text();
  text.resize(200);
  return text;
}

void expect(const std::string& content, const char* refusal) {
  const TempFolder folder;
  std::ofstream(folder / "a.svs", std::ios::binary) << content;
  try {
    check_tiff_is_whole(folder / "a.svs");
    EXPECT_EQ(refusal, nullptr);
  } catch (const Error& error) {
    ASSERT_NE(refusal, nullptr) << error.what();
    EXPECT_EQ(error.code(), ErrorCode::kBadInput);
    EXPECT_THAT(error.what(), HasSubstr(refusal));
  }
}

TEST(TiffCheck, DataMustLieInTheFile) {
  for (const bool big_endian : {false, true}) {
    expect(classic(big_endian, 100), nullptr);
    expect(classic(big_endian, 101), "truncated: tile data reach to byte 201 of 200");
    expect(classic(big_endian, 0), nullptr);
    expect(classic(big_endian, 50, 150), nullptr);  // an empty second directory
    expect(classic(big_endian, 50, 8), nullptr);    // a loop
    expect(classic(big_endian, 50, 199), "truncated: a directory reaches to byte 201 of 200");
    expect(classic(big_endian, 50, 5000), "truncated: a directory reaches to byte 5002 of 200");
  }
}

TEST(TiffCheck, HugeCountsDoNotAllocate) {
  Bytes bytes(false);
  bytes.put(42, 2).put(8, 4).put(2, 2);
  bytes.put(324, 2).put(4, 2).put(0xffffffff, 4).put(100, 4);
  bytes.put(325, 2).put(4, 2).put(0xffffffff, 4).put(100, 4).put(0, 4);
  expect(bytes.text(), "truncated: a tile table");
  Bytes many(false);
  many.put(43, 2).put(8, 2).put(0, 2).put(16, 8).put(0xffffffffffffull, 8);
  expect(many.text(), "truncated: a directory");
}

/// An NDPI beyond 4 GiB: its directory and the end of its strip need more than 32 bits. Sparse, so that it costs no
/// disk.
void expect_ndpi(std::uint64_t strip_begin, std::uint64_t strip_bytes, std::uint64_t next, const char* refusal) {
  constexpr std::uint64_t kDirectory = 0x1'2000'0000, kFileBytes = kDirectory + 4096;
  Bytes header(false);
  header.put(42, 2).put(kDirectory, 8);
  Bytes directory(false);
  directory.put(3, 2);
  directory.put(273, 2).put(4, 2).put(1, 4).put(strip_begin & 0xffffffff, 4);
  directory.put(279, 2).put(4, 2).put(1, 4).put(strip_bytes & 0xffffffff, 4);
  directory.put(65420, 2).put(4, 2).put(1, 4).put(1, 4);
  directory.put(next, 8);
  directory.put(strip_begin >> 32, 4).put(strip_bytes >> 32, 4).put(0, 4);
  const TempFolder folder;
  std::ofstream file(folder / "a.ndpi", std::ios::binary);
  file << header.text();
  file.seekp(static_cast<std::streamoff>(kDirectory));
  file << directory.text().substr(2);  // without the byte order
  file.close();
  std::filesystem::resize_file(folder / "a.ndpi", kFileBytes);
  try {
    check_tiff_is_whole(folder / "a.ndpi");
    EXPECT_EQ(refusal, nullptr);
  } catch (const Error& error) {
    ASSERT_NE(refusal, nullptr) << error.what();
    EXPECT_THAT(error.what(), HasSubstr(refusal));
  }
}

TEST(TiffCheck, AnNdpiOverFourGigabytesIsWhole) {
  expect_ndpi(16, 0x1'1fff'0000, 0, nullptr);
  expect_ndpi(0x1'0000'0010, 1000, 0, nullptr);
  expect_ndpi(16, 0x1'3000'0000, 0, "truncated: tile data reach to byte 5100273680 of");
  expect_ndpi(0x2'0000'0010, 1000, 0, "truncated: tile data");
  expect_ndpi(16, 1000, 0x3'0000'0000, "truncated: a directory");
}

TEST(TiffCheck, OtherFilesPass) {
  expect("", nullptr);
  expect("II", nullptr);
  expect("IIxx and a text of some length", nullptr);
  expect("\x89PNG\r\n and a text of some length", nullptr);
}

}  // namespace
}  // namespace vtissue::io
