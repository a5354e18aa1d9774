#include "core/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/safetensors.h"

namespace vtissue {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

const fs::path kGolden = fs::path(VTISSUE_TEST_DATA) / "golden";

double sum_of(const Checkpoint& checkpoint, std::size_t index) {
  const CheckpointTensor& tensor = checkpoint.tensors()[index];
  EXPECT_TRUE(tensor.dtype == "F32" || tensor.dtype == "F16") << tensor.dtype;
  if (tensor.dtype != "F32") return NAN;
  std::vector<float> values(tensor.bytes / sizeof(float));
  checkpoint.read(index, std::as_writable_bytes(std::span(values)));
  double sum = 0;
  for (const float value : values) sum += value;
  return sum;
}

std::string message_of(const fs::path& path) {
  try {
    Checkpoint::open(path);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kModel);
    return error.what();
  }
  return {};
}

class CheckpointFolder : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(::testing::TempDir()) /
              fmt::format("checkpoint_{}", ::testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  fs::path folder_;
};

TEST(CheckpointShards, AreReadOrRefusedAsExpected) {
  int seen = 0;
  const nlohmann::json cases = nlohmann::json::parse(std::ifstream(kGolden / "safetensors_cases/expected.json"));
  for (const auto& [name, expected] : cases.items()) {
    if (!name.ends_with(".index.json")) continue;
    SCOPED_TRACE(name);
    ++seen;
    const fs::path path = kGolden / "safetensors_cases" / name;
    const std::string message = message_of(path);
    if (expected["ok"] != true) {
      EXPECT_THAT(message, HasSubstr(path.string()));
      continue;
    }
    ASSERT_EQ(message, "");
    const Checkpoint checkpoint = Checkpoint::open(path);
    ASSERT_EQ(checkpoint.tensors().size(), expected["tensors"].size());
    for (const nlohmann::json& tensor : expected["tensors"]) {
      const std::size_t index = checkpoint.find(tensor["name"].get<std::string>());
      ASSERT_NE(index, Checkpoint::kNone);
      if (checkpoint.tensors()[index].dtype == "F32") {
        EXPECT_NEAR(sum_of(checkpoint, index), tensor["sum"].get<double>(), 1e-12);
      }
    }
    EXPECT_EQ(checkpoint.files().size(), 3u);
  }
  EXPECT_EQ(seen, 5);
}

TEST(CheckpointShards, RefusalsNameFileAndTensor) {
  const fs::path cases = kGolden / "safetensors_cases";
  const std::string index = "model.safetensors.index.json";
  EXPECT_THAT(message_of(cases / "sharded_missing_file" / index), HasSubstr("model-00002-of-00002.safetensors"));
  EXPECT_THAT(message_of(cases / "sharded_missing_tensor" / index), HasSubstr("'blocks.1.attn.qkv.weight'"));
  EXPECT_THAT(message_of(cases / "sharded_traversal" / index), HasSubstr("'../ok_plain.safetensors'"));
  EXPECT_THAT(message_of(cases / "sharded_extra_tensor" / index), HasSubstr("'x_embedder.proj.bias'"));
}

TEST(ShardIndex, OnlyAFlatMapOfFileNamesPasses) {
  EXPECT_EQ(parse_shard_index(R"({"metadata":{"a":[1,{"weight_map":{}}]},"weight_map":{"t":"f"}})", "i").size(), 1u);
  EXPECT_EQ(parse_shard_index(R"({"weight_map":{}})", "i").size(), 0u);
  for (const char* bad :
       {"", "[]", "1", "{}", R"({"weight_map":1})", R"({"weight_map":[]})", R"({"weight_map":{"t":1}})",
        R"({"weight_map":{"t":{}}})", R"({"weight_map":{"t":["f"]}})", R"({"weight_map":{"t":"f","t":"f"}})",
        R"({"weight_map":{"t":"f"},"weight_map":{}})", R"({"weight_map":{"t":"/f"}})", R"({"weight_map":{"t":".."}})",
        R"({"weight_map":{"t":""}})", R"({"a":{"weight_map":{"t":"f"}}})", R"({"weight_map":{"t":"f"}} x)"}) {
    EXPECT_THROW(parse_shard_index(bad, "i"), Error) << bad;
  }
}

TEST_F(CheckpointFolder, ContentDecidesNotTheName) {
  fs::copy_file(kGolden / "pickles/plain_dict.pth", folder_ / "pickle.safetensors");
  EXPECT_EQ(Checkpoint::open(folder_ / "pickle.safetensors").format(), "PyTorch");
  fs::copy_file(kGolden / "safetensors_cases/ok_plain.safetensors", folder_ / "tensors.bin");
  EXPECT_EQ(Checkpoint::open(folder_ / "tensors.bin").format(), "safetensors");
  EXPECT_THAT(message_of(kGolden / "pickles/text.pth"), HasSubstr("git lfs pull"));
  EXPECT_THAT(message_of(kGolden / "safetensors_cases/bad_lfs_pointer.safetensors"), HasSubstr("git lfs pull"));
  EXPECT_THAT(message_of(folder_ / "none.pth"), HasSubstr("none.pth"));
}

TEST_F(CheckpointFolder, NoLengthOfAHeaderLooksLikeAPickle) {
  const float value = 1;
  for (std::size_t more = 0; more < 1200; more += 8) {  // headers of 128 and 640 bytes start like one
    const fs::path path = folder_ / "a.safetensors";
    write_safetensors(path, {{"a", "F32", {1}, std::as_bytes(std::span(&value, 1))}}, {{"m", std::string(more, 'x')}});
    EXPECT_EQ(Checkpoint::open(path).format(), "safetensors") << more;
  }
}

TEST_F(CheckpointFolder, AGroupIsReadWithoutItsName) {
  const Checkpoint whole = Checkpoint::open(kGolden / "pickles/nested.pth");
  const Checkpoint group = whole.select("ema");
  ASSERT_EQ(group.tensors().size(), 9u);
  EXPECT_EQ(sum_of(group, group.find("0.weight")), sum_of(whole, whole.find("ema.0.weight")));
  EXPECT_FALSE(group.view(group.find("0.weight")).empty());
}

TEST_F(CheckpointFolder, PartsAreJoinedUnderTheirPrefixes) {
  const auto part = [](const char* name) { return Checkpoint::open(kGolden / "pickles" / name); };
  const Checkpoint joined =
      Checkpoint::join({{"a.", part("plain_dict_one.pth")}, {"b.", part("plain_dict_one.pth")}}, folder_);
  ASSERT_EQ(joined.tensors().size(), 2u);
  EXPECT_EQ(sum_of(joined, joined.find("a.only")), sum_of(joined, joined.find("b.only")));
  EXPECT_THROW(Checkpoint::join({{"", part("plain_dict_one.pth")}, {"", part("plain_dict_one.pth")}}, folder_), Error);
}

}  // namespace
}  // namespace vtissue
