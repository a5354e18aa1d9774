// A release as nobody here has seen it: model.pt beside training_config.yaml, with names of its own.

#include <fstream>

#include "models/checkpoint/name_map.h"
#include "models/checkpoint/self_check.h"
#include "models/engines.h"
#include "models/model_folder.h"
#include "models/stmdit/checkpoint.h"
#include "models/stmdit/stmdit.h"
#include "tests/models/golden.h"
#include "tests/support/temp_folder.h"

namespace vtissue::models {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

const nlohmann::json kNetwork = {{"architecture", "stmdit"},
                                 {"variant", "adaln+xattn"},
                                 {"pool", "pma"},
                                 {"pma_seeds", 3},
                                 {"objective", "flow"},
                                 {"dim", 24},
                                 {"depth", 2},
                                 {"heads", 3},
                                 {"latent_channels", 4},
                                 {"latent_size", 8},
                                 {"morphology_dim", 12},
                                 {"gene_dim", 8},
                                 {"gene_vectors", 4},
                                 {"micro_batch", 2},
                                 {"name", "release"}};

/// What a user finds out with 'vtissue weights list'.
nlohmann::json the_map() {
  return {{"prefix", "ema_model.net."},
          {"rules",
           {{{"ours", "ge."}, {"file", "gene_stream."}},
            {{"ours", "blocks.*.ge_attn.to_k."}, {"file", "blocks.*.gene_attn.kv."}, {"part", 1}, {"parts", 2}},
            {{"ours", "blocks.*.ge_attn.to_v."}, {"file", "blocks.*.gene_attn.kv."}, {"part", 2}, {"parts", 2}},
            {{"ours", "blocks.*.ge_attn."}, {"file", "blocks.*.gene_attn."}}}},
          {"ignored", {"ema_decay"}},
          {"config", kNetwork}};
}

class Release : public ::testing::Test {
 protected:
  void SetUp() override {
    Stmdit network(parse_stmdit_config(kNetwork));
    network->initialize(3);
    const at::NoGradGuard no_grad;
    at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(4);
    for (const auto& p : network->parameters()) p.add_(at::randn(p.sizes(), generator, at::kFloat), 0.1);
    fs::create_directories(plain());
    fs::create_directories(release());
    save(*network, plain() / "model.safetensors");
    std::ofstream(plain() / "config.json") << kNetwork;

    const StateDict weights = StateDict::open(plain() / "model.safetensors");
    std::map<std::string, at::Tensor> ours;
    for (const TensorInfo& info : weights.tensors()) ours.emplace(info.name, weights.get(info.name));
    const nlohmann::json map = the_map();
    const auto theirs = parse_name_map(map).as_file(stmdit_original_names().as_file(ours));
    EXPECT_TRUE(theirs.contains("ema_model.net.blocks.1.gene_attn.kv.weight"));
    EXPECT_TRUE(theirs.contains("ema_model.net.blocks.0.cross_attn.kv_linear.bias"));
    EXPECT_TRUE(theirs.contains("ema_model.net.gene_stream.pma.seeds"));
    const at::Tensor decay = at::full({1}, 0.9999f);
    std::vector<at::Tensor> kept;
    std::vector<SafetensorsOutput> outputs;
    const auto add = [&](const std::string& name, const at::Tensor& tensor) {
      kept.push_back(tensor.contiguous());
      outputs.push_back({name, "F32", tensor.sizes().vec(),
                         std::span(static_cast<const std::byte*>(kept.back().const_data_ptr()), tensor.nbytes())});
    };
    for (const auto& [name, tensor] : theirs) add(name, tensor);
    add("ema_decay", decay);
    write_safetensors(release() / "model.pt", std::move(outputs));  // the content decides, not the name
    std::ofstream(release() / "training_config.yaml") << "model: {width: 24, layers: 2}\n";
    expected_ = predict(*Denoiser::load(plain(), device_));
  }

  fs::path plain() const { return folder_ / "plain"; }
  fs::path release() const { return folder_ / "release"; }

  static std::vector<float> predict(const Denoiser& denoiser) {
    const auto values = [](std::int64_t n, std::uint64_t seed) {
      return to_vector(at::randn({n}, at::make_generator<at::CPUGeneratorImpl>(seed), at::kFloat));
    };
    const auto x = values(std::int64_t{3} * 4 * 8 * 8, 1), morphology = values(std::int64_t{3} * 12, 2),
               gene = values(std::int64_t{3} * 4 * 8, 3);
    const std::vector<std::uint8_t> all(3, 1);
    std::vector<float> out(x.size());
    denoiser.predict(x, 3, 0.4, {.morphology = morphology, .has_morphology = all, .gene = gene, .has_gene = all},
                     Guidance(), out);
    return out;
  }

