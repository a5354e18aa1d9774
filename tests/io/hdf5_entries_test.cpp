#include "io/hdf5_entries.h"

#include <gmock/gmock.h>

#include <cmath>

#include "store_test_support.h"

namespace vtissue::io::hdf5 {
namespace {

using testing::HasSubstr;

constexpr std::size_t kEntries = 200'000;  // more than goes through HDF5

std::vector<double> numbers() {
  std::vector<double> values(kEntries);
  for (std::size_t i = 0; i < kEntries; ++i) values[i] = static_cast<double>(i * 7919 % 100'003);
  return values;
}

struct Layout {
  hsize_t chunk = 0;  ///< 0: contiguous
  bool shuffle = false;
  int deflate = 0;
};

/// `written`: how many of the entries are.
void write_numbers(const std::filesystem::path& path, hid_t type, const Layout& layout,
                   std::size_t written = kEntries) {
  const hid_t file = H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  const hid_t creation = H5Pcreate(H5P_DATASET_CREATE);
  if (layout.chunk > 0) H5Pset_chunk(creation, 1, &layout.chunk);
  if (layout.shuffle) H5Pset_shuffle(creation);
  if (layout.deflate > 0) H5Pset_deflate(creation, static_cast<unsigned>(layout.deflate));
  const hsize_t extent = kEntries, count = written, start = 0;
  const hid_t space = H5Screate_simple(1, &extent, nullptr), memory = H5Screate_simple(1, &count, nullptr);
  const hid_t dataset = H5Dcreate2(file, "x", type, space, H5P_DEFAULT, creation, H5P_DEFAULT);
  H5Sselect_hyperslab(space, H5S_SELECT_SET, &start, nullptr, &count, nullptr);
  EXPECT_GE(H5Dwrite(dataset, H5T_NATIVE_DOUBLE, memory, space, H5P_DEFAULT, numbers().data()), 0);
  H5Dclose(dataset), H5Sclose(memory), H5Sclose(space), H5Pclose(creation), H5Fclose(file);
}

template <typename T>
void expect_entries(const std::filesystem::path& path, std::size_t written = kEntries) {
  const File file = File::open(path);
  const Dataset dataset = file.root().dataset("x");
  const std::vector<double> all = numbers();
  // Whole, and from the middle of a chunk to the middle of another.
  for (const auto& [first, count] : {std::pair<std::size_t, std::size_t>{0, kEntries}, {1234, 150'000}, {70'000, 10}}) {
    std::vector<T> values(count);
    read_entries(dataset, first, std::span<T>(values));
    for (std::size_t i = 0; i < count; ++i) {
      ASSERT_EQ(values[i], first + i < written ? static_cast<T>(all[first + i]) : T{0}) << first + i;
    }
  }
}

TEST(Hdf5Entries, AreThoseOfHdf5InEveryLayoutAndType) {
  const TemporaryFolder folder;
  const auto path = folder / "x.h5";
  for (const hid_t type :
       {H5T_IEEE_F32LE, H5T_IEEE_F64LE, H5T_STD_I32LE, H5T_STD_I64LE, H5T_STD_U32LE, H5T_STD_I32BE}) {
    for (const Layout& layout : {Layout{}, {8192}, {8192, false, 1}, {8192, true, 4}, {8192, true, 0}}) {
      write_numbers(path, type, layout);
      expect_entries<float>(path);
      expect_entries<std::int32_t>(path);
    }
  }
}

TEST(Hdf5Entries, ChunksThatWereNeverWrittenAreFilled) {
  const TemporaryFolder folder;
  for (const Layout& layout : {Layout{8192}, {8192, false, 1}}) {
    write_numbers(folder / "x.h5", H5T_STD_I64LE, layout, 100'000);
    expect_entries<std::int32_t>(folder / "x.h5", 100'000);
  }
}

TEST(Hdf5Entries, WhatInt32DoesNotHoldIsNoIndex) {
  const TemporaryFolder folder;
  const hid_t file = H5Fcreate((folder / "x.h5").c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  const hsize_t extent = kEntries;
  const hid_t space = H5Screate_simple(1, &extent, nullptr);
  std::vector<std::int64_t> values(kEntries, 5);
  values[150'000] = std::int64_t{1} << 40, values[150'001] = -(std::int64_t{1} << 40);
  const hid_t dataset = H5Dcreate2(file, "x", H5T_STD_I64LE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  H5Dwrite(dataset, H5T_NATIVE_INT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data());
  H5Dclose(dataset), H5Sclose(space), H5Fclose(file);
  std::vector<std::int32_t> read(kEntries);
  const File opened = File::open(folder / "x.h5");
  read_entries(opened.root().dataset("x"), 0, std::span<std::int32_t>(read));
  EXPECT_EQ(read[149'999], 5);
  EXPECT_EQ(read[150'000], -1);
  EXPECT_EQ(read[150'001], -1);
}

TEST(Hdf5Entries, ADamagedChunkIsNamed) {
  const TemporaryFolder folder;
  const auto path = folder / "x.h5";
  write_numbers(path, H5T_IEEE_F32LE, {8192, false, 6});
  std::fstream stream(path, std::ios::binary | std::ios::in | std::ios::out);
  stream.seekp(static_cast<std::streamoff>(std::filesystem::file_size(path) / 2));
  stream.write(std::string(3000, '\x5a').data(), 3000);
  stream.close();
  const File file = File::open(path);
  std::vector<float> values(kEntries);
  const Error error = error_of([&] { read_entries(file.root().dataset("x"), 0, std::span<float>(values)); });
  EXPECT_EQ(error.code(), ErrorCode::kBadInput);
  EXPECT_THAT(error.what(), HasSubstr("x.h5: x: a chunk is damaged"));
}

TEST(Hdf5Entries, TwoAtOnceThrowWhatEitherThrows) {
  int done = 0;
  two_at_once([&] { ++done; }, [] {});
  EXPECT_EQ(done, 1);
  EXPECT_THROW(two_at_once([] { throw Error(ErrorCode::kBadInput, "first"); }, [] {}), Error);
  EXPECT_THROW(two_at_once([] {}, [] { throw Error(ErrorCode::kBadInput, "second"); }), Error);
}

}  // namespace
}  // namespace vtissue::io::hdf5
