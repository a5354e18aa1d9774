#include "core/torch_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/pickle.h"
#include "core/zip_archive.h"

namespace vtissue {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const fs::path kPickles = fs::path(VTISSUE_TEST_DATA) / "golden/pickles";
constexpr const char* kProof = "pickle_was_executed.txt";  // what the evil files write if anything runs them

float half(std::uint16_t bits) {
  const int exponent = (bits >> 10) & 31;
  const double mantissa = bits & 0x3ff;
  const double value = exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
  return static_cast<float>((bits & 0x8000) != 0 ? -value : value);
}

template <typename T>
void append(std::vector<double>& values, std::span<const std::byte> bytes) {
  for (std::size_t at = 0; at < bytes.size(); at += sizeof(T)) {
    T value;
    std::memcpy(&value, bytes.data() + at, sizeof value);
    values.push_back(static_cast<double>(value));
  }
}

std::vector<double> values_of(const TorchFile& file, std::size_t index) {
  const TorchTensor& tensor = file.tensors()[index];
  std::vector<std::byte> bytes(tensor.bytes);
  file.read(index, bytes);
  std::vector<double> values;
  if (tensor.dtype == "F64") append<double>(values, bytes);
  if (tensor.dtype == "F32") append<float>(values, bytes);
  if (tensor.dtype == "I64") append<std::int64_t>(values, bytes);
  if (tensor.dtype == "I32") append<std::int32_t>(values, bytes);
  if (tensor.dtype == "I16") append<std::int16_t>(values, bytes);
  if (tensor.dtype == "I8") append<std::int8_t>(values, bytes);
  if (tensor.dtype == "U8" || tensor.dtype == "BOOL") append<std::uint8_t>(values, bytes);
  if (tensor.dtype == "F16" || tensor.dtype == "BF16") {
    std::vector<double> words;
    append<std::uint16_t>(words, bytes);
    for (const double word : words) {
      const auto bits = static_cast<std::uint32_t>(word);
      values.push_back(tensor.dtype == "F16" ? half(static_cast<std::uint16_t>(bits))
                                             : std::bit_cast<float>(bits << 16));
    }
  }
  return values;
}

std::string dtype_of(const std::string& torch) {
  static const std::map<std::string, std::string> kNames = {
      {"float64", "F64"}, {"float32", "F32"}, {"float16", "F16"}, {"bfloat16", "BF16"}, {"int64", "I64"},
      {"int32", "I32"},   {"int16", "I16"},   {"int8", "I8"},     {"uint8", "U8"},      {"bool", "BOOL"}};
  return kNames.at(torch);
}

void expect_tensors(const TorchFile& file, const nlohmann::json& expected) {
  ASSERT_EQ(file.tensors().size(), expected.size());
  for (const nlohmann::json& want : expected) {
    const auto name = want["name"].get<std::string>();
    SCOPED_TRACE(name);
    const auto found = std::ranges::find(file.tensors(), name, &TorchTensor::name);
    ASSERT_NE(found, file.tensors().end());
    const auto index = static_cast<std::size_t>(found - file.tensors().begin());
    EXPECT_EQ(found->dtype, dtype_of(want["dtype"]));
    EXPECT_EQ(found->shape, want["shape"].get<std::vector<std::int64_t>>());
    const std::vector<double> values = values_of(file, index);
    double sum = 0;
    for (const double value : values) sum += value;
    EXPECT_NEAR(sum, want["sum"].get<double>(), 1e-12 * std::max(1.0, std::abs(sum)));
    const auto first = want["first"].get<std::vector<double>>();
    ASSERT_GE(values.size(), first.size());
    for (std::size_t i = 0; i < first.size(); ++i) EXPECT_EQ(values[i], first[i]) << i;
    if (const auto view = file.view(index); !view.empty()) {
      std::vector<std::byte> copy(found->bytes);
      file.read(index, copy);
      EXPECT_TRUE(std::ranges::equal(view, copy));
    }
  }
}

/// Opens the file and reads every tensor; the message of the Error, or "".
std::string message_of(const fs::path& path) {
  try {
    const TorchFile file = TorchFile::open(path);
    for (std::size_t i = 0; i < file.tensors().size(); ++i) values_of(file, i);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kModel);
    return error.what();
  }
  return {};
}

TEST(TorchFileCases, AreReadOrRefusedAsExpected) {
  const nlohmann::json cases = nlohmann::json::parse(std::ifstream(kPickles / "expected.json"));
  fs::remove(kProof);
  int good = 0, bad = 0;
  for (const auto& [name, expected] : cases.items()) {
    SCOPED_TRACE(name);
    const std::string message = message_of(kPickles / name);
    EXPECT_FALSE(fs::exists(kProof));
    if (expected["ok"] == true) {
      EXPECT_EQ(message, "");
      expect_tensors(TorchFile::open(kPickles / name), expected["tensors"]);
      ++good;
    } else {
      EXPECT_THAT(message, HasSubstr((kPickles / name).string()));
      ++bad;
    }
  }
  EXPECT_EQ(good, 12);
  EXPECT_EQ(bad, 25);
}

