#include "core/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/error.h"

namespace vtissue {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

const fs::path kCases = fs::path(VTISSUE_TEST_DATA) / "golden/safetensors_cases";

nlohmann::json cases() { return nlohmann::json::parse(std::ifstream(kCases / "expected.json")); }

template <typename T>
std::span<const std::byte> bytes(const std::vector<T>& values) {
  return std::as_bytes(std::span(values));
}

std::string message_of(const fs::path& path) {
  try {
    SafetensorsFile::open(path);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kModel);
    return error.what();
  }
  return {};
}

class SafetensorsFolder : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(::testing::TempDir()) /
              fmt::format("safetensors_{}", ::testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  fs::path write(const std::string& header, std::string_view buffer) {
    const std::uint64_t length = header.size();
    std::ofstream out(folder_ / "x.safetensors", std::ios::binary);
    out.write(reinterpret_cast<const char*>(&length), sizeof length);
    out << header << buffer;
    return folder_ / "x.safetensors";
  }

  fs::path folder_;
};

TEST(SafetensorsCases, AreReadOrRefusedAsExpected) {
  const nlohmann::json all = cases();
  int seen = 0;
  for (const auto& [name, expected] : all.items()) {
    if (name.find('/') != std::string::npos) continue;  // sharded sets are not a single file
    SCOPED_TRACE(name);
    ++seen;
    if (expected["ok"].is_boolean() && !expected["ok"].get<bool>()) {
      EXPECT_THAT(message_of(kCases / name), HasSubstr(name));
      continue;
    }
    const SafetensorsFile file = SafetensorsFile::open(kCases / name);
    ASSERT_EQ(file.entries().size(), expected["tensors"].size());
    for (const auto& tensor : expected["tensors"]) {
      const SafetensorsEntry* entry = file.find(tensor["name"].get<std::string>());
      ASSERT_NE(entry, nullptr) << tensor["name"];
      EXPECT_EQ(entry->dtype, tensor["dtype"]);
      EXPECT_EQ(entry->shape, tensor["shape"].get<std::vector<std::int64_t>>());
      if (entry->dtype != "F32") continue;
      double sum = 0;
      for (std::size_t i = 0; i < entry->data.size(); i += sizeof(float)) {
        float value = 0;
        std::memcpy(&value, entry->data.data() + i, sizeof value);
        sum += value;
      }
      EXPECT_EQ(sum, tensor["sum"].get<double>());
    }
    if (expected.contains("metadata") && !expected["metadata"].is_null()) {
      EXPECT_EQ(file.metadata(), (expected["metadata"].get<std::map<std::string, std::string>>()));
    }
  }
  EXPECT_GE(seen, 40);
}

TEST(SafetensorsCases, SayWhatAForeignFileIs) {
  EXPECT_THAT(message_of(kCases / "bad_pickle.safetensors"), HasSubstr("zip archive"));
  EXPECT_THAT(message_of(kCases / "bad_lfs_pointer.safetensors"), HasSubstr("git lfs pull"));
  EXPECT_THAT(message_of(kCases / "bad_duplicate_key.safetensors"), HasSubstr("'a' occurs twice"));
  EXPECT_THAT(message_of(kCases / "bad_dtype.safetensors"), HasSubstr("F33"));
  EXPECT_THAT(message_of(kCases / "nothing.safetensors"), HasSubstr("cannot be opened"));
}

