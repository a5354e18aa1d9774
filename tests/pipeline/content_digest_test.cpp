#include "pipeline/content_digest.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include "core/hash.h"
#include "fixtures.h"

namespace vtissue::pipeline {
namespace {

namespace fs = std::filesystem;
using testing::expect_error;
using ::testing::HasSubstr;
using testing::ScratchFolder;
using testing::slurp;
using testing::spill;

TEST(DigestCache, AFileIsItsContent) {
  ScratchFolder scratch;
  spill(scratch / "a", "abc");
  const ContentDigest digest = DigestCache().digest(scratch / "a");
  EXPECT_EQ(digest.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(digest.size, 3u);
  EXPECT_EQ(digest.listing_sha256, "");
}

TEST(DigestCache, AFolderIsItsIndexAndItsListing) {
  ScratchFolder scratch;
  spill(scratch / "index.json", "{}");
  spill(scratch / "part", "one");
  const ContentDigest before = DigestCache().digest(scratch.path());
  EXPECT_EQ(before.sha256, sha256("{}"));
  EXPECT_EQ(before.size, 5u);
  spill(scratch / "part", "two");
  EXPECT_EQ(DigestCache().digest(scratch.path()), before);
  spill(scratch / "part", "cut");
  fs::resize_file(scratch / "part", 1);
  EXPECT_NE(DigestCache().digest(scratch.path()), before);
  fs::remove(scratch / "part");
  EXPECT_NE(DigestCache().digest(scratch.path()), before);
}

TEST(DigestCache, AFolderWithoutIndexIsAllItsFiles) {
  ScratchFolder scratch;
  fs::create_directory(scratch / "sub");
  spill(scratch / "sub" / "part", "one");
  const std::string before = DigestCache().digest(scratch.path()).sha256;
  spill(scratch / "sub" / "part", "two");
  EXPECT_NE(DigestCache().digest(scratch.path()).sha256, before);
}

TEST(DigestCache, ASlideOfSeveralFilesIsAllOfThem) {
  ScratchFolder scratch;
  const auto digest = [](const fs::path& path) { return DigestCache().digest(path).sha256; };
  fs::create_directories(scratch / "a");
  spill(scratch / "a.mrxs", "thumbnail");
  spill(scratch / "a" / "Data0000.dat", "one");
  const std::string mirax = digest(scratch / "a.mrxs");
  spill(scratch / "a" / "Data0000.dat", "two");
  EXPECT_NE(digest(scratch / "a.mrxs"), mirax);
  spill(scratch / "a" / "Data0000.dat", "one");
  EXPECT_EQ(digest(scratch / "a.mrxs"), mirax);
  spill(scratch / "a" / "Data0001.dat", "more");
  EXPECT_NE(digest(scratch / "a.mrxs"), mirax);

  spill(scratch / "b.vms",
        "[Virtual Microscope Specimen]\r\nImageFile=b.jpg\r\nImageFile(1,0)=b2.jpg\r\nNoLayers=1\r\n");
  spill(scratch / "b.jpg", "one");
  spill(scratch / "b2.jpg", "two");
  const std::string vms = digest(scratch / "b.vms");
  spill(scratch / "b2.jpg", "new");
  EXPECT_NE(digest(scratch / "b.vms"), vms);

  // A folder that happens to have the name of another kind of slide is not part of it.
  spill(scratch / "a.svs", "abc");
  EXPECT_EQ(digest(scratch / "a.svs"), sha256("abc"));
}

TEST(DigestCache, AMissingFileIsBadInput) {
  const Error error = expect_error([] { DigestCache().digest("no/such/slide.svs"); });
  EXPECT_EQ(error.code(), ErrorCode::kBadInput);
  EXPECT_THAT(error.what(), HasSubstr("no/such/slide.svs: cannot be read: No such file"));
}

// How they are kept and when they are not believed is tested in tests/core/file_digests_test.cpp.
TEST(DigestCache, KeepsLargeFilesUntilTheyChange) {
  ScratchFolder scratch;
  const fs::path file = scratch / "large";
  spill(file, std::string(300'000, 'x'));
  const fs::path cache = scratch / "work" / "digests.json";
  for (int attempt = 0; attempt < 100 && !fs::exists(cache); ++attempt) {
    DigestCache digests(cache);
    EXPECT_EQ(digests.digest(file).sha256, sha256(std::string(300'000, 'x')));
    digests.save();
    ::usleep(100'000);
  }
  EXPECT_THAT(slurp(cache), HasSubstr(sha256(std::string(300'000, 'x'))));
  const auto time = fs::last_write_time(file);
  spill(file, std::string(300'000, 'y'));
  fs::last_write_time(file, time);
  EXPECT_EQ(DigestCache(cache).digest(file).sha256, sha256(std::string(300'000, 'y')));
}

TEST(DigestCache, OfAFolderOnlyTheNamedFilesCount) {
  ScratchFolder scratch;
  spill(scratch / "matrix.h5", "one");
  spill(scratch / "reads.bam", "two");
  const ContentDigest before = DigestCache().digest_files(scratch.path(), {"matrix.h5"});
  spill(scratch / "reads.bam", "longer");
  EXPECT_EQ(DigestCache().digest_files(scratch.path(), {"matrix.h5"}), before);
  spill(scratch / "matrix.h5", "three");
  EXPECT_NE(DigestCache().digest_files(scratch.path(), {"matrix.h5"}), before);
}

TEST(DigestCache, AStopEndsTheReading) {
  ScratchFolder scratch;
  spill(scratch / "a", "abc");
  std::stop_source stop;
  stop.request_stop();
  EXPECT_EQ(expect_error([&] { DigestCache().digest(scratch / "a", stop.get_token()); }).code(),
            ErrorCode::kInterrupted);
}

}  // namespace
}  // namespace vtissue::pipeline
