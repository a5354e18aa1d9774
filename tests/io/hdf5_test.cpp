#include "io/hdf5.h"

#include <gmock/gmock.h>
#include <sys/resource.h>

#include <array>
#include <chrono>
#include <csignal>
#include <thread>

#include "core/hash.h"
#include "store_test_support.h"

namespace vtissue::io::hdf5 {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

void write_everything(const std::filesystem::path& path) {
  File file = File::create(path);
  Group root = file.root();
  root.set_string("text", "µm");
  root.set_integers("numbers", std::array<std::int64_t, 2>{-1, 7});
  root.set_number("mpp", 0.25);
  root.set_strings("none", {});
  const std::vector<float> values{1, 2, 3, 4, 5, 6};
  root.write<float>("matrix", std::array<std::uint64_t, 2>{3, 2}, values);
  Group group = root.create_group("group");
  group.write_strings("names", std::vector<std::string>{"a", "", "日本"});
  group.write_string("word", "hello");
  group.write_bools("flags", std::vector<std::uint8_t>{1, 0, 1});
  Dataset chunked = group.create_dataset("chunked", H5T_NATIVE_FLOAT, std::array<std::uint64_t, 2>{3, 2},
                                         std::array<std::uint64_t, 2>{2, 2});
  chunked.write_rows(0, 3, values.data());
  file.close();
}

TEST(Hdf5, WhatIsWrittenIsRead) {
  const TemporaryFolder folder;
  write_everything(folder / "a.h5");
  const File file = File::open(folder / "a.h5");
  const Group root = file.root();
  EXPECT_EQ(root.string_attribute("text"), "µm");
  EXPECT_THAT(*root.integers_attribute("numbers"), ElementsAre(-1, 7));
  EXPECT_EQ(root.required_number("mpp"), 0.25);
  EXPECT_TRUE(root.strings_attribute("none")->empty());
  EXPECT_FALSE(root.string_attribute("absent"));
  EXPECT_THAT(root.dataset("matrix").read<double>(), ElementsAre(1, 2, 3, 4, 5, 6));
  std::array<float, 2> row{};
  root.dataset("group/chunked").read_rows(1, 1, row.data());
  EXPECT_THAT(row, ElementsAre(3, 4));
  EXPECT_THAT(root.dataset("group/names").read_strings(), ElementsAre("a", "", "日本"));
  EXPECT_THAT(root.dataset("group/word").read_strings(), ElementsAre("hello"));
  EXPECT_EQ(root.dataset("group/flags").kind(), TypeKind::kBool);
  EXPECT_THAT(root.dataset("group/flags").read<std::uint8_t>(), ElementsAre(1, 0, 1));
  EXPECT_THAT(root.children(), ElementsAre("group", "matrix"));
  EXPECT_EQ(root.child("group/absent/further"), Group::Child::kNone);
}

TEST(Hdf5, EqualContentGivesEqualBytes) {
  const TemporaryFolder folder;
  write_everything(folder / "a.h5");
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));  // HDF5 would note times in seconds
  write_everything(folder / "b.h5");
  EXPECT_EQ(sha256_file(folder / "a.h5"), sha256_file(folder / "b.h5"));
}

TEST(Hdf5, RefusesWhatItCannotOpen) {
  const TemporaryFolder folder;
  Error error = error_of([&] { File::open(folder / "missing.h5"); });
  EXPECT_EQ(error.code(), ErrorCode::kBadInput);
  EXPECT_THAT(error.what(), HasSubstr("no such file"));
  write_text(folder / "text.h5", "this is text");
  EXPECT_THAT(error_of([&] { File::open(folder / "text.h5"); }).what(), HasSubstr("not an HDF5 file"));
  write_everything(folder / "cut.h5");
  std::filesystem::resize_file(folder / "cut.h5", std::filesystem::file_size(folder / "cut.h5") / 2);
  error = error_of([&] { File::open(folder / "cut.h5"); });
  EXPECT_EQ(error.code(), ErrorCode::kBadInput);
  EXPECT_THAT(error.what(), HasSubstr("truncated"));
  EXPECT_THAT(error.what(), HasSubstr("cut.h5"));
}