TEST(TorchFileCases, RefusalsNameTheCause) {
  const std::vector<std::pair<std::string, std::string>> causes = {
      {"evil_reduce.pth", "'posix.system'"},
      {"evil_legacy.pth", "builtin"},
      {"evil_stack_global.pth", ".system'"},
      {"whole_module.pth", "state_dict"},
      {"numpy_inside.pth", "_reconstruct'"},
      {"truncated_half.pth", "end-of-central-directory"},
      {"empty.pth", "empty"},
      {"text.pth", "git lfs pull"},
      {"short_storage.pth", "data/0"},
      {"missing_storage.pth", "data/1"},
      {"no_pickle.pth", "data.pkl"},
      {"big_endian.pth", "'big'"},
      {"crc_damage.pth", "CRC-32"},
      {"zip_wrong_size.pth", "bytes"},
      {"rezipped_deflate.pth", "deflate"},
      {"hand_stride_over.pth", "reaches element 13 of a storage of 12"},
      {"hand_negative_size.pth", "negative dimension"},
      {"hand_negative_stride.pth", "negative stride"},
      {"hand_numel_lie.pth", "1099511627776 elements"}};
  for (const auto& [file, cause] : causes) EXPECT_THAT(message_of(kPickles / file), HasSubstr(cause)) << file;
}

TEST(TorchFile, ValuesAndGroupsBesideTheTensorsAreListed) {
  const TorchFile file = TorchFile::open(kPickles / "nested.pth");
  EXPECT_THAT(file.groups(), ::testing::Contains("state_dict"));
  EXPECT_THAT(file.groups(), ::testing::Contains("ema"));
  EXPECT_TRUE(std::ranges::any_of(file.values(), [](const TorchValue& value) { return value.name == "epoch"; }));
}

TEST(TorchFile, EveryCutOfAFileIsRefused) {
  for (const std::string name : {"nested.pth", "legacy.pth"}) {
    std::ifstream in(kPickles / name, std::ios::binary);
    const std::string whole{std::istreambuf_iterator<char>(in), {}};
    for (std::size_t length = 0; length < whole.size(); ++length) {
      // A copy of its own size, so that a sanitizer sees a read beyond it.
      const std::vector<char> cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length));
      EXPECT_THROW(TorchFile::parse(std::as_bytes(std::span(cut)), name), Error) << name << " " << length;
    }
  }
}

/// A pickle of the given opcodes.
PickleDocument read_pickle(std::string_view text) { return unpickle(std::as_bytes(std::span(text)), "made.pkl"); }

TEST(Pickle, NumbersOfEveryKind) {
  using namespace std::string_literals;
  EXPECT_EQ(read_pickle("\x80\x02J\xfe\xff\xff\xff."s).values.back().integer, -2);
  EXPECT_EQ(read_pickle("\x80\x02M\xe9\x03."s).values.back().integer, 1001);
  EXPECT_EQ(read_pickle("\x80\x02\x8a\x02\x00\x80."s).values.back().integer, -32768);
  EXPECT_EQ(read_pickle("\x80\x02\x8a\x00."s).values.back().integer, 0);
  EXPECT_EQ(read_pickle("\x80\x02G\x40\x0a\x00\x00\x00\x00\x00\x00."s).values.back().real, 3.25);
  EXPECT_EQ(read_pickle("\x80\x02\x8a\x09\x01\x00\x00\x00\x00\x00\x00\x00\x02."s).values.back().text,
            "020000000000000001");
}

TEST(Pickle, MarksProtectWhatLiesUnderThem) {
  using namespace std::string_literals;
  for (const std::string& bad : {"."s, "0."s, "t."s, "N(0t."s, "N(\x85."s, "]N]u."s, "h\x05."s, "NNR."s, "N}b."s, "i."s,
                                 "\x80\x06N."s, "("s, "X\xff\xff\xff\xff"s, "Nq"s, "Q."s}) {
    EXPECT_THROW(read_pickle(bad), Error) << bad;
  }
}

TEST(Pickle, ContainersMayHoldThemselves) {
  using namespace std::string_literals;
  const PickleDocument list = read_pickle("\x80\x02]q\x00h\x00"s + "a.");
  EXPECT_THAT(list.at(list.root).items, ElementsAre(list.root));
}

TEST(ZipArchive, Crc32IsTheStandardOne) {
  const std::string text = "123456789";
  EXPECT_EQ(crc32(std::as_bytes(std::span(text))), 0xcbf43926u);  // the check value of the CRC's definition
  EXPECT_EQ(crc32({}), 0u);
}

}  // namespace
}  // namespace vtissue
