#include "models/checkpoint/summary.h"

#include "core/safetensors.h"
#include "models/checkpoint/convert.h"
#include "models/checkpoint/name_map.h"
#include "models/checkpoint/self_check.h"
#include "tests/models/golden.h"

namespace vtissue::models {
namespace {

namespace fs = std::filesystem;

std::map<std::string, std::string> facts_of(const std::string& file, const nlohmann::json& config = nullptr) {
  const WeightsSummary summary = summarize_weights(golden(file).tensors(), config);
  std::map<std::string, std::string> facts(summary.facts.begin(), summary.facts.end());
  facts["architecture"] = summary.architecture;
  facts["layout"] = summary.layout;
  facts["unrecognised"] = std::to_string(summary.unrecognised.size());
  return facts;
}

TEST(WeightsSummary, PixCellInBothLayoutsIsTheSameNetwork) {
  const nlohmann::json config = {{"model", {{"num_heads", 3}}}};
  auto ours = facts_of("pixcell_256/weights.safetensors", config);
  auto original = facts_of("pixcell_256/original.pth", config);
  EXPECT_EQ(ours["layout"], "diffusers");
  EXPECT_EQ(original["layout"], "original");
  ours.erase("layout");
  original.erase("layout");
  EXPECT_EQ(original, ours);
  EXPECT_EQ(ours["architecture"], "stmdit");
  EXPECT_EQ(ours["dim"], "36");
  EXPECT_EQ(ours["depth"], "3");
  EXPECT_EQ(ours["heads"], "3");
  EXPECT_EQ(ours["learn_sigma"], "true");
  EXPECT_EQ(ours["variant"], "pixcell");
  EXPECT_EQ(ours["morphology_dim"], "40");
  EXPECT_EQ(ours["unrecognised"], "0");
}

TEST(WeightsSummary, EncodersAndTheOthers) {
  auto vit = facts_of("uni2h/pytorch_model.bin");
  EXPECT_EQ(vit["architecture"], "vit");
  EXPECT_EQ(vit["registers"], "8");
  EXPECT_EQ(vit["mlp"], "swiglu");
  EXPECT_EQ(vit["image_px"], "56");
  EXPECT_EQ(vit["unrecognised"], "0");
  auto cf = facts_of("cancerfoundation/model_nested.pth");
  EXPECT_EQ(cf["architecture"], "cancerfoundation");
  EXPECT_EQ(cf["layers"], "3");
  EXPECT_NE(cf["unrecognised"], "0");  // its heads
  EXPECT_EQ(facts_of("deepspot/state_dict.pth")["architecture"], "deepspot");
  EXPECT_EQ(facts_of("taesd3_tiny/taesd3_decoder.pth")["architecture"], "taesd");
  EXPECT_EQ(facts_of("pickles/views.pth")["architecture"], "");
}

TEST(WeightsSummary, WhatIsNotKnownIsListed) {
  const StateDict original = golden("pixcell_256/original.pth");
  std::vector<TensorInfo> tensors(original.tensors().begin(), original.tensors().end());
  tensors.push_back({"blocks.0.gene_attn.kv.weight", "F32", {72, 36}});
  tensors.push_back({"ge.pma.seeds", "F32", {1, 16, 36}});
  tensors.push_back({"ge.adaln.0.weight", "F32", {36, 256}});
  const WeightsSummary summary = summarize_weights(tensors, nullptr);
  ASSERT_EQ(summary.unrecognised.size(), 1u);
  EXPECT_EQ(summary.unrecognised[0].name, "blocks.0.gene_attn.kv.weight");
  EXPECT_THAT(summary.facts, testing::Contains(testing::Pair("variant", "adaln")));
  EXPECT_THAT(summary.facts, testing::Contains(testing::Pair("pma_seeds", "16")));
}

class WeightsFolder : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) / testing::UnitTest::GetInstance()->current_test_info()->name();
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  fs::path folder_;
};

TEST_F(WeightsFolder, ConvertedWeightsAreTheSame) {
  const StateDict from = golden("pickles/views.pth");
  EXPECT_EQ(convert_weights(from, folder_ / "all.safetensors", ""), from.tensors().size());
  const StateDict to = StateDict::open(folder_ / "all.safetensors");
  for (const TensorInfo& info : from.tensors())
    EXPECT_TRUE(at::equal(from.get(info.name), to.get(info.name))) << info.name;
  convert_weights(from, folder_ / "half.safetensors", "BF16");
  const StateDict half = StateDict::open(folder_ / "half.safetensors");
  EXPECT_TRUE(at::equal(half.get("whole"), from.get("whole").to(at::kBFloat16)));
  EXPECT_EQ(half.get("i64").scalar_type(), at::kLong);
  const NameMap names(std::vector<NameRule>{{"left", "whole", 0, 2}, {"right", "whole", 1, 2}}, {"f64"});
  convert_weights(names.applied_to(from), folder_ / "named.safetensors", "");
  const StateDict named = StateDict::open(folder_ / "named.safetensors");
  EXPECT_TRUE(at::equal(named.get("right"), from.get("whole").slice(0, 2, 4)));
  EXPECT_FALSE(named.contains("f64"));
  EXPECT_THROW(convert_weights(from, folder_ / "x.safetensors", "I8"), Error);
}

TEST_F(WeightsFolder, AStoredCaseAgreesWithItselfAndNotWithAnother) {
  const fs::path model = fs::path(VTISSUE_SOURCE_DIR) / "weights/demo/encoder";
  std::vector<std::uint8_t> rgb(2 * 32 * 32 * 3);
  for (std::size_t i = 0; i < rgb.size(); ++i) rgb[i] = static_cast<std::uint8_t>(i * 7);
  write_safetensors(folder_ / "in.safetensors", {{"rgb", "U8", {2, 32, 32, 3}, std::as_bytes(std::span(rgb))}});
  const auto device = Device::open("cpu", 1);
  store_case(model, folder_ / "in.safetensors", folder_ / "case.safetensors", device);
  const auto checked = check_model(model, folder_ / "case.safetensors", device, 0);
  ASSERT_EQ(checked.size(), 1u);
  EXPECT_TRUE(checked[0].agrees);
  EXPECT_GT(checked[0].largest_value, 0);
  const SafetensorsFile stored = SafetensorsFile::open(folder_ / "case.safetensors");
  rgb[0] ^= 0xff;
  rgb[5000] ^= 0xff;
  write_safetensors(folder_ / "other.safetensors",
                    {{"rgb", "U8", {2, 32, 32, 3}, std::as_bytes(std::span(rgb))},
                     {"embedding", "F32", stored.find("embedding")->shape, stored.find("embedding")->data}});
  EXPECT_FALSE(check_model(model, folder_ / "other.safetensors", device, 1e-6)[0].agrees);
  EXPECT_EQ(error_of([&] { check_model(model, folder_ / "in.safetensors", device, 0); }).first, ErrorCode::kModel);
}

}  // namespace
}  // namespace vtissue::models
