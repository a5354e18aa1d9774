#include "models/cancerfoundation/cancerfoundation.h"
#include "models/deepspot/deepspot.h"
#include "models/stmdit/checkpoint.h"
#include "models/stmdit/stmdit.h"
#include "models/taesd/taesd.h"
#include "models/vit/vit.h"
#include "tests/models/golden.h"

// The reference implementations' own files, as torch.save writes them, give the reference's outputs.
namespace vtissue::models {
namespace {

constexpr double kTolerance = 1e-5;

TEST(PublishedFiles, PixCellTrainingCheckpoint) {
  const StateDict weights = golden("pixcell_256/original.pth");
  EXPECT_TRUE(weights.contains("x_embedder.proj.weight"));  // "state_dict." is gone
  Stmdit network(parse_stmdit_config(golden_json("pixcell_256/config.json")));
  load_stmdit(*network, weights);
  // Of the golden file, the joined tensors were taken before its maker rounded the weights, all others after.
  const StateDict exact = golden("pixcell_256/weights.safetensors");
  const StateDict rounded = golden("pixcell_256/weights_bf16.safetensors");
  const auto is_joined = [](const std::string& name) {
    for (const char* part : {"attn1.to_q", "attn1.to_k", "attn1.to_v", "attn2.to_k", "attn2.to_v"}) {
      if (name.find(part) != std::string::npos) return true;
    }
    return false;
  };
  for (const auto& item : network->named_parameters()) {
    const at::Tensor expected = (is_joined(item.key()) ? exact : rounded).get(item.key()).to(at::kFloat);
    EXPECT_TRUE(at::equal(item.value(), expected)) << item.key();
  }
}

TEST(PublishedFiles, TaesdDecoders) {
  const torch::NoGradGuard no_grad;
  const StateDict io = golden("taesd3_tiny/io.safetensors");
  for (const std::string name : {"taesd3", "flux2"}) {
    TaesdConfig config;
    config.width = 8;
    config.latent_channels = name == "flux2" ? 32 : 16;
    config.pooled_mid = name == "flux2";
    Taesd network(config);
    load(*network->decoder, golden("taesd3_tiny/" + name + "_decoder.pth"));
    network->eval();
    expect_close(network->decode(io.get(name + "/z_in")), io.get(name + "/decoded"), 2e-5);
  }
}

TEST(PublishedFiles, TimmEncoder) {
  const torch::NoGradGuard no_grad;
  Vit network(parse_vit_config(golden_json("uni2h/config.json")));
  load(*network, golden("uni2h/pytorch_model.bin"));
  network->eval();
  const StateDict io = golden("uni2h/io.safetensors");
  expect_close(network->forward(io.get("x")), io.get("out"), kTolerance);
}

TEST(PublishedFiles, CancerFoundationWithNestedNamesAndHeads) {
  const torch::NoGradGuard no_grad;
  CancerFoundation network(parse_cancerfoundation_config(golden_json("cancerfoundation/args.json"), 30));
  const StateDict weights = golden("cancerfoundation/model_nested.pth");
  load(*network, weights, cancerfoundation_load_rules(weights));
  network->eval();
  const StateDict io = golden("cancerfoundation/io.safetensors");
  const at::Tensor hidden = network->forward(io.get("enc/gene"), io.get("enc/expr"));
  expect_close(hidden.select(1, 0), io.get("enc/cls"), kTolerance);
}

TEST(PublishedFiles, DeepSpotStateDict) {
  // Which of the golden's cases it is, its tensors say.
  const StateDict file = golden("deepspot/state_dict.pth");
  int equal = 0;
  for (const std::string name : {"spot_subspot_neighbors_e10", "spot_subspot_neighbors_e3", "spot_e10",
                                 "spot_subspot_e4", "spot_neighbors_e10"}) {
    const StateDict other = golden("deepspot/" + name + ".weights.safetensors");
    if (other.tensors().size() != file.tensors().size()) continue;
    bool same = true;
    for (const TensorInfo& info : other.tensors()) {
      same = same && file.contains(info.name) && at::equal(file.get(info.name), other.get(info.name));
    }
    if (!same) continue;
    ++equal;
    const torch::NoGradGuard no_grad;
    const nlohmann::json all = golden_json("deepspot/config.json");
    DeepSpot network(
        parse_deepspot_config({{"feature_dim", all["input_size"]},
                               {"genes", std::vector<std::string>(all["output_size"].get<std::size_t>(), "gene")},
                               {"width", all["phi2rho_size"]},
                               {"ensemble", all["cases"][name]["n_ensemble"]},
                               {"context", all["cases"][name]["spot_context"]}}));
    load(*network, file);
    network->eval();
    const StateDict io = golden("deepspot/" + name + ".io.safetensors");
    expect_close(network->forward(io.get("x_spot").squeeze(1), io.get("x_sub"), io.get("x_nb")), io.get("out"),
                 kTolerance);
  }
  EXPECT_EQ(equal, 1);
}

TEST(StateDictGroups, TheFirstKnownGroupIsTaken) {
  EXPECT_TRUE(golden("pickles/nested.pth").contains("0.weight"));
  EXPECT_TRUE(StateDict::open(golden_path("pickles/nested.pth"), "ema").contains("0.weight"));
  EXPECT_TRUE(StateDict::open(golden_path("pickles/nested.pth"), "").contains("ema.0.weight"));
  EXPECT_EQ(error_of([] { StateDict::open(golden_path("pickles/nested.pth"), "none"); }).first, ErrorCode::kModel);
}

TEST(StateDictFolder, FindsItsWeights) {
  const StateDict sharded = StateDict::open(golden_path("safetensors_cases/sharded_ok"));
  EXPECT_EQ(sharded.tensors().size(), 4u);
  EXPECT_THAT(error_of([] { StateDict::open(golden_path("pickles")); }).second,
              testing::HasSubstr("pytorch_model.bin"));
}

}  // namespace
}  // namespace vtissue::models
