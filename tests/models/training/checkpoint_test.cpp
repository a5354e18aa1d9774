#include "models/training/checkpoint.h"

#include <gmock/gmock.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "models/state_dict.h"
#include "tests/models/training/toy_set.h"

namespace vtissue::models::training {
namespace {

TEST(SaveTensors, RoundTrips) {
  const TemporaryFolder folder;
  const at::Tensor last = at::randn({2, 3, 4, 5}).contiguous(at::MemoryFormat::ChannelsLast);
  const at::Tensor half = at::randn({7}).to(at::kHalf);
  save_tensors(folder.path() / "x.safetensors", {{"last", last}, {"half", half}}, {{"step", "3"}});
  const at::Tensor last_copy = at::zeros_like(last);
  const at::Tensor half_copy = at::zeros_like(half);
  const auto metadata = load_tensors(folder.path() / "x.safetensors", {{"last", last_copy}, {"half", half_copy}});
  EXPECT_TRUE(at::equal(last, last_copy));
  EXPECT_TRUE(at::equal(half, half_copy));
  EXPECT_EQ(metadata.at("step"), "3");
}

TEST(SaveTensors, LeavesTheOldFileIfItFails) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "x.safetensors";
  save_tensors(path, {{"a", at::ones({3})}});
  EXPECT_THROW(save_tensors(path, {{"a", at::ones({3}, at::kComplexFloat)}}), Error);
  const at::Tensor copy = at::zeros({3});
  load_tensors(path, {{"a", copy}});
  EXPECT_TRUE(at::equal(copy, at::ones({3})));
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path())) files += entry.exists() ? 1 : 0;
  EXPECT_EQ(files, 1) << "a temporary file was left";
}

TEST(LoadTensors, NamesWhatDoesNotFit) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "x.safetensors";
  save_tensors(path, {{"a", at::ones({3})}});
  try {
    load_tensors(path, {{"a", at::ones({4})}, {"b", at::ones({1})}});
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kBadInput);
    EXPECT_THAT(e.what(),
                testing::AllOf(testing::HasSubstr("a (shape [3], expected [4])"), testing::HasSubstr("b (missing)")));
  }
}

TEST(WriteModel, StoresHalfPrecisionWithoutTrainingHeads) {
  const TemporaryFolder folder;
  torch::nn::Sequential net(torch::nn::Linear(2, 3), torch::nn::Linear(3, 1));
  write_model(folder.path() / "m", {{"architecture", "x"}}, weights_of(*net, {"1."}));
  const StateDict weights = StateDict::open(folder.path() / "m" / "model.safetensors");
  ASSERT_EQ(weights.tensors().size(), 2u);
  EXPECT_EQ(weights.tensors()[0].name, "0.bias");
  EXPECT_EQ(weights.tensors()[1].dtype, "F16");
  std::ifstream config(folder.path() / "m" / "config.json");
  EXPECT_EQ(nlohmann::json::parse(config).at("architecture"), "x");
}

}  // namespace
}  // namespace vtissue::models::training
