#include "core/file_digests.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/hash.h"
#include "tests/support/temp_folder.h"

namespace vtissue {
namespace {

namespace fs = std::filesystem;
using Options = FileDigests::Options;

constexpr std::size_t kSize = 300'000;
const std::string kForged(64, 'b');

void spill(const fs::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << text;
}

std::string slurp(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

nlohmann::json entries(const fs::path& cache) { return nlohmann::json::parse(slurp(cache)).at("files"); }

class FileDigestsTest : public ::testing::Test {
 protected:
  void SetUp() override { spill(file_, std::string(kSize, 'x')); }

  std::string digest(const Options& options = {}) {
    FileDigests digests(cache_, options);
    std::string sha256 = digests.sha256(file_);
    digests.save();
    return sha256;
  }

  /// A digest is kept once the file's last change is two seconds old.
  void keep(const Options& options = {}) {
    for (int i = 0; i < 100 && !fs::exists(cache_); ++i) {
      digest(options);
      ::usleep(100'000);
    }
    ASSERT_TRUE(fs::exists(cache_));
  }

  /// Another digest under a right checksum, as only a test would write it: whoever gives it has believed the cache.
  void forge() {
    nlohmann::json stored = nlohmann::json::parse(slurp(cache_));
    auto& entry = stored["files"][file_.string()];
    ASSERT_EQ(entry.size(), 3u);
    const std::string stamp = entry[0];
    entry[1] = kForged;
    entry[2] = sha256(file_.string() + "\n" + stamp + "\n" + kForged + "\n").substr(0, 16);
    spill(cache_, stored.dump());
  }

  vtissue::testing::TempFolder folder_;
  fs::path file_ = folder_ / "model.safetensors";
  fs::path cache_ = folder_ / "cache/digests.json";
  const std::string true_digest_ = sha256(std::string(kSize, 'x'));
};

TEST_F(FileDigestsTest, AreKeptOnceTheFileIsSettled) {
  EXPECT_EQ(digest(), true_digest_);
  EXPECT_FALSE(fs::exists(cache_)) << "a write within the clock's step would not show";
  keep();
  forge();
  EXPECT_EQ(digest(), kForged);
}

TEST_F(FileDigestsTest, EveryChangeShows) {
  keep();
  forge();
  // The same size and modification time: the change time gives it away.
  struct stat before {};
  ASSERT_EQ(::stat(file_.c_str(), &before), 0);
  spill(file_, std::string(kSize, 'y'));
  const timespec times[2] = {before.st_atim, before.st_mtim};
  ASSERT_EQ(::utimensat(AT_FDCWD, file_.c_str(), times, 0), 0);
  EXPECT_EQ(digest(), sha256(std::string(kSize, 'y')));
}

TEST_F(FileDigestsTest, ARewriteOfTheSameSizeShowsByItsTime) {
  keep();
  forge();
  spill(file_, std::string(kSize, 'z'));
  EXPECT_EQ(digest(), sha256(std::string(kSize, 'z')));
}

TEST_F(FileDigestsTest, AnotherFileUnderTheSameNameShows) {
  keep();
  forge();
  const fs::path other = folder_ / "other";
  spill(other, std::string(kSize, 'w'));
  fs::last_write_time(other, fs::last_write_time(file_));
  fs::rename(other, file_);
  EXPECT_EQ(digest(), sha256(std::string(kSize, 'w')));
}

TEST_F(FileDigestsTest, ADamagedCacheIsNotBelieved) {
  keep();
  const std::string good = slurp(cache_);
  const std::string stamp = entries(cache_).at(file_.string())[0];
  const auto put = [&](const nlohmann::json& entry) {
    spill(cache_, nlohmann::json{{"format", 2}, {"files", {{file_.string(), entry}}}}.dump());
  };
  for (std::size_t length = 0; length < good.size(); length += 7) {
    spill(cache_, good.substr(0, length));
    EXPECT_EQ(digest(), true_digest_) << length;
  }
  std::string flipped = good;
  flipped.replace(flipped.find(true_digest_), 4, "beef");
  spill(cache_, flipped);
  EXPECT_EQ(digest(), true_digest_);
  put({stamp, kForged});
  EXPECT_EQ(digest(), true_digest_) << "an entry of an older version";
  put({stamp, kForged, "0123456789abcdef"});
  EXPECT_EQ(digest(), true_digest_);
  put({stamp, "", sha256(file_.string() + "\n" + stamp + "\n\n").substr(0, 16)});
  EXPECT_EQ(digest(), true_digest_);
  put({1, 2, 3});
  EXPECT_EQ(digest(), true_digest_);
  spill(cache_, R"({"files": [1]})");
  EXPECT_EQ(digest(), true_digest_);
  spill(cache_, std::string("\x00\xff{", 3));
  EXPECT_EQ(digest(), true_digest_);
  // What was there is replaced by what is right.
  keep();
  forge();
  EXPECT_EQ(digest(), kForged);
}

TEST_F(FileDigestsTest, SmallFilesAreNotKept) {
  keep({.smallest = 1});
  fs::remove(cache_);
  digest({.smallest = kSize + 1});
  EXPECT_FALSE(fs::exists(cache_));
}

TEST_F(FileDigestsTest, ACacheThatCannotBeWrittenIsSaid) {
  keep();
  FileDigests digests(file_ / "digests.json");
  EXPECT_EQ(digests.sha256(file_), true_digest_);
  EXPECT_THROW(digests.save(), Error);
  EXPECT_EQ(FileDigests().sha256(file_), true_digest_);
}

TEST_F(FileDigestsTest, ProcessesThatSaveAtOnceLoseNothing) {
  constexpr int kProcesses = 6;
  std::vector<fs::path> files;
  for (int i = 0; i < kProcesses; ++i) {
    files.push_back(folder_ / ("weights" + std::to_string(i)));
    spill(files.back(), std::string(kSize, static_cast<char>('a' + i)));
  }
  ::usleep(2'200'000);  // settled
  std::vector<pid_t> children;
  for (const fs::path& file : files) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      FileDigests digests(cache_, {.shared = true});
      digests.sha256(file);
      digests.save();
      ::_exit(0);
    }
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = -1;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  }
  const nlohmann::json kept = entries(cache_);
  ASSERT_EQ(kept.size(), static_cast<std::size_t>(kProcesses));
  for (int i = 0; i < kProcesses; ++i) {
    EXPECT_EQ(kept.at(files[static_cast<std::size_t>(i)].string())[1],
              sha256(std::string(kSize, static_cast<char>('a' + i))));
  }
}

TEST_F(FileDigestsTest, AMissingFileIsBadInput) {
  try {
    FileDigests().sha256(folder_ / "absent");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kBadInput);
    EXPECT_THAT(error.what(), ::testing::HasSubstr("absent: cannot be read"));
  }
}

TEST(UserCacheFolder, IsWhereTheUserWantsIt) {
  const auto set = [](const char* name, const char* value) {
    value == nullptr ? ::unsetenv(name) : ::setenv(name, value, 1);
  };
  std::map<const char*, std::optional<std::string>> before;
  for (const char* name : {"VTISSUE_CACHE", "XDG_CACHE_HOME", "HOME"}) {
    const char* value = std::getenv(name);
    before[name] = value == nullptr ? std::nullopt : std::optional<std::string>(value);
    set(name, nullptr);
  }
  EXPECT_EQ(user_cache_folder(), "");
  set("HOME", "/home/one");
  EXPECT_EQ(user_cache_folder(), "/home/one/.cache/vtissue");
  set("XDG_CACHE_HOME", "relative");  // not to be used, says the specification
  EXPECT_EQ(user_cache_folder(), "/home/one/.cache/vtissue");
  set("XDG_CACHE_HOME", "/caches");
  EXPECT_EQ(user_cache_folder(), "/caches/vtissue");
  set("VTISSUE_CACHE", "/own");
  EXPECT_EQ(user_cache_folder(), "/own");
  for (const auto& [name, value] : before) set(name, value ? value->c_str() : nullptr);
}

}  // namespace
}  // namespace vtissue
