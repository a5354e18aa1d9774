#include "models/stmdit/stmdit.h"

#include <torch/optim/adam.h>

#include "core/hash.h"
#include "models/stmdit/position_table.h"
#include "tests/models/stmdit_fixture.h"

namespace vtissue::models {
namespace {

using ::testing::HasSubstr;
using Pool = StmditConfig::Pool;
using CrossAttention = StmditConfig::CrossAttention;

// Deviation of the reference from float64 is 7e-6 of the maximum (golden/README.md); with our float32 sinusoid 5e-7.
constexpr double kTolerance = 5e-6;

double relative_error(const at::Tensor& ours, const at::Tensor& reference) {
  EXPECT_EQ(ours.sizes(), reference.sizes());
  return ((ours - reference).abs().max() / reference.abs().max()).item<double>();
}

class PixCellGolden : public ::testing::TestWithParam<std::pair<std::string, std::string>> {};

TEST_P(PixCellGolden, OutputsAreTheReferences) {
  const at::NoGradGuard no_grad;
  Stmdit network = load_pixcell_golden(GetParam().first, GetParam().second);
  expect_pixcell_golden(GetParam().first, kTolerance,
                        [&](const StmditInput& input) { return network->forward(input); });
}

TEST_P(PixCellGolden, IntermediatesAreTheReferences) {
  const at::NoGradGuard no_grad;
  const auto& [folder, file] = GetParam();
  Stmdit network = load_pixcell_golden(folder, file);
  const StateDict io = golden(folder + "/io.safetensors");
  const auto expect = [&](const std::string& name, const at::Tensor& ours) {
    const at::Tensor expected = io.get("a0/" + name);
    EXPECT_LT(relative_error(ours.expand(expected.sizes()), expected), kTolerance) << name;
  };
  auto modules = network->named_modules();
  const at::Tensor t = io.get("t_a").slice(0, 0, 1);
  expect("time_sinusoid", timestep_sinusoid(t));
  auto* adaln = modules["adaln_single"]->as<AdaLnSingle>();
  const at::Tensor t_emb = adaln->embed(t);
  expect("t_emb", t_emb);
  const at::Tensor modulation = adaln->modulation(t_emb);
  expect("adaln_6d", modulation.flatten(1));
  const StmditConfig& c = network->config();
  const at::Tensor x = io.get("x").slice(0, 0, 1);
  const at::Tensor map = modules["pos_embed.proj"]->as<torch::nn::Conv2d>()->forward(x);
  const at::Tensor tokens =
      map.flatten(2).transpose(1, 2) + position_table(c.dim, {.rows = static_cast<int>(map.size(2)),
                                                              .columns = static_cast<int>(map.size(3)),
                                                              .base = c.latent_size / c.patch,
                                                              .interpolation = c.interpolation_scale});
  expect("tokens_after_patch_and_pos", tokens);
  at::Tensor y = io.get("y").slice(0, 0, 1);
  if (c.morphology_tokens > 1) y = y + network->named_buffers()["y_pos_embed.y_pos_embed"];
  const at::Tensor context = modules["caption_projection"]->as<MorphologyProjection>()->forward(y);
  expect("caption_projected", context);

  const auto m = (network->named_parameters()["transformer_blocks.0.scale_shift_table"] + modulation).chunk(6, 1);
  const at::Tensor h = plain_layer_norm(tokens) * (1 + m[1]) + m[0];
  const at::Tensor attended = modules["transformer_blocks.0.attn1"]->as<DitAttention>()->forward(h, h);
  expect("block0_attn1", attended);
  const at::Tensor after = tokens + m[2] * attended;
  expect("block0_attn2", modules["transformer_blocks.0.attn2"]->as<DitAttention>()->forward(after, context));
  at::Tensor state = tokens;
  for (int i = 0; i < c.depth; ++i) {
    state =
        modules["transformer_blocks." + std::to_string(i)]->as<StmditBlock>()->forward(state, context, {}, modulation);
    if (i == 0) expect("block0", state);
  }
  expect("block_last", state);
}

INSTANTIATE_TEST_SUITE_P(Layouts, PixCellGolden, pixcell_goldens());

TEST(PixCell, HalfPrecisionFilesAreWidened) {
  const at::NoGradGuard no_grad;
  const StateDict io = golden("pixcell_256/io.safetensors");
  for (const std::string dtype : {"fp16", "bf16"}) {
    Stmdit network = load_pixcell_golden("pixcell_256", "weights_" + dtype + ".safetensors");
    const at::Tensor out = network->forward({.x = io.get("x"), .t = io.get("t_a"), .morphology = io.get("y")});
    EXPECT_LT(relative_error(out, io.get("out_a_" + dtype + "_weights")), kTolerance) << dtype;
  }
}

TEST(PixCell, ConditionTableIsComputedAsStored) {
  Stmdit network(parse_stmdit_config(golden_json("pixcell_1024/config.json")));
  const at::Tensor computed = network->named_buffers()["y_pos_embed.y_pos_embed"];
  EXPECT_LT(
      (computed - golden("pixcell_1024/weights.safetensors").get("y_pos_embed.y_pos_embed")).abs().max().item<double>(),
      1e-6);
}

TEST(PixCell, WeightsOfAnotherNetworkAreListed) {
  auto config = golden_json("pixcell_256/config.json");
  config["num_layers"] = 4;
  config["caption_channels"] = 44;
  Stmdit network(parse_stmdit_config(config));
  try {
    load_stmdit(*network, golden("pixcell_256/weights.safetensors"));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kModel);
    EXPECT_THAT(error.what(), HasSubstr("transformer_blocks.3.attn1.to_q.weight [36, 36]"));
    EXPECT_THAT(error.what(), HasSubstr("caption_projection.linear_1.weight is [36, 40], not [36, 44]"));
  }
}

TEST(PositionTable, EqualsTheReference) {
  const auto expected = golden_json("pos_tables/expected.json");
  const auto check = [&](const std::string& name, int dim, const PositionGrid& grid) {
    SCOPED_TRACE(name);
    const at::Tensor table = position_table(dim, grid);
    EXPECT_EQ(sha256({static_cast<const char*>(table.const_data_ptr()), table.nbytes()}),
              expected[name]["sha256_f32_le"]);
    EXPECT_NEAR(table.to(at::kDouble).sum().item<double>(), expected[name]["sum"].get<double>(), 1e-2);
  };
  check("image256_D1152", 1152, {.rows = 16, .columns = 16, .base = 16, .interpolation = 0.5});
  check("image512_D1152", 1152, {.rows = 32, .columns = 32, .base = 32, .interpolation = 1});
  check("image1024_D1152", 1152, {.rows = 64, .columns = 64, .base = 64, .interpolation = 2});
  check("image256_D768", 768, {.rows = 16, .columns = 16, .base = 16, .interpolation = 0.5});
  check("small_D24_4x4_base4_interp05", 24, {.rows = 4, .columns = 4, .base = 4, .interpolation = 0.5});
  check("small_D24_rect_h3_w5_base4_interp05", 24, {.rows = 3, .columns = 5, .base = 4, .interpolation = 0.5});
  check("uni16_D1536_base64", 1536, {.rows = 4, .columns = 4, .base = 64, .interpolation = 2, .phase = 4});
  check("uni4_D1536_base32_interp2_diffusers", 1536,
        {.rows = 2, .columns = 2, .base = 32, .interpolation = 2, .phase = 8});
  check("uni4_D1536_base32_interp1_original", 1536,
        {.rows = 2, .columns = 2, .base = 32, .interpolation = 1, .phase = 8});
}

TEST(TimestepSinusoid, EqualsTheReference) {
  const StateDict io = golden("pos_tables/io.safetensors");
  const at::Tensor ours = timestep_sinusoid(io.get("timesteps"));
  EXPECT_LT((ours - io.get("timestep_sinusoid_256")).abs().max().item<double>(), 1e-6);
}

class StmditVariants : public ::testing::TestWithParam<StmditVariant> {
 protected:
  static StmditConfig config() { return GetParam().config(); }
};

TEST_P(StmditVariants, FreshGenePathLeavesPixCellAsItIs) {
  if (GetParam().mode == CrossAttention::kConcat) GTEST_SKIP() << "further tokens move the softmax's mass";
  const at::NoGradGuard no_grad;
  Stmdit pixcell(small_stmdit_config());
  pixcell->initialize(7);
  shake(*pixcell, 8);
  Stmdit network(config());
  network->initialize(9);
  auto parameters = network->named_parameters();
  for (const auto& item : pixcell->named_parameters()) parameters[item.key()].copy_(item.value());
  auto buffers = network->named_buffers();
  for (const auto& item : pixcell->named_buffers()) buffers[item.key()].copy_(item.value());

  StmditInput input = small_stmdit_input(config());
  const at::Tensor expected = pixcell->forward(input);
  EXPECT_TRUE(at::equal(network->forward(input), expected));
  input.gene = at::Tensor();
  EXPECT_TRUE(at::equal(network->forward(input), expected));
}

TEST_P(StmditVariants, NullsReplaceWhatIsNotThere) {
  const at::NoGradGuard no_grad;
  Stmdit network(config());
  network->initialize(1);
  shake(*network, 2);
  const StmditInput all = small_stmdit_input(config());
  StmditInput some = all;
  some.has_morphology = torch::tensor({true, false});
  some.has_gene = torch::tensor({false, true});
  const at::Tensor mixed = network->forward(some);

  StmditInput no_gene = all;
  no_gene.gene = at::Tensor();
  StmditInput no_morphology = all;
  no_morphology.morphology = at::Tensor();
  EXPECT_LT(relative_error(mixed[0], network->forward(no_gene)[0]), 1e-6);
  EXPECT_LT(relative_error(mixed[1], network->forward(no_morphology)[1]), 1e-6);
  EXPECT_GT(relative_error(mixed[0], network->forward(all)[0]), 1e-4) << "expression has an effect";
  EXPECT_GT(relative_error(mixed[1], network->forward(all)[1]), 1e-4) << "morphology has an effect";

  some.gene = some.gene.clone();
  some.gene[0].fill_(1e6);
  EXPECT_TRUE(at::equal(network->forward(some), mixed)) << "values behind a false mask do not matter";
}

TEST_P(StmditVariants, EveryParameterThatIsUsedGetsAGradient) {
  Stmdit network(config());
  network->initialize(1);
  shake(*network, 2);
  StmditInput input = small_stmdit_input(config());
  input.has_gene = torch::tensor({true, false});
  network->forward(input).square().mean().backward();
  // With one key the softmax is constant, so queries and keys have no influence.
  const auto one_key = [&](const std::string& name) {
    const bool query_or_key = name.find(".to_q.") != std::string::npos || name.find(".to_k.") != std::string::npos;
    if (!query_or_key) return false;
    if (name.find("ge_attn") != std::string::npos) return config().gene_tokens() == 1;
    return name.find("attn2") != std::string::npos && !config().concat_attention();
  };
  for (const auto& item : network->named_parameters()) {
    const at::Tensor gradient = item.value().grad();
    if (one_key(item.key())) {
      EXPECT_FALSE(gradient.defined()) << item.key();
    } else {
      ASSERT_TRUE(gradient.defined()) << item.key();
      EXPECT_TRUE(at::isfinite(gradient).all().item<bool>()) << item.key();
    }
  }
}

TEST_P(StmditVariants, FreshNetworkLearns) {
  Stmdit network(config());
  network->initialize(4);
  torch::optim::Adam optimizer(network->parameters(), torch::optim::AdamOptions(3e-3));
  const StmditInput input = small_stmdit_input(config(), 4);
  const at::Tensor target = drawn({4, config().out_channels(), 8, 8}, 5);
  double first = 0, last = 0;
  for (int step = 0; step < 30; ++step) {
    optimizer.zero_grad();
    const at::Tensor loss = at::mse_loss(network->forward(input), target);
    loss.backward();
    optimizer.step();
    (step == 0 ? first : last) = loss.item<double>();
  }
  EXPECT_LT(last, 0.9 * first);
}

TEST_P(StmditVariants, WeightsSurviveTheFile) {
  const at::NoGradGuard no_grad;
  Stmdit network(config());
  network->initialize(1);
  shake(*network, 2);
  const std::filesystem::path path =
      std::filesystem::path(::testing::TempDir()) / ("stmdit_" + GetParam().name + ".safetensors");
  save(*network, path);
  Stmdit other(config());
  load_stmdit(*other, StateDict::open(path));
  std::filesystem::remove(path);
  EXPECT_TRUE(at::equal(network->forward(small_stmdit_input(config())), other->forward(small_stmdit_input(config()))));
}

INSTANTIATE_TEST_SUITE_P(
    All, StmditVariants,
    ::testing::Values(StmditVariant{"adaln", true, false, CrossAttention::kSeparate, Pool::kCls},
                      StmditVariant{"xattn_cls", false, true, CrossAttention::kSeparate, Pool::kCls},
                      StmditVariant{"xattn_mean", false, true, CrossAttention::kSeparate, Pool::kMean},
                      StmditVariant{"xattn_pma", false, true, CrossAttention::kSeparate, Pool::kPma},
                      StmditVariant{"xattn_none", false, true, CrossAttention::kSeparate, Pool::kNone},
                      StmditVariant{"xattn_pma_gated", false, true, CrossAttention::kSeparate, Pool::kPma, true},
                      StmditVariant{"xattn_reference_pma", false, true, CrossAttention::kSeparate, Pool::kPma, false,
                                    StmditConfig::PmaForm::kReference},
                      StmditVariant{"both_pma", true, true, CrossAttention::kSeparate, Pool::kPma},
                      StmditVariant{"concat_cls", false, true, CrossAttention::kConcat, Pool::kCls},
                      StmditVariant{"both_concat_none", true, true, CrossAttention::kConcat, Pool::kNone}),
    [](const auto& variant) { return variant.param.name; });

TEST(Stmdit, InitialWeightsDependOnTheSeedOnly) {
  StmditConfig c = small_stmdit_config();
  c.adaln = c.xattn = true;
  c.pool = Pool::kPma;
  const auto values = [&](std::uint64_t seed) {
    Stmdit network(c);
    network->initialize(seed);
    std::vector<at::Tensor> all;
    for (const at::Tensor& p : network->parameters()) all.push_back(p.detach().flatten());
    return at::cat(all);
  };
  EXPECT_TRUE(at::equal(values(1), values(1)));
  EXPECT_FALSE(at::equal(values(1), values(2)));
}

// What models.md 1.2 promises of the configuration: with expression switched off STMDiT is PixCell.
TEST(Stmdit, WithoutExpressionIsPixCell) {
  const at::NoGradGuard no_grad;
  const auto make = [](bool genes, CrossAttention mode, bool shortcut) {
    StmditConfig c = small_stmdit_config();
    c.xattn = c.adaln = genes;
    c.cross_attention = mode;
    c.one_token_shortcut = shortcut;
    Stmdit network(c);
    network->initialize(7);
    return network;
  };
  Stmdit pixcell = make(false, CrossAttention::kSeparate, false);
  shake(*pixcell, 8);
  StmditInput input = small_stmdit_input(small_stmdit_config());
  input.gene = at::Tensor();
  const at::Tensor expected = pixcell->forward(input);
  const auto with_pixcells_weights = [&](CrossAttention mode, bool shortcut) {
    Stmdit network = make(true, mode, shortcut);
    auto parameters = network->named_parameters();
    for (const auto& item : pixcell->named_parameters()) parameters[item.key()].copy_(item.value());
    auto buffers = network->named_buffers();
    for (const auto& item : pixcell->named_buffers()) buffers[item.key()].copy_(item.value());
    return network->forward(input);
  };
  EXPECT_TRUE(at::equal(with_pixcells_weights(CrossAttention::kSeparate, false), expected));
  EXPECT_LT(relative_error(with_pixcells_weights(CrossAttention::kSeparate, true), expected), 1e-5);
  // In concat mode the null tokens take their share of the softmax: it never is PixCell, and does not claim to be.
  EXPECT_GT(relative_error(with_pixcells_weights(CrossAttention::kConcat, true), expected), 1e-4);
}

TEST(Stmdit, OneTokenShortcutEqualsFullAttention) {
  const at::NoGradGuard no_grad;
  DitAttention attention(48, 4);
  const at::Tensor x = drawn({2, 9, 48}, 1), token = drawn({2, 1, 48}, 2);
  // The same token twice has the softmax weights 1/2 and 1/2.
  const at::Tensor full = attention->forward(x, token.expand({-1, 2, -1}));
  EXPECT_LT(relative_error(attention->forward(x, token).expand_as(full), full), 1e-5);
}

TEST(StmditConfig, NamedSizes) {
  nlohmann::json json = {
      {"size", "B"}, {"objective", "ddpm"}, {"latent_channels", 16}, {"latent_size", 32}, {"morphology_dim", 1536}};
  const auto sizes = [&](const std::string& size) {
    json["size"] = size;
    const StmditConfig c = parse_stmdit_config(json);
    return std::array{c.dim, c.depth, c.heads};
  };
  EXPECT_EQ(sizes("S"), (std::array{384, 12, 6}));
  EXPECT_EQ(sizes("B"), (std::array{768, 12, 12}));
  EXPECT_EQ(sizes("L"), (std::array{1024, 24, 16}));
  EXPECT_EQ(sizes("XL"), (std::array{1152, 28, 16}));
  json["dim"] = 1152;
  EXPECT_EQ(parse_stmdit_config(json).heads, 16);
  json["depth"] = 27;
  EXPECT_THROW((void)parse_stmdit_config(json), Error);
  json["size"] = "custom";
  EXPECT_THROW((void)parse_stmdit_config(json), Error) << "heads are missing";
  json["heads"] = 12;
  EXPECT_EQ(parse_stmdit_config(json).depth, 27);
  json["size"] = "M";
  EXPECT_THROW((void)parse_stmdit_config(json), Error);
}

// models.md 2.5: where a file has no table, the two layouts of a 512 model have different ones.
TEST(StmditConfig, ConditionTableOf512DependsOnTheLayout) {
  nlohmann::json diffusers = golden_json("pixcell_1024/config.json");
  diffusers["sample_size"] = 64;
  diffusers["interpolation_scale"] = 1;
  diffusers["caption_num_tokens"] = 4;
  const StmditConfig c = parse_stmdit_config(diffusers);
  const auto table = [](const StmditConfig& config) {
    return Stmdit(config)->named_buffers()["y_pos_embed.y_pos_embed"].squeeze(0);
  };
  const auto expected = [&](double interpolation) {
    return position_table(c.morphology_dim,
                          {.rows = 2, .columns = 2, .base = 32, .interpolation = interpolation, .phase = 8});
  };
  EXPECT_TRUE(at::equal(table(c), expected(2)));
  StmditConfig original = c;
  original.condition_interpolation_scale = original.interpolation_scale;
  EXPECT_TRUE(at::equal(table(original), expected(1)));
}

TEST(StmditConfig, IsReadAndChecked) {
  nlohmann::json json = {{"architecture", "stmdit"},
                         {"variant", "adaln+xattn"},
                         {"xattn_mode", "concat"},
                         {"pool", "cls"},
                         {"objective", "flow"},
                         {"dim", 192},
                         {"depth", 8},
                         {"heads", 3},
                         {"mlp_ratio", 4},
                         {"latent_channels", 16},
                         {"latent_size", 16},
                         {"patch", 2},
                         {"interpolation_scale", 0.25},
                         {"morphology_dim", 160},
                         {"gene_dim", 64},
                         {"gene_vectors", 1},
                         {"learn_sigma", false}};
  const StmditConfig c = parse_stmdit_config(json);
  EXPECT_TRUE(c.adaln && c.concat_attention());
  EXPECT_EQ(c.objective, StmditConfig::Objective::kFlow);
  EXPECT_EQ(c.out_channels(), 16);
  EXPECT_EQ(c.mlp_hidden(), 768);

  const auto message = [&](const std::string& key, const nlohmann::json& value) -> std::string {
    nlohmann::json changed = json;
    changed[key] = value;
    try {
      parse_stmdit_config(changed);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kModel);
      return error.what();
    }
    return {};
  };
  EXPECT_THAT(message("variant", "film"), HasSubstr("\"film\""));
  EXPECT_THAT(message("heads", 5), HasSubstr("5 heads"));
  EXPECT_THAT(message("dim", "wide"), HasSubstr("\"dim\""));
  EXPECT_THAT(message("learn_sigma", true), HasSubstr("learn_sigma"));
  EXPECT_THAT(message("latent_size", 15), HasSubstr("15"));
  EXPECT_THAT(message("morphology_tokens", 3), HasSubstr("3 morphology tokens"));
  nlohmann::json diffusers = golden_json("pixcell_256/config.json");
  diffusers["use_additional_conditions"] = true;
  EXPECT_THROW(parse_stmdit_config(diffusers), Error);
}

}  // namespace
}  // namespace vtissue::models