TEST_F(SafetensorsFolder, HeaderTextOutsideTheFormatIsRefused) {
  const std::string tensor = R"("a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]})";
  EXPECT_EQ(message_of(write("{" + tensor + "}   ", "1234")), "");
  EXPECT_THAT(message_of(write("{" + tensor + std::string("}\0 {}", 5), "1234")), HasSubstr("NUL"));
  EXPECT_THAT(message_of(write(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"stride":[1]}})", "1234")),
              HasSubstr("stride"));
  EXPECT_THAT(message_of(write(R"({"a":{"dtype":"F32","shape":[1],"shape":[1],"data_offsets":[0,4]}})", "1234")),
              HasSubstr("twice"));
  EXPECT_THAT(message_of(write(R"({"__metadata__":{"k":"1","k":"2"}})", "")), HasSubstr("'k' occurs twice"));
  EXPECT_THAT(message_of(write(R"({"a":{"dtype":"F4","shape":[3],"data_offsets":[0,1]}})", "1")), HasSubstr("F4"));
}

TEST_F(SafetensorsFolder, WhatIsWrittenIsReadBack) {
  const std::vector<float> f = {1, 2, 3, 4, 5, 6};
  const std::vector<std::uint8_t> u = {7, 8, 9};
  const fs::path path = folder_ / "w.safetensors";
  write_safetensors(path, {{"u", "U8", {3}, bytes(u)}, {"größe", "F32", {2, 3}, bytes(f)}, {"none", "I64", {0, 4}, {}}},
                    {{"note", "µm"}});
  const SafetensorsFile file = SafetensorsFile::open(path);
  ASSERT_EQ(file.entries().size(), 3U);
  EXPECT_EQ(file.metadata().at("note"), "µm");
  const SafetensorsEntry* entry = file.find("größe");
  ASSERT_NE(entry, nullptr);
  EXPECT_EQ(std::memcmp(entry->data.data(), f.data(), 24), 0);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(entry->data.data()) % 8, 0U);
  EXPECT_EQ(file.find("gr"), nullptr);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 1);
}

TEST_F(SafetensorsFolder, BytesDependOnContentOnly) {
  const std::vector<float> a = {1}, b = {2};
  const std::vector<double> d = {3};
  const auto one =
      serialize_safetensors({{"a", "F32", {1}, bytes(a)}, {"b", "F32", {1}, bytes(b)}, {"d", "F64", {}, bytes(d)}});
  const auto other =
      serialize_safetensors({{"d", "F64", {}, bytes(d)}, {"b", "F32", {1}, bytes(b)}, {"a", "F32", {1}, bytes(a)}});
  EXPECT_EQ(one, other);
  double first = 0;
  std::memcpy(&first, one.data() + one.size() - 16, sizeof first);
  EXPECT_EQ(first, 3.0) << "the widest dtype comes first";
  const fs::path path = folder_ / "x.safetensors";
  write_safetensors(path, {{"a", "F32", {1}, bytes(a)}, {"b", "F32", {1}, bytes(b)}, {"d", "F64", {}, bytes(d)}});
  std::ifstream in(path, std::ios::binary);
  const std::string written((std::istreambuf_iterator<char>(in)), {});
  EXPECT_EQ(std::as_bytes(std::span(written)).size(), one.size());
  EXPECT_EQ(std::memcmp(written.data(), one.data(), one.size()), 0);
}

TEST_F(SafetensorsFolder, ImpossibleTensorsAreNotWritten) {
  const std::vector<float> a = {1};
  EXPECT_THROW(serialize_safetensors({{"a", "F32", {2}, bytes(a)}}), Error);
  EXPECT_THROW(serialize_safetensors({{"a", "F31", {1}, bytes(a)}}), Error);
  EXPECT_THROW(serialize_safetensors({{"a", "F32", {1}, bytes(a)}, {"a", "F32", {1}, bytes(a)}}), Error);
  EXPECT_THROW(serialize_safetensors({{"\xff", "F32", {1}, bytes(a)}}), Error);
  EXPECT_THROW(serialize_safetensors({{"__metadata__", "F32", {1}, bytes(a)}}), Error);
  try {
    write_safetensors(folder_ / "missing/x.safetensors", {});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kOutput);
    EXPECT_THAT(error.what(), HasSubstr("x.safetensors"));
  }
}

}  // namespace
}  // namespace vtissue