  static LoadOptions options(const nlohmann::json& map) {
    return {.name_map = map.dump(), .name_map_origin = "map.yaml"};
  }

  std::string refused(ErrorCode expected, const LoadOptions& options = {}) const {
    const auto [code, text] = error_of([&] { (void)Denoiser::load(release(), device_, options); });
    EXPECT_EQ(code, expected) << text;
    return text;
  }

  vtissue::testing::TempFolder folder_;
  std::shared_ptr<Device> device_ = Device::open("cpu", 1);
  std::vector<float> expected_;
};

TEST_F(Release, LoadsThroughAMapAndComputesTheSame) {
  EXPECT_EQ(predict(*Denoiser::load(release(), device_, options(the_map()))), expected_);
  // The same map in the folder.
  std::ofstream(release() / "name_map.json") << the_map().dump(2);
  const auto engine = Denoiser::load(release(), device_);
  EXPECT_EQ(predict(*engine), expected_);
  EXPECT_EQ(engine->info().name, "release");
  EXPECT_EQ(engine->info().sha256, Denoiser::load(release(), device_, options(the_map()))->info().sha256)
      << "where the map is from does not matter";
}

TEST_F(Release, TheMapIsPartOfTheModelsDigest) {
  nlohmann::json other = the_map();
  const std::string before = Denoiser::load(release(), device_, options(other))->info().sha256;
  other["config"]["interpolation_scale"] = 2;
  EXPECT_NE(Denoiser::load(release(), device_, options(other))->info().sha256, before);
}

TEST_F(Release, ConfigJsonHasTheLastWord) {
  std::ofstream(release() / "config.json") << R"({"name": "from the file"})";
  EXPECT_EQ(Denoiser::load(release(), device_, options(the_map()))->info().name, "from the file");
}

TEST_F(Release, WithoutAMapItSaysWhatIsMissing) {
  EXPECT_THAT(refused(ErrorCode::kModel), HasSubstr("config.json"));
  std::ofstream(release() / "config.json") << kNetwork;
  EXPECT_THAT(refused(ErrorCode::kModel), HasSubstr("ema_model.net.gene_stream.pma.seeds"));
}

TEST_F(Release, AMapThatDoesNotFitNamesWhatItHasAndWhatIsThere) {
  nlohmann::json map = the_map();
  map["prefix"] = "model.";
  map["ignored"] = nlohmann::json::array();
  const std::string text = refused(ErrorCode::kUsage, options(map));
  EXPECT_THAT(text, HasSubstr("map.yaml"));
  EXPECT_THAT(text, HasSubstr("model.gene_stream."));
  EXPECT_THAT(text, HasSubstr("ema_model.net."));
  // A map that is only offered is passed over; what is then missing is said.
  LoadOptions offered = options(map);
  offered.name_map_if_it_fits = true;
  EXPECT_THAT(refused(ErrorCode::kModel, offered), HasSubstr("config.json"));
  EXPECT_EQ(predict(*Denoiser::load(plain(), device_, offered)), expected_);
}

TEST_F(Release, TwoTensorsUnderOneNameAreNamed) {
  nlohmann::json map = the_map();
  map["rules"].push_back({{"ours", "t_block.1.weight"}, {"file", "x_embedder.proj.weight"}});
  const std::string text = refused(ErrorCode::kUsage, options(map));
  EXPECT_THAT(text, HasSubstr("'ema_model.net.t_block.1.weight' and 'ema_model.net.x_embedder.proj.weight'"));
  EXPECT_THAT(text, HasSubstr("both become 't_block.1.weight'"));
}

TEST_F(Release, WhatAMapLeavesIsListedWithTheRulesThatFoundNothing) {
  nlohmann::json map = the_map();
  map["rules"][0]["file"] = "genes.";
  const std::string text = refused(ErrorCode::kModel, options(map));
  EXPECT_THAT(text, HasSubstr("gene_stream.pma.seeds"));
  EXPECT_THAT(text, HasSubstr("map.yaml has rules for genes."));
}

TEST_F(Release, AStoredCaseIsCheckedThroughTheMap) {
  const at::Tensor x = at::randn({1, 4, 8, 8}), t = at::scalar_tensor(0.4, at::kFloat), morphology = at::randn({1, 12}),
                   gene = at::randn({1, 32});
  std::vector<SafetensorsOutput> inputs;
  const auto add = [&](const char* name, const at::Tensor& tensor) {
    inputs.push_back({name, "F32", tensor.sizes().vec(),
                      std::span(static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes())});
  };
  add("x", x);
  add("t", t);
  add("morphology", morphology);
  add("gene", gene);
  write_safetensors(folder_ / "inputs.safetensors", inputs);
  store_case(plain(), folder_ / "inputs.safetensors", folder_ / "case.safetensors", device_);
  const auto checked = check_model(release(), folder_ / "case.safetensors", device_, 0, options(the_map()));
  ASSERT_EQ(checked.size(), 1u);
  EXPECT_TRUE(checked[0].agrees);
}

/// models.md 2.3 as a user would write it down: PixCell's original names, taken over to diffusers'.
const char* const kOriginalNames = R"({"rules": [
  {"ours": "pos_embed.proj.", "file": "x_embedder.proj."},
  {"ours": "adaln_single.emb.timestep_embedder.linear_1.", "file": "t_embedder.mlp.0."},
  {"ours": "adaln_single.emb.timestep_embedder.linear_2.", "file": "t_embedder.mlp.2."},
  {"ours": "adaln_single.linear.", "file": "t_block.1."},
  {"ours": "caption_projection.linear_1.", "file": "y_embedder.y_proj.fc1."},
  {"ours": "caption_projection.linear_2.", "file": "y_embedder.y_proj.fc2."},
  {"ours": "caption_projection.uncond_embedding", "file": "y_embedder.y_embedding"},
  {"ours": "proj_out.", "file": "final_layer.linear."},
  {"ours": "scale_shift_table", "file": "final_layer.scale_shift_table"},
  {"ours": "transformer_blocks.*.attn1.to_q.", "file": "blocks.*.attn.qkv.", "part": 1, "parts": 3},
  {"ours": "transformer_blocks.*.attn1.to_k.", "file": "blocks.*.attn.qkv.", "part": 2, "parts": 3},
  {"ours": "transformer_blocks.*.attn1.to_v.", "file": "blocks.*.attn.qkv.", "part": 3, "parts": 3},
  {"ours": "transformer_blocks.*.attn1.to_out.0.", "file": "blocks.*.attn.proj."},
  {"ours": "transformer_blocks.*.attn2.to_q.", "file": "blocks.*.cross_attn.q_linear."},
  {"ours": "transformer_blocks.*.attn2.to_k.", "file": "blocks.*.cross_attn.kv_linear.", "part": 1, "parts": 2},
  {"ours": "transformer_blocks.*.attn2.to_v.", "file": "blocks.*.cross_attn.kv_linear.", "part": 2, "parts": 2},
  {"ours": "transformer_blocks.*.attn2.to_out.0.", "file": "blocks.*.cross_attn.proj."},
  {"ours": "transformer_blocks.*.ff.net.0.proj.", "file": "blocks.*.mlp.fc1."},
  {"ours": "transformer_blocks.*.ff.net.2.", "file": "blocks.*.mlp.fc2."},
  {"ours": "transformer_blocks.*.scale_shift_table", "file": "blocks.*.scale_shift_table"}],
  "ignored": ["pos_embed"]})";

