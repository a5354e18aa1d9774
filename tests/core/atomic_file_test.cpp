#include "core/atomic_file.h"

#include <gmock/gmock.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <iterator>

#include "core/error.h"

namespace vtissue {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class AtomicFile : public ::testing::Test {
 protected:
  AtomicFile() {
    std::string pattern = (fs::temp_directory_path() / "vtissue-test-XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
  }
  ~AtomicFile() override { fs::remove_all(folder_); }

  static std::string slurp(const fs::path& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  static void spill(const fs::path& path, std::string_view text) { std::ofstream(path, std::ios::binary) << text; }
  std::size_t entries() const {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()));
  }

  fs::path folder_;
};

TEST_F(AtomicFile, WritesAndReplacesWithoutLeftovers) {
  write_file_atomically(folder_ / "a", "one");
  EXPECT_EQ(slurp(folder_ / "a"), "one");
  spill(temporary_name(folder_ / "a"), "left by a killed run");
  write_file_atomically(folder_ / "a", "two");
  EXPECT_EQ(slurp(folder_ / "a"), "two");
  write_file_atomically(folder_ / "empty", "");
  EXPECT_EQ(fs::file_size(folder_ / "empty"), 0u);
  EXPECT_EQ(entries(), 2u);
}

TEST_F(AtomicFile, TheTemporaryNameIsHiddenAndInTheSameFolder) {
  EXPECT_EQ(temporary_name("out/tiles.h5"), "out/.tiles.h5.partial");
  EXPECT_EQ(temporary_name("tiles.h5"), ".tiles.h5.partial");
}

// Whoever has the old file open keeps reading it whole: the name moves, the content is not overwritten.
TEST_F(AtomicFile, AReaderOfTheOldFileIsNotDisturbed) {
  write_file_atomically(folder_ / "a", "old");
  std::ifstream reader(folder_ / "a");
  write_file_atomically(folder_ / "a", "new and longer");
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(reader), {}), "old");
}

TEST_F(AtomicFile, PublishesFilesAndFolders) {
  spill(folder_ / ".f.partial", "file");
  publish(folder_ / ".f.partial", folder_ / "f");
  EXPECT_EQ(slurp(folder_ / "f"), "file");
  for (const std::string content : {"first", "second"}) {
    fs::create_directories(folder_ / ".d.partial" / "sub");
    spill(folder_ / ".d.partial" / "sub" / content, content);
    publish(folder_ / ".d.partial", folder_ / "d");
    EXPECT_EQ(slurp(folder_ / "d" / "sub" / content), content);
  }
  EXPECT_FALSE(fs::exists(folder_ / "d" / "sub" / "first"));  // replaced, not merged
  EXPECT_EQ(entries(), 2u);
}

TEST_F(AtomicFile, AFailureKeepsTheOldTargetAndNoTemporaryFile) {
  fs::create_directory(folder_ / "target");
  spill(folder_ / "target" / "kept", "old");
  try {
    write_file_atomically(folder_ / "target", "a file cannot replace a folder");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kOutput);
    EXPECT_THAT(error.what(), HasSubstr((folder_ / "target").string() + ": cannot rename to"));
  }
  EXPECT_EQ(slurp(folder_ / "target" / "kept"), "old");
  EXPECT_EQ(entries(), 1u);
}

TEST_F(AtomicFile, AMissingFolderIsAnOutputError) {
  try {
    write_file_atomically(folder_ / "none" / "a", "x");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kOutput);
    EXPECT_THAT(error.what(), HasSubstr("cannot create: No such file or directory"));
  }
}

TEST_F(AtomicFile, AFullDeviceIsAnOutputErrorWithARemedy) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "no /dev/full here";
  // The temporary file is a link to a device on which every write fails for want of space.
  fs::create_symlink("/dev/full", temporary_name(folder_ / "a"));
  try {
    write_file_atomically(folder_ / "a", "x");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kOutput);
    EXPECT_THAT(error.what(), HasSubstr("No space left on device; free some space and run the same command again"));
  }
  EXPECT_EQ(entries(), 0u);
}

TEST(OutputError, NamesPathReasonAndRemedy) {
  const auto message = [](int number) {
    try {
      throw_output_error("out/a", "write", number);
    } catch (const Error& error) {
      return std::string(error.what());
    }
  };
  EXPECT_EQ(message(EACCES), "out/a: cannot write: Permission denied; choose another folder or change its permissions");
  EXPECT_EQ(message(EIO), "out/a: cannot write: Input/output error");
}

}  // namespace
}  // namespace vtissue
