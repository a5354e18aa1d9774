#include "models/state_dict.h"

#include <array>
#include <limits>
#include <tuple>

#include "core/safetensors.h"
#include "tests/models/golden.h"

namespace vtissue::models {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class StateDictTest : public ::testing::Test {
 protected:
  void SetUp() override {
    path_ = fs::path(::testing::TempDir()) /
            fmt::format("state_{}.safetensors", ::testing::UnitTest::GetInstance()->current_test_info()->name());
  }
  void TearDown() override { fs::remove(path_); }

  StateDict with(std::vector<std::pair<std::string, std::vector<std::int64_t>>> tensors) const {
    static const std::vector<float> kValues(64, 2.5f);
    std::vector<SafetensorsOutput> outputs;
    for (auto& [name, shape] : tensors) {
      std::size_t count = 1;
      for (const std::int64_t extent : shape) count *= static_cast<std::size_t>(extent);
      outputs.push_back({name, "F32", shape, std::as_bytes(std::span(kValues).first(count))});
    }
    write_safetensors(path_, std::move(outputs));
    return StateDict::open(path_);
  }

  fs::path path_;
};

std::string load_message(torch::nn::Module& module, const StateDict& weights, const LoadRules& rules = {}) {
  try {
    load(module, weights, rules);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kModel);
    return error.what();
  }
  return {};
}

TEST_F(StateDictTest, EveryDtypeOfTheGoldenIsRead) {
  const StateDict weights = golden("safetensors_cases/ok_every_dtype.safetensors");
  const nlohmann::json expected =
      golden_json("safetensors_cases/expected.json")["ok_every_dtype.safetensors"]["tensors"];
  ASSERT_EQ(weights.tensors().size(), expected.size());
  for (const nlohmann::json& tensor : expected) {
    const auto name = tensor["name"].get<std::string>();
    EXPECT_EQ(weights.get(name).sizes().vec(), tensor["shape"].get<std::vector<std::int64_t>>()) << name;
    EXPECT_EQ(weights.get(name).to(at::kDouble).sum().item<double>(), tensor["sum"].get<double>()) << name;
  }
  const StateDict f8 = golden("safetensors_cases/f8_e4m3.safetensors");
  EXPECT_EQ(f8.get("f8").to(at::kFloat).sum().item<float>(), -0.5f);
}

TEST_F(StateDictTest, UnalignedDataIsCopied) {
  const StateDict weights = golden("safetensors_cases/ok_unaligned.safetensors");
  EXPECT_EQ(weights.get("f").sum().item<float>(), 9.0f);
}

TEST_F(StateDictTest, MissingNamesAndDtypesAreNamed) {
  const std::vector<std::uint8_t> bytes = {1, 2};
  write_safetensors(path_, {{"odd", "F8_E8M0", {2}, std::as_bytes(std::span(bytes))}});
  const StateDict weights = StateDict::open(path_);
  EXPECT_TRUE(weights.contains("odd"));
  for (const std::string name : {"odd", "even"}) {
    try {
      (void)weights.get(name);
      FAIL();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kModel);
      EXPECT_THAT(error.what(), HasSubstr("'" + name + "'"));
    }
  }
}

TEST_F(StateDictTest, ModuleGetsTheFilesValues) {
  torch::nn::Linear layer(3, 2);
  load(*layer, with({{"weight", {2, 3}}, {"bias", {2}}}));
  EXPECT_EQ(layer->weight.sum().item<float>(), 15.0f);
  EXPECT_TRUE(layer->weight.requires_grad());
}

TEST_F(StateDictTest, EveryFaultIsListed) {
  torch::nn::Linear layer(3, 2);
  const std::string message =
      load_message(*layer, with({{"weight", {3, 2}}, {"head.weight", {4}}, {"head.bias", {1}}}));
  EXPECT_THAT(message, HasSubstr("1 missing: bias [2]"));
  EXPECT_THAT(message, HasSubstr("2 unknown: head.bias [1], head.weight [4]"));
  EXPECT_THAT(message, HasSubstr("weight is [3, 2], not [2, 3]"));
  EXPECT_THAT(message, HasSubstr(path_.string()));
}

TEST_F(StateDictTest, IntegersAndComplexNumbersAreNoWeights) {
  const std::vector<std::byte> bytes(64);
  for (const auto& [dtype, size, name] : {std::tuple{"I8", 6, "Char"}, std::tuple{"U8", 6, "Byte"},
                                          std::tuple{"I64", 48, "Long"}, std::tuple{"C64", 48, "ComplexFloat"}}) {
    write_safetensors(path_, {{"weight", dtype, {2, 3}, std::span(bytes).first(static_cast<std::size_t>(size))},
                              {"bias", "F16", {2}, std::span(bytes).first(4)}});
    torch::nn::Linear layer(3, 2);
    EXPECT_THAT(load_message(*layer, StateDict::open(path_)),
                HasSubstr(fmt::format("1 of a type that cannot be weights: weight is {}", name)));
  }
}

TEST_F(StateDictTest, ValuesThatAreNotFiniteAreNamed) {
  torch::nn::Linear layer(3, 2);
  const std::array<double, 2> too_large{1e300, 0};  // finite in the file alone
  std::array<float, 6> values{};
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    values[4] = bad;
    write_safetensors(path_, {{"weight", "F32", {2, 3}, std::as_bytes(std::span(values))},
                              {"bias", "F64", {2}, std::as_bytes(std::span(too_large))}});
    EXPECT_THAT(load_message(*layer, StateDict::open(path_)),
                HasSubstr("2 with values that are not finite: weight, bias"));
  }
}

TEST_F(StateDictTest, RulesMapAndExcuse) {
  torch::nn::Linear layer(3, 2);
  const StateDict weights = with({{"w", {4, 3}}, {"unused", {1}}});
  const LoadRules rules{
      .source = [](const StateDict& file,
                   const std::string& name) { return name == "weight" ? file.get("w").slice(0, 2, 4) : at::Tensor(); },
      .may_miss = [](const std::string& name) { return name == "bias"; },
      .may_ignore = [](const std::string& name) { return name == "unused"; }};
  EXPECT_EQ(load_message(*layer, weights, rules), "");
  EXPECT_EQ(layer->weight.sum().item<float>(), 15.0f);
  const LoadRules strict{.source = rules.source};
  EXPECT_THAT(load_message(*layer, weights, strict), HasSubstr("1 missing: bias [2]; 1 unknown: unused [1]"));
}

TEST_F(StateDictTest, SavedModulesAreLoadedAgain) {
  torch::nn::Linear layer(3, 2), other(3, 2);
  save(*layer, path_, "F16");
  EXPECT_THAT(StateDict::open(path_).tensors()[1].dtype, "F16");
  load(*other, StateDict::open(path_));
  EXPECT_TRUE(at::equal(other->weight, layer->weight.to(at::kHalf).to(at::kFloat)));
  EXPECT_THROW(save(*layer, path_, "I32"), Error);
}

}  // namespace
}  // namespace vtissue::models