TEST(ReleaseOfPixCell, APyTorchFileGoesOverFromOneLayoutIntoTheOther) {
  const vtissue::testing::TempFolder folder;
  fs::create_directories(folder / "release");
  fs::create_directories(folder / "plain");
  fs::copy_file(golden_path("pixcell_256/original.pth"), folder / "release/model.pt");
  fs::copy_file(golden_path("pixcell_256/original.pth"), folder / "plain/model.pth");
  fs::copy_file(golden_path("pixcell_256/config.json"), folder / "plain/config.json");
  nlohmann::json map = nlohmann::json::parse(kOriginalNames);
  map["config"] = golden_json("pixcell_256/config.json");
  const auto device = Device::open("cpu", 1);
  const StateDict io = golden("pixcell_256/io.safetensors");
  const auto x = to_vector(io.get("x")), y = to_vector(io.get("y"));
  const auto n = static_cast<int>(io.get("x").size(0));
  const std::vector<std::uint8_t> all(static_cast<std::size_t>(n), 1);
  const auto predict = [&](const std::string& name, const LoadOptions& options) {
    std::vector<float> out(x.size());
    Denoiser::load(folder / name, device, options)
        ->predict(x, n, 499, {.morphology = y, .has_morphology = all, .gene = {}, .has_gene = {}}, Guidance(), out);
    return out;
  };
  EXPECT_EQ(predict("release", {.name_map = map.dump(), .name_map_origin = "map.yaml"}), predict("plain", {}));
}

}  // namespace
}  // namespace vtissue::models
