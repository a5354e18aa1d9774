#include "core/hash.h"

#include <gmock/gmock.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "core/error.h"

namespace vtissue {
namespace {

// FIPS 180-2, appendix B.
TEST(Sha256, KnownAnswers) {
  EXPECT_EQ(sha256(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(sha256(std::string(1'000'000, 'a')), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, DoesNotDependOnHowTheTextIsCut) {
  Sha256 hash;
  hash.update("a");
  hash.update("");
  hash.update(std::as_bytes(std::span("bc", 2)));
  EXPECT_EQ(hash.finish(), sha256("abc"));
}

TEST(Sha256, OfAFileIsThatOfItsContent) {
  std::string pattern = (std::filesystem::temp_directory_path() / "vtissue-test-XXXXXX").string();
  const int descriptor = ::mkstemp(pattern.data());
  ASSERT_GE(descriptor, 0);
  const std::string content(3'000'001, 'x');  // more than one buffer
  std::ofstream(pattern, std::ios::binary) << content;
  EXPECT_EQ(sha256_file(pattern), sha256(content));
  std::filesystem::remove(pattern);
  try {
    sha256_file(pattern);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kBadInput);
    EXPECT_THAT(error.what(), ::testing::HasSubstr(pattern + ": cannot be read: No such file or directory"));
  }
}

TEST(Sha256, AFolderCannotBeReadAsAFile) { EXPECT_THROW(sha256_file("/"), Error); }

// XXH3-64 with seed 0 of nothing, as the reference implementation prints it.
TEST(Checksum64, KnownAnswerAndSensitivity) {
  EXPECT_EQ(checksum64({}), 0x2D06800538D394C2ull);
  std::vector<std::byte> bytes(100);
  const std::uint64_t base = checksum64(bytes);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = std::byte{1};
    EXPECT_NE(checksum64(bytes), base) << i;
    bytes[i] = std::byte{0};
  }
}

}  // namespace
}  // namespace vtissue
