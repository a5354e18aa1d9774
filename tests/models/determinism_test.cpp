// DESIGN 4: within a numerics class a row's result does not depend on its neighbours in the batch, on threads, or on
// how much is in flight. Every engine at the published networks' widths (a few layers deep), where kernels and block
// sizes are the ones that users run.

#include <cmath>
#include <functional>
#include <thread>

#include "models/autoencoder_kl/autoencoder_kl.h"
#include "models/cancerfoundation/cancerfoundation.h"
#include "models/deepspot/deepspot.h"
#include "models/engines.h"
#include "models/stmdit/stmdit.h"
#include "models/taesd/taesd.h"
#include "models/vit/vit.h"
#include "tests/models/golden.h"
#include "tests/support/temp_folder.h"

namespace vtissue::models {
namespace {

constexpr int kCallers = 3;

std::vector<float> draws(std::size_t count, std::uint64_t seed) {
  return to_vector(
      at::randn({static_cast<std::int64_t>(count)}, at::make_generator<at::CPUGeneratorImpl>(seed), at::kFloat));
}

/// No weight at a special value, none so large that results overflow.
void randomize(torch::nn::Module& network) {
  const at::NoGradGuard no_grad;
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(5);
  for (const at::Tensor& p : network.parameters()) {
    const double std = p.dim() > 1 ? 0.7 / std::sqrt(static_cast<double>(p.numel() / p.size(0))) : 0.1;
    p.add_(at::randn(p.sizes(), generator, at::kFloat), std);
  }
}

template <typename T>
std::span<const T> rows_in(const std::vector<T>& all, int first, int n, std::size_t row) {
  return std::span(all).subspan(static_cast<std::size_t>(first) * row, static_cast<std::size_t>(n) * row);
}

/// Rows first..first+n-1 of a fixed input, computed by an engine.
using Rows = std::function<std::vector<float>(int first, int n)>;

/// An engine at a network's real sizes.
struct Case {
  std::string name;
  int rows = 0;  ///< of the fixed input: more than a micro-batch
  int micro_batch = 0;
  std::function<nlohmann::json()> config;
  std::function<std::shared_ptr<torch::nn::Module>(const nlohmann::json&)> network;
  std::function<Rows(const std::filesystem::path&, std::shared_ptr<Device>)> open;
};

Rows denoiser_rows(const std::filesystem::path& folder, std::shared_ptr<Device> device, int tiles) {
  const std::shared_ptr<Denoiser> engine = Denoiser::load(folder, std::move(device));
  const auto latent =
      static_cast<std::size_t>(engine->latent_channels() * engine->latent_size() * engine->latent_size());
  const auto m = static_cast<std::size_t>(engine->morphology_dim());
  const auto g = static_cast<std::size_t>(engine->gene_dim() * engine->gene_vectors());
  const auto count = static_cast<std::size_t>(tiles);
  std::vector<std::uint8_t> has(count, 1), has_gene(count, 1);
  has_gene[1] = 0;
  return [engine, latent, m, g, has, has_gene, x = draws(count * latent, 1), y = draws(count * m, 2),
          z = draws(count * g, 3)](int first, int n) {
    std::vector<float> out(static_cast<std::size_t>(n) * latent);
    const TileConditions conditions{.morphology = rows_in(y, first, n, m),
                                    .has_morphology = rows_in(has, first, n, 1),
                                    .gene = rows_in(z, first, n, g),
                                    .has_gene = rows_in(has_gene, first, n, 1)};
    engine->predict(rows_in(x, first, n, latent), n, engine->predicts_velocity() ? 0.37 : 437.5, conditions,
                    {.morphology = 2, .gene = 1.5f}, out);
    return out;
  };
}

Case stmdit(const std::string& name, int dim, int heads, const nlohmann::json& more, int rows = 3) {
  return {.name = name,
          .rows = rows,
          .micro_batch = 4,
          .config =
              [=] {
                nlohmann::json config = {
                    {"architecture", "stmdit"}, {"objective", "ddpm"},   {"dim", dim},        {"depth", 2},
                    {"heads", heads},           {"latent_channels", 16}, {"latent_size", 32}, {"morphology_dim", 1536}};
                config.update(more);
                return config;
              },
          .network = [](const nlohmann::json& config) { return Stmdit(parse_stmdit_config(config)).ptr(); },
          .open = [rows](const auto& folder, auto device) { return denoiser_rows(folder, device, rows); }};
}

std::vector<std::uint8_t> pixels(std::size_t count) {
  std::vector<std::uint8_t> rgb(count);
  for (std::size_t i = 0; i < count; ++i) rgb[i] = static_cast<std::uint8_t>((i * 2654435761u) >> 24);
  return rgb;
}

Case vit(const std::string& name, const nlohmann::json& config) {
  return {.name = name,
          .rows = 5,
          .micro_batch = 4,
          .config = [=] { return config; },
          .network = [](const nlohmann::json& c) { return Vit(parse_vit_config(c)).ptr(); },
          .open = [](const auto& folder, auto device) -> Rows {
            const std::shared_ptr<MorphologyEncoder> engine = MorphologyEncoder::load(folder, device);
            constexpr std::size_t kTile = 224 * 224 * 3;
            return [engine, rgb = pixels(5 * kTile)](int first, int n) {
              std::vector<float> out(static_cast<std::size_t>(n * engine->dim()));
              engine->encode(rows_in(rgb, first, n, kTile), n, 224, out);
              return out;
            };
          }};
}

std::vector<std::string> symbols(int count) {
  std::vector<std::string> result;
  for (int i = 0; i < count; ++i) result.push_back("G" + std::to_string(i));
  return result;
}

constexpr int kGenes = 1199;

Case cancerfoundation() {
  return {
      .name = "cancerfoundation",
      .rows = 3,
      .micro_batch = 2,
      .config =
          [] {
            nlohmann::json vocabulary = {{"<cls>", 0}, {"<pad>", 1}, {"<eoc>", 2}};
            for (const std::string& gene : symbols(kGenes)) vocabulary[gene] = vocabulary.size();
            return nlohmann::json{
                {"architecture", "cancerfoundation"}, {"layers", 2}, {"genes", symbols(kGenes)}, {"vocab", vocabulary}};
          },
      .network =
          [](const nlohmann::json& config) {
            return CancerFoundation(parse_cancerfoundation_config(config, kGenes + 3)).ptr();
          },
      .open = [](const auto& folder, auto device) -> Rows {
        const std::shared_ptr<GeneEncoder> engine = GeneEncoder::load(folder, device);
        std::vector<float> values = draws(3 * kGenes, 4);
        for (float& v : values) v = std::max(v, 0.0f);
        return [engine, values](int first, int n) {
          std::vector<float> cls(static_cast<std::size_t>(n * engine->dim()));
          std::vector<float> tokens(cls.size() * kGenes);
          engine->encode(rows_in(values, first, n, kGenes), n, cls, tokens);
          // cls, then tokens, of each row.
          std::vector<float> out;
          const auto dim = static_cast<std::size_t>(engine->dim());
          for (int i = 0; i < n; ++i) {
            for (const float v : rows_in(cls, i, 1, dim)) out.push_back(v);
            for (const float v : rows_in(tokens, i, 1, dim * kGenes)) out.push_back(v);
          }
          return out;
        };
      }};
}

constexpr std::size_t kFeatures = 1536;
constexpr int kPredicted = 500;

Case deepspot() {
  return {.name = "deepspot",
          .rows = 11,
          .micro_batch = 8,
          .config =
              [] {
                return nlohmann::json{
                    {"architecture", "deepspot"}, {"feature_dim", kFeatures}, {"genes", symbols(kPredicted)}};
              },
          .network = [](const nlohmann::json& config) { return DeepSpot(parse_deepspot_config(config)).ptr(); },
          .open = [](const auto& folder, auto device) -> Rows {
            const std::shared_ptr<ExpressionPredictor> engine = ExpressionPredictor::load(folder, device);
            return [engine, spot = draws(11 * kFeatures, 1), sub = draws(11 * 9 * kFeatures, 2),
                    neighbors = draws(11 * 8 * kFeatures, 3),
                    counts = std::vector<std::int32_t>{8, 0, 3, 8, 1, 6, 6, 2, 0, 8, 5}](int first, int n) {
              std::vector<float> out(static_cast<std::size_t>(n * kPredicted));
              engine->predict(rows_in(spot, first, n, kFeatures), rows_in(sub, first, n, 9 * kFeatures),
                              rows_in(neighbors, first, n, 8 * kFeatures), rows_in(counts, first, n, 1), n, out);
              return out;
            };
          }};
}

/// Three images encoded and decoded: of each row the latents, then the pixels.
Rows autoencoder_rows(const std::filesystem::path& folder, std::shared_ptr<Device> device, int side) {
  const std::shared_ptr<Autoencoder> engine = Autoencoder::load(folder, std::move(device));
  const auto image = static_cast<std::size_t>(side * side * 3),
             latent = static_cast<std::size_t>(side * side / 64 * 16);
  return [engine, side, image, latent, rgb = pixels(3 * image)](int first, int n) {
    const auto count = static_cast<std::size_t>(n);
    std::vector<float> z(count * latent);
    engine->encode(rows_in(rgb, first, n, image), n, side, side, z);
    std::vector<std::uint8_t> decoded(count * image);
    engine->decode(z, n, side / 8, side / 8, decoded);
    std::vector<float> out;
    for (int i = 0; i < n; ++i) {
      for (const float v : rows_in(z, i, 1, latent)) out.push_back(v);
      for (const std::uint8_t v : rows_in(decoded, i, 1, image)) out.push_back(v);
    }
    return out;
  };
}

Case taesd() {
  return {.name = "taesd",
          .rows = 3,
          .micro_batch = 2,
          .config =
              [] {
                return nlohmann::json{{"architecture", "taesd"}};
              },
          .network = [](const nlohmann::json& config) { return Taesd(parse_taesd_config(config)).ptr(); },
          .open = [](const auto& folder, auto device) { return autoencoder_rows(folder, device, 128); }};
}

Case sd3_vae() {
  return {
      .name = "sd3_vae",
      .rows = 3,
      .micro_batch = 2,
      .config =
          [] {
            return nlohmann::json{{"_class_name", "AutoencoderKL"},
                                  {"down_block_types", std::vector<std::string>(4, "DownEncoderBlock2D")},
                                  {"up_block_types", std::vector<std::string>(4, "UpDecoderBlock2D")},
                                  {"block_out_channels", {128, 256, 512, 512}},
                                  {"layers_per_block", 1},
                                  {"latent_channels", 16},
                                  {"in_channels", 3},
                                  {"out_channels", 3},
                                  {"act_fn", "silu"},
                                  {"use_quant_conv", false},
                                  {"use_post_quant_conv", false},
                                  {"scaling_factor", 1.5305},
                                  {"shift_factor", 0.0609}};
          },
      .network = [](const nlohmann::json& config) { return AutoencoderKl(parse_autoencoder_kl_config(config)).ptr(); },
      .open = [](const auto& folder, auto device) { return autoencoder_rows(folder, device, 64); }};
}

const nlohmann::json kUni2h = {{"architecture", "vit_giant_patch14_224"},
                               {"model_args",
                                {{"img_size", 224},
                                 {"patch_size", 14},
                                 {"depth", 2},
                                 {"num_heads", 24},
                                 {"init_values", 1e-5},
                                 {"embed_dim", 1536},
                                 {"mlp_ratio", 2.66667 * 2},
                                 {"no_embed_class", true},
                                 {"mlp_layer", "SwiGLUPacked"},
                                 {"reg_tokens", 8}}}};
const nlohmann::json kUni = {{"architecture", "vit_large_patch16_224"},
                             {"model_args", {{"depth", 2}, {"init_values", 1e-5}}}};
const nlohmann::json kBothPma = {
    {"variant", "adaln+xattn"}, {"xattn_mode", "separate"}, {"pool", "pma"}, {"gene_dim", 256}, {"gene_vectors", 40}};
const nlohmann::json kConcatFlow = {
    {"variant", "adaln+xattn"}, {"xattn_mode", "concat"}, {"pool", "cls"}, {"gene_dim", 256}, {"objective", "flow"}};

class Determinism : public ::testing::TestWithParam<std::tuple<Case, Dtype>> {};

TEST_P(Determinism, ARowsBitsDependOnThatRowAlone) {
  const auto& [test, dtype] = GetParam();
  const vtissue::testing::TempFolder folder;
  nlohmann::json config = test.config();
  config["micro_batch"] = test.micro_batch;
  std::ofstream(folder / "config.json") << config;
  {
    const auto network = test.network(config);
    randomize(*network);
    save(*network, folder / "model.safetensors");
  }
  std::vector<float> all;
  const auto expected = [&](int first, int n) {
    const std::size_t row = all.size() / static_cast<std::size_t>(test.rows);
    const auto part = rows_in(all, first, n, row);
    return std::vector<float>(part.begin(), part.end());
  };
  for (const int threads : {1, 2, 3, 4}) {
    SCOPED_TRACE(std::to_string(threads) + " threads");
    const Rows rows = test.open(folder.path(), Device::open("cpu", threads, dtype));
    if (all.empty()) {
      all = rows(0, test.rows);
      ASSERT_TRUE(std::all_of(all.begin(), all.end(), [](float v) { return std::isfinite(v); }));
      ASSERT_NE(expected(0, 1), expected(1, 1));
    } else {
      EXPECT_TRUE(rows(0, test.rows) == all);
    }
    if (threads > 2) continue;  // positions: each row first, and each row last, in its batch
    for (int first = 1; first < test.rows; ++first) {
      EXPECT_TRUE(rows(first, test.rows - first) == expected(first, test.rows - first)) << "from row " << first;
      EXPECT_TRUE(rows(first, 1) == expected(first, 1)) << "row " << first << " alone";
    }
    if (threads != 2) continue;
    std::vector<std::vector<float>> results(kCallers);
    {
      std::vector<std::jthread> callers;
      for (int i = 0; i < kCallers; ++i)
        callers.emplace_back([&, i] { results[static_cast<std::size_t>(i)] = rows(i, test.rows - i); });
    }
    for (int i = 0; i < kCallers; ++i) {
      EXPECT_TRUE(results[static_cast<std::size_t>(i)] == expected(i, test.rows - i)) << "several in flight";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Engines, Determinism,
                         ::testing::Combine(::testing::Values(stmdit("pixcell_b", 768, 12, nlohmann::json::object(), 5),
                                                              stmdit("pixcell_256", 1152, 16, nlohmann::json::object()),
                                                              stmdit("stmdit_both_pma", 768, 12, kBothPma),
                                                              stmdit("stmdit_concat_flow", 768, 12, kConcatFlow),
                                                              vit("uni2h", kUni2h), vit("uni", kUni),
                                                              cancerfoundation(), deepspot(), taesd(), sd3_vae()),
                                            ::testing::Values(Dtype::kF32, Dtype::kBF16)),
                         [](const auto& test) {
                           return std::get<0>(test.param).name + "_" + std::string(to_string(std::get<1>(test.param)));
                         });

}  // namespace
}  // namespace vtissue::models
