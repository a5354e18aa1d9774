#include "core/torch_tensor_writer.h"

#include <gmock/gmock.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <numeric>
#include <stdexcept>

#include "core/error.h"
#include "core/torch_file.h"
#include "tests/support/temp_folder.h"

namespace vtissue {
namespace {

using testing::TempFolder;

std::string bytes_of_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<float> counted(std::size_t count) {
  std::vector<float> values(count);
  std::iota(values.begin(), values.end(), -7.5f);
  return values;
}

void write_tensor(const std::filesystem::path& path, std::int64_t rows, std::int64_t columns,
                  std::size_t rows_at_once) {
  const std::vector<float> values = counted(static_cast<std::size_t>(rows * columns));
  TorchTensorWriter writer(path, rows, columns);
  const std::size_t step = rows_at_once * static_cast<std::size_t>(columns);
  for (std::size_t at = 0; at < values.size(); at += step) {
    writer.append(std::span(values).subspan(at, std::min(step, values.size() - at)));
  }
  writer.finish();
}

class TorchTensorShapes : public ::testing::TestWithParam<std::pair<std::int64_t, std::int64_t>> {};

TEST_P(TorchTensorShapes, IsReadBack) {
  const auto [rows, columns] = GetParam();
  const TempFolder folder;
  write_tensor(folder / "a.pt", rows, columns, 3);
  const TorchFile file = TorchFile::open(folder / "a.pt");
  ASSERT_EQ(file.tensors().size(), 1u);
  EXPECT_EQ(file.tensors()[0].name, "");
  EXPECT_EQ(file.tensors()[0].dtype, "F32");
  EXPECT_EQ(file.tensors()[0].shape, (std::vector{rows, columns}));
  const std::vector<float> expected = counted(static_cast<std::size_t>(rows * columns));
  std::vector<float> values(expected.size());
  file.read(0, std::as_writable_bytes(std::span(values)));
  EXPECT_EQ(values, expected);
}

// Numbers on both sides of each form that a pickle has for them.
INSTANTIATE_TEST_SUITE_P(Sizes, TorchTensorShapes,
                         ::testing::Values(std::pair{1, 1}, std::pair{5, 3}, std::pair{255, 256}, std::pair{256, 255},
                                           std::pair{7, 65536}, std::pair{65535, 2}, std::pair{65536, 1}),
                         [](const auto& param) {
                           return std::to_string(param.param.first) + "x" + std::to_string(param.param.second);
                         });

TEST(TorchTensorWriter, BytesDoNotDependOnHowRowsCome) {
  const TempFolder folder;
  write_tensor(folder / "a.pt", 100, 8, 1);
  write_tensor(folder / "b.pt", 100, 8, 64);
  EXPECT_EQ(bytes_of_file(folder / "a.pt"), bytes_of_file(folder / "b.pt"));
}

TEST(TorchTensorWriter, ValuesBeginOnABoundary) {
  const TempFolder folder;
  write_tensor(folder / "a.pt", 4, 4, 4);
  const std::string bytes = bytes_of_file(folder / "a.pt");
  const float first = -7.5f;
  std::string pattern(sizeof first, '\0');
  std::memcpy(pattern.data(), &first, sizeof first);
  const std::size_t at = bytes.find(pattern);
  ASSERT_NE(at, std::string::npos);
  EXPECT_EQ(at % 64, 0u);
}

TEST(TorchTensorWriter, UnfinishedLeavesNothing) {
  const TempFolder folder;
  {
    TorchTensorWriter writer(folder / "a.pt", 2, 2);
    writer.append(counted(2));
    EXPECT_THROW(writer.finish(), std::logic_error);
    EXPECT_THROW(writer.append(counted(3)), std::logic_error);
  }
  EXPECT_FALSE(std::filesystem::exists(folder / "a.pt"));
}

TEST(TorchTensorWriter, RefusesWhatCannotBeWritten) {
  const TempFolder folder;
  try {
    TorchTensorWriter(folder / "a.pt", 2'000'000, 1536);
    FAIL() << "no error";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kOutput);
    EXPECT_THAT(e.what(), ::testing::HasSubstr("4 GiB"));
  }
  EXPECT_THROW(TorchTensorWriter(folder / "no/a.pt", 1, 1), Error);
}

}  // namespace
}  // namespace vtissue