TEST(Hdf5, NamesTheObjectInErrors) {
  const TemporaryFolder folder;
  write_everything(folder / "a.h5");
  const File file = File::open(folder / "a.h5");
  const Group root = file.root();
  EXPECT_THAT(error_of([&] { root.dataset("group/absent"); }).what(), HasSubstr("a.h5: group/absent: is missing"));
  EXPECT_THAT(error_of([&] { root.dataset("group"); }).what(), HasSubstr("is not a dataset"));
  EXPECT_THAT(error_of([&] { root.dataset("group/names").read<float>(); }).what(), HasSubstr("does not hold numbers"));
  EXPECT_THAT(error_of([&] { root.dataset("matrix").read_strings(); }).what(), HasSubstr("does not hold strings"));
  EXPECT_THAT(error_of([&] { root.required_string("absent"); }).what(), HasSubstr("'absent' is missing"));
  EXPECT_THAT(error_of([&] { root.required_string("mpp"); }).what(), HasSubstr("not a string"));
}

TEST(Hdf5, RefusesADatasetThatClaimsMoreThanTheFileCanHold) {
  const TemporaryFolder folder;
  {
    File file = File::create(folder / "huge.h5");
    // No chunk is ever written, so the file stays small.
    const std::array<std::uint64_t, 1> huge{std::uint64_t{1} << 44}, chunk{1024};
    file.root().create_dataset("x", H5T_NATIVE_FLOAT, huge, chunk);
    file.close();
  }
  const File file = File::open(folder / "huge.h5");
  EXPECT_THAT(error_of([&] { file.root().dataset("x").read<float>(); }).what(), HasSubstr("in a file of"));
}

TEST(Hdf5, RefusesWideStringsThatTheFileCannotHold) {
  const TemporaryFolder folder;
  {
    File file = File::create(folder / "wide.h5");
    const ApiLock lock;
    const Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
    H5Tset_size(type.get(), 1 << 30);
    // Ten elements pass for few; their bytes do not. The second overflows 64 bits.
    const std::array<std::uint64_t, 1> few{10}, many{std::uint64_t{1} << 40}, chunk{1};
    file.root().create_dataset("few", type.get(), few, chunk);
    file.root().create_dataset("many", type.get(), many, chunk);
    file.close();
  }
  const File file = File::open(folder / "wide.h5");
  for (const char* name : {"few", "many"}) {
    const Error error = error_of([&] { file.root().dataset(name).read_strings(); });
    EXPECT_EQ(error.code(), ErrorCode::kBadInput);
    EXPECT_THAT(error.what(), HasSubstr(std::string("wide.h5: ") + name));
    EXPECT_THAT(error.what(), HasSubstr("elements of 1073741824 bytes, more than the"));
  }
}

TEST(Hdf5, AnUnfinishedFileIsRemoved) {
  const TemporaryFolder folder;
  { const File file = File::create(folder / "a.h5"); }
  EXPECT_FALSE(std::filesystem::exists(folder / "a.h5"));
}

TEST(Hdf5, CreatingInAMissingFolderIsAnOutputError) {
  const TemporaryFolder folder;
  EXPECT_EQ(error_of([&] { File::create(folder / "none" / "a.h5"); }).code(), ErrorCode::kOutput);
}

/// Writes under a limit of the file's size, as on a full disk, and leaves the way a program does.
[[noreturn]] void write_to_a_full_disk(const std::filesystem::path& path, rlim_t limit) {
  std::signal(SIGXFSZ, SIG_IGN);
  const rlimit file_size{limit, limit};
  ::setrlimit(RLIMIT_FSIZE, &file_size);
  int status = 1;
  try {
    File file = File::create(path);
    Group root = file.root();
    const std::vector<float> values(1 << 16, 1.0f);
    for (int i = 0; i < 8; ++i) {
      root.write<float>("x" + std::to_string(i), std::array<std::uint64_t, 1>{values.size()}, values);
    }
    std::vector<std::string> names(5000, "a name");
    root.write_strings("names", names);
    file.close();
  } catch (const Error& error) {
    status = error.code() == ErrorCode::kOutput ? 0 : 2;
    if (std::filesystem::exists(path)) status = 3;
  }
  std::exit(status);
}

TEST(Hdf5Death, AFullDiskIsAnOutputErrorAndNoCrashAtExit) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  const TemporaryFolder folder;
  for (const rlim_t limit : {rlim_t{0}, rlim_t{512}, rlim_t{4096}, rlim_t{300000}, rlim_t{2097152}, rlim_t{2150000}}) {
    EXPECT_EXIT(write_to_a_full_disk(folder / "full.h5", limit), testing::ExitedWithCode(0), "^$") << limit;
  }
}

}  // namespace
}  // namespace vtissue::io::hdf5
