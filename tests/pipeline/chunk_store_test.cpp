#include "pipeline/chunk_store.h"

#include <gmock/gmock.h>

#include "fixtures.h"

namespace vtissue::pipeline {
namespace {

namespace fs = std::filesystem;
using testing::expect_error;
using testing::ScratchFolder;
using testing::slurp;
using testing::spill;

std::vector<std::byte> bytes_of(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

TEST(ChunkStore, GivesBackWhatWasCommitted) {
  ScratchFolder scratch;
  ChunkStore store(scratch / "parts");
  EXPECT_FALSE(store.has(3));
  EXPECT_FALSE(fs::exists(store.folder()));
  store.commit(3, bytes_of("three"));
  store.commit(4, {});
  EXPECT_TRUE(store.has(3));
  EXPECT_EQ(store.read(3), bytes_of("three"));
  EXPECT_EQ(store.read(4), bytes_of(""));
  EXPECT_EQ(store.read(5), std::nullopt);
  store.commit(3, bytes_of("again"));
  EXPECT_EQ(store.read(3), bytes_of("again"));
  EXPECT_EQ(ChunkStore(scratch / "parts").read(3), bytes_of("again"));
}

TEST(ChunkStore, ClearRemovesEverything) {
  ScratchFolder scratch;
  ChunkStore store(scratch / "parts");
  store.clear();
  store.commit(0, bytes_of("x"));
  store.clear();
  EXPECT_FALSE(store.has(0));
  EXPECT_FALSE(fs::exists(store.folder()));
}

// Every byte of a part counts: whatever is flipped or cut off, the part is absent, never wrong.
TEST(ChunkStore, AnyDamageReadsAsAbsent) {
  ScratchFolder scratch;
  ChunkStore(scratch.path()).commit(7, bytes_of("content of a part"));
  const fs::path part = scratch / "00000007.part";
  const std::string whole = slurp(part);
  ASSERT_EQ(whole.size(), 40u + 17u);
  for (std::size_t i = 0; i < whole.size(); ++i) {
    std::string damaged = whole;
    damaged[i] = static_cast<char>(damaged[i] ^ 0x10);
    spill(part, damaged);
    EXPECT_FALSE(ChunkStore(scratch.path()).has(7)) << "byte " << i;
    spill(part, whole.substr(0, i));
    EXPECT_FALSE(ChunkStore(scratch.path()).has(7)) << "cut to " << i;
  }
  spill(part, whole + "x");
  EXPECT_FALSE(ChunkStore(scratch.path()).has(7));
  spill(part, whole);
  EXPECT_TRUE(ChunkStore(scratch.path()).has(7));
}

TEST(ChunkStore, APartUnderAnotherIdIsAbsent) {
  ScratchFolder scratch;
  ChunkStore store(scratch.path());
  store.commit(1, bytes_of("one"));
  fs::copy_file(scratch / "00000001.part", scratch / "00000002.part");
  EXPECT_FALSE(store.has(2));
}

TEST(ChunkStore, UnusableFolderIsAnOutputError) {
  ScratchFolder scratch;
  spill(scratch / "file", "");
  const Error error = expect_error([&] { ChunkStore(scratch / "file" / "parts").commit(0, {}); });
  EXPECT_EQ(error.code(), ErrorCode::kOutput);
  EXPECT_THAT(error.what(), ::testing::HasSubstr((scratch / "file").string()));
}

}  // namespace
}  // namespace vtissue::pipeline
