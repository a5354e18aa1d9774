#include "io/hdf5_lzf.h"

#include <gmock/gmock.h>

#include <array>
#include <string>
#include <vector>

#include "io/hdf5.h"
#include "store_test_support.h"

namespace vtissue::io::hdf5 {
namespace {

using testing::HasSubstr;

constexpr std::size_t kChunk = 64;

/// `literals` bytes 1, 2, 3 … as an LZF stream.
std::vector<std::uint8_t> stream_of(std::size_t literals) {
  std::vector<std::uint8_t> stream;
  for (std::size_t i = 0; i < literals; ++i) {
    if (i % 32 == 0) stream.push_back(static_cast<std::uint8_t>(std::min<std::size_t>(32, literals - i) - 1));
    stream.push_back(static_cast<std::uint8_t>(i + 1));
  }
  return stream;
}

/// A file with x, uint8 [64], in one chunk that holds `stream`; the filter's parameters as given.
void write_file(const std::filesystem::path& path, const std::vector<std::uint8_t>& stream,
                const std::vector<unsigned>& parameters) {
  const Handle file(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), H5Fclose);
  const Handle list(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  const hsize_t shape = kChunk;
  H5Pset_chunk(list.get(), 1, &shape);
  ASSERT_GE(H5Pset_filter(list.get(), kLzfFilter, H5Z_FLAG_OPTIONAL, parameters.size(), parameters.data()), 0);
  const Handle space(H5Screate_simple(1, &shape, nullptr), H5Sclose);
  const Handle dataset(H5Dcreate2(file.get(), "x", H5T_NATIVE_UINT8, space.get(), H5P_DEFAULT, list.get(), H5P_DEFAULT),
                       H5Dclose);
  const hsize_t origin = 0;
  ASSERT_GE(H5Dwrite_chunk(dataset.get(), H5P_DEFAULT, 0, &origin, stream.size(), stream.data()), 0);
}

void write(const std::filesystem::path& path, const std::vector<std::uint8_t>& stream,
           const std::vector<unsigned>& parameters) {
  const ApiLock lock;
  // HDF5 makes no dataset with a filter that it knows to be for reading alone, and writes its name down.
  H5Zunregister(kLzfFilter);
  H5Z_class2_t writer{};
  writer.version = H5Z_CLASS_T_VERS;
  writer.id = kLzfFilter;
  writer.encoder_present = writer.decoder_present = 1;
  writer.name = "lzf";
  writer.filter = [](unsigned, std::size_t, const unsigned*, std::size_t bytes, std::size_t*, void**) { return bytes; };
  ASSERT_GE(H5Zregister(&writer), 0);
  write_file(path, stream, parameters);
  H5Zunregister(kLzfFilter);
  register_lzf_decoder();
}

std::vector<std::uint8_t> read(const std::filesystem::path& path) {
  const File file = File::open(path);
  return file.root().dataset("x").read<std::uint8_t>();
}

void expect_refused(const std::filesystem::path& path, const char* message) {
  const Error error = error_of([&] { read(path); });
  EXPECT_EQ(error.code(), ErrorCode::kBadInput);
  EXPECT_THAT(error.what(), HasSubstr(path.filename().string() + ": x"));
  EXPECT_THAT(error.what(), HasSubstr(message));
}

TEST(Hdf5Lzf, AWholeChunkIsRead) {
  const TemporaryFolder folder;
  write(folder / "a.h5", stream_of(kChunk), {4, 0x105, kChunk});
  const std::vector<std::uint8_t> values = read(folder / "a.h5");
  for (std::size_t i = 0; i < kChunk; ++i) EXPECT_EQ(values[i], i + 1);
}

TEST(Hdf5Lzf, AChunkOfAnotherSizeIsRefused) {
  const TemporaryFolder folder;
  std::vector<std::uint8_t> cut = stream_of(kChunk);
  cut.resize(40);
  const std::vector<std::uint8_t> long_copy{0, 7, 0xe0, 255, 0};  // one literal, then 264 copies of it
  for (const auto& stream : {stream_of(1), stream_of(kChunk / 2), stream_of(kChunk - 1), stream_of(kChunk + 1), cut,
                             long_copy, std::vector<std::uint8_t>{0x20, 5}, std::vector<std::uint8_t>{0xe0}}) {
    write(folder / "a.h5", stream, {4, 0x105, kChunk});
    expect_refused(folder / "a.h5", "cannot be read");
  }
}

TEST(Hdf5Lzf, ParametersThatDoNotFitTheChunkAreRefused) {
  const TemporaryFolder folder;
  // Decodes to just what the filter says, which is less than HDF5 reads from it.
  write(folder / "a.h5", stream_of(16), {4, 0x105, 16});
  expect_refused(folder / "a.h5", "LZF for chunks of 16 bytes, but its chunks have 64");
}

TEST(Hdf5Lzf, TheSizeNeedNotBeStated) {
  const TemporaryFolder folder;
  write(folder / "a.h5", stream_of(16), {4, 0x105});
  expect_refused(folder / "a.h5", "cannot be read");
  write(folder / "a.h5", stream_of(kChunk), {4, 0x105});
  EXPECT_NO_THROW(read(folder / "a.h5"));
}

}  // namespace
}  // namespace vtissue::io::hdf5
