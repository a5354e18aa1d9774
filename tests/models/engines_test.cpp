#include "models/engines.h"

#include <cmath>

#include "core/safetensors.h"
#include "models/cancerfoundation/binning.h"
#include "models/cancerfoundation/cancerfoundation.h"
#include "models/deepspot/deepspot.h"
#include "models/preprocess.h"
#include "models/taesd/taesd.h"
#include "models/vit/vit.h"
#include "tests/models/golden.h"

namespace vtissue::models {
namespace {

namespace fs = std::filesystem;

/// A model folder of its own for each test.
class Engines : public testing::Test {
 protected:
  void SetUp() override {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fs::path(testing::TempDir()) / (std::string("vtissue_engines_") + test->name());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    torch::manual_seed(7);
  }
  void TearDown() override { fs::remove_all(folder_); }

  void write_config(const nlohmann::json& config) const { std::ofstream(folder_ / "config.json") << config.dump(); }
  fs::path weights() const { return folder_ / "model.safetensors"; }
  std::shared_ptr<Device> one_thread() const { return Device::open("cpu", 1); }
  std::shared_ptr<Device> two_threads() const { return Device::open("cpu", 2); }

  fs::path folder_;
};

std::vector<std::uint8_t> picture(std::size_t size) {
  std::vector<std::uint8_t> bytes(size);
  for (std::size_t i = 0; i < size; ++i)
    bytes[i] = static_cast<std::uint8_t>(128 + 90 * std::sin(0.37 * static_cast<double>(i)));
  return bytes;
}

std::vector<float> wave(std::size_t size, double step = 0.61) {
  std::vector<float> values(size);
  for (std::size_t i = 0; i < size; ++i) values[i] = static_cast<float>(std::sin(step * static_cast<double>(i)));
  return values;
}

template <typename T>
std::vector<T> rows_of(const std::vector<T>& values, std::size_t first, std::size_t count, std::size_t row) {
  return {values.begin() + static_cast<std::ptrdiff_t>(first * row),
          values.begin() + static_cast<std::ptrdiff_t>((first + count) * row)};
}

constexpr float kHuge = 3e38f;  // finite itself, but no sum of it is

/// A weight that is NaN is named when the model is loaded.
template <typename Engine>
void expect_nan_refused(const fs::path& folder, const std::string& tensor, const std::shared_ptr<Device>& device) {
  poison(folder / "model.safetensors", tensor, NAN);
  const auto [code, text] = error_of([&] { (void)Engine::load(folder, device); });
  EXPECT_EQ(code, ErrorCode::kModel);
  EXPECT_THAT(text, testing::HasSubstr("not finite: " + tensor));
}

/// What a network gives that is not finite never leaves the engine.
void expect_not_finite(const std::function<void()>& call, const std::string& what) {
  const auto [code, text] = error_of(call);
  EXPECT_EQ(code, ErrorCode::kModel);
  EXPECT_THAT(text, testing::HasSubstr(what + " that are not finite"));
}

// ---- MorphologyEncoder

class MorphologyEngine : public Engines {
 protected:
  static constexpr std::size_t kDim = 24;

  void SetUp() override {
    Engines::SetUp();
    config_ = {{"architecture", "vit"},
               {"name", "small"},
               {"image_px", 32},
               {"patch_px", 8},
               {"dim", kDim},
               {"depth", 2},
               {"heads", 3},
               {"mlp_ratio", 4},
               {"micro_batch", 3},
               {"layer_scale_init", 0.5}};
    write_config(config_);
    network_ = Vit(parse_vit_config(config_));
    network_->eval();
    save(*network_, weights(), "F32");
  }

  std::vector<float> encode(const MorphologyEncoder& engine, const std::vector<std::uint8_t>& rgb, int n,
                            int px) const {
    std::vector<float> out(static_cast<std::size_t>(n) * kDim);
    engine.encode(rgb, n, px, out);
    return out;
  }

  nlohmann::json config_;
  Vit network_{nullptr};
};

TEST_F(MorphologyEngine, IsTheNetworkAfterPreprocessing) {
  const torch::NoGradGuard no_grad;
  const auto engine = MorphologyEncoder::load(folder_, one_thread());
  EXPECT_EQ(engine->dim(), static_cast<int>(kDim));
  EXPECT_EQ(engine->info().name, "small");
  EXPECT_EQ(engine->info().sha256.size(), 64u);
  const auto tiles = picture(2 * 40 * 40 * 3);
  std::vector<float> planes(2 * 3 * 32 * 32);
  for (std::size_t i = 0; i < 2; ++i) {
    const auto resized = resize_rgb(std::span(tiles).subspan(i * 40 * 40 * 3, 40 * 40 * 3), 40, 40, 32, 32);
    normalize_rgb(resized, network_->config().preprocessing.mean, network_->config().preprocessing.std,
                  std::span(planes).subspan(i * 3 * 32 * 32, 3 * 32 * 32));
  }
  expect_close(at::tensor(encode(*engine, tiles, 2, 40)).view({2, -1}),
               network_->forward(at::tensor(planes).view({2, 3, 32, 32})), 1e-5);
}

TEST_F(MorphologyEngine, ARowDependsOnNothingElse) {
  const auto one = MorphologyEncoder::load(folder_, one_thread());
  const auto two = MorphologyEncoder::load(folder_, two_threads());
  constexpr std::size_t kTile = 32 * 32 * 3;
  const auto tiles = picture(7 * kTile);
  const auto all = encode(*one, tiles, 7, 32);
  EXPECT_EQ(encode(*two, tiles, 7, 32), all);
  for (const std::size_t i : {0u, 3u, 5u}) {
    EXPECT_EQ(encode(*one, rows_of(tiles, i, 1, kTile), 1, 32), rows_of(all, i, 1, kDim));
    EXPECT_EQ(encode(*two, rows_of(tiles, i, 2, kTile), 2, 32), rows_of(all, i, 2, kDim));
  }
}

TEST_F(MorphologyEngine, HalfPrecisionWeightsAreConverted) {
  const auto exact = MorphologyEncoder::load(folder_, one_thread());
  const auto tiles = picture(32 * 32 * 3);
  const auto expected = encode(*exact, tiles, 1, 32);
  for (const char* dtype : {"F16", "BF16"}) {
    save(*network_, weights(), dtype);
    const auto engine = MorphologyEncoder::load(folder_, one_thread());
    EXPECT_NE(engine->info().sha256, exact->info().sha256);
    expect_close(at::tensor(encode(*engine, tiles, 1, 32)), at::tensor(expected), 0.05);
  }
}

TEST_F(MorphologyEngine, RefusesWhatDoesNotFit) {
  const auto refused = [&] {
    const auto [code, text] = error_of([&] { (void)MorphologyEncoder::load(folder_, one_thread()); });
    EXPECT_EQ(code, ErrorCode::kModel);
    return text;
  };
  config_["depth"] = 3;
  write_config(config_);
  EXPECT_THAT(refused(), testing::HasSubstr("blocks.2.attn.qkv.weight"));
  config_["dim"] = -1;
  write_config(config_);
  EXPECT_THAT(refused(), testing::AllOf(testing::HasSubstr("config.json"), testing::HasSubstr("\"dim\" is -1")));
  config_["architecture"] = "deepspot";
  write_config(config_);
  EXPECT_THAT(refused(), testing::HasSubstr("deepspot"));
  fs::remove(folder_ / "config.json");
  EXPECT_THAT(refused(), testing::HasSubstr("config.json"));
}

TEST_F(MorphologyEngine, RefusesArraysThatDoNotFit) {
  const auto engine = MorphologyEncoder::load(folder_, one_thread());
  std::vector<float> out(kDim);
  EXPECT_EQ(error_of([&] { engine->encode(picture(10), 1, 32, out); }).first, ErrorCode::kUsage);
  EXPECT_EQ(error_of([&] { engine->encode(picture(2 * 32 * 32 * 3), 2, 32, out); }).first, ErrorCode::kUsage);
}

TEST_F(MorphologyEngine, NothingThatIsNotFiniteComesOut) {
  poison(weights(), "norm.weight", kHuge, true);
  const auto engine = MorphologyEncoder::load(folder_, one_thread());
  expect_not_finite([&] { encode(*engine, picture(32 * 32 * 3), 1, 32); }, "small: embeddings");
  expect_nan_refused<MorphologyEncoder>(folder_, "blocks.0.attn.qkv.weight", one_thread());
}

// ---- Autoencoder

class AutoencoderEngine : public Engines {
 protected:
  void SetUp() override {
    Engines::SetUp();
    write_config({{"architecture", "taesd"}, {"latent_channels", 4}, {"width", 8}, {"micro_batch", 2}});
    TaesdConfig config;
    config.latent_channels = 4;
    config.width = 8;
    network_ = Taesd(config);
    // Into the middle of the range, so that rounding is seen and not clamping.
    const torch::NoGradGuard no_grad;
    network_->named_parameters()["decoder.19.bias"].fill_(0.5);
    network_->eval();
    save(*network_, weights(), "F32");
  }

  Taesd network_{nullptr};
};

TEST_F(AutoencoderEngine, EncodesAndDecodesAsTheNetwork) {
  const torch::NoGradGuard no_grad;
  const auto engine = Autoencoder::load(folder_, one_thread());
  EXPECT_EQ(engine->latent_channels(), 4);
  EXPECT_EQ(engine->factor(), 8);
  const auto rgb = picture(16 * 24 * 3);
  std::vector<float> z(4 * 2 * 3);
  engine->encode(rgb, 1, 16, 24, z);
  const at::Tensor image = at::tensor(rgb).view({1, 16, 24, 3}).permute({0, 3, 1, 2}).to(at::kFloat) / 255;
  const at::Tensor latent = network_->encode(image);
  expect_close(at::tensor(z).view({1, 4, 2, 3}), latent, 1e-5);
  std::vector<std::uint8_t> decoded(rgb.size());
  engine->decode(z, 1, 2, 3, decoded);
  const at::Tensor expected = (network_->decode(latent).clamp(0, 1) * 255).round().permute({0, 2, 3, 1});
  EXPECT_LE((at::tensor(decoded).view({1, 16, 24, 3}).to(at::kFloat) - expected).abs().max().item<float>(), 1.0f);
  EXPECT_GT(expected.std().item<float>(), 0.0f);
}

TEST_F(AutoencoderEngine, AnImageDependsOnNothingElse) {
  const auto one = Autoencoder::load(folder_, one_thread());
  const auto two = Autoencoder::load(folder_, two_threads());
  constexpr std::size_t kLatent = 4 * 4 * 4;
  constexpr std::size_t kImage = 32 * 32 * 3;
  const auto rgb = picture(5 * kImage);
  std::vector<float> z(5 * kLatent);
  std::vector<float> z2(5 * kLatent);
  one->encode(rgb, 5, 32, 32, z);
  two->encode(rgb, 5, 32, 32, z2);
  EXPECT_EQ(z, z2);
  std::vector<float> z_alone(kLatent);
  two->encode(rows_of(rgb, 3, 1, kImage), 1, 32, 32, z_alone);
  EXPECT_EQ(z_alone, rows_of(z, 3, 1, kLatent));

  std::vector<std::uint8_t> decoded(5 * kImage);
  std::vector<std::uint8_t> decoded2(5 * kImage);
  one->decode(z, 5, 4, 4, decoded);
  two->decode(z, 5, 4, 4, decoded2);
  EXPECT_EQ(decoded, decoded2);
  std::vector<std::uint8_t> alone(kImage);
  two->decode(rows_of(z, 4, 1, kLatent), 1, 4, 4, alone);
  EXPECT_EQ(alone, rows_of(decoded, 4, 1, kImage));
}

TEST_F(AutoencoderEngine, RefusesSidesThatAreNoMultiple) {
  const auto engine = Autoencoder::load(folder_, one_thread());
  std::vector<float> z(4);
  const auto [code, text] = error_of([&] { engine->encode(picture(12 * 8 * 3), 1, 12, 8, z); });
  EXPECT_EQ(code, ErrorCode::kUsage);
  EXPECT_THAT(text, testing::HasSubstr("8 x 12"));
}

TEST_F(AutoencoderEngine, NothingThatIsNotFiniteBecomesAPixelOrALatent) {
  poison(weights(), "decoder.19.weight", -kHuge, true);
  std::vector<std::uint8_t> rgb(16 * 16 * 3);
  const auto decoder = Autoencoder::load(folder_, one_thread());
  expect_not_finite([&] { decoder->decode(wave(4 * 2 * 2), 1, 2, 2, rgb); }, "decoded pixels");
  poison(weights(), "encoder.0.weight", kHuge, true);
  const auto encoder = Autoencoder::load(folder_, one_thread());
  std::vector<float> z(4 * 2 * 2);
  expect_not_finite([&] { encoder->encode(picture(16 * 16 * 3), 1, 16, 16, z); }, "encoded latents");
  expect_nan_refused<Autoencoder>(folder_, "decoder.19.bias", one_thread());
}

// ---- GeneEncoder

class GeneEngine : public Engines {
 protected:
  void SetUp() override {
    Engines::SetUp();
    config_ = golden_json("cancerfoundation/args.json");
    config_["architecture"] = "cancerfoundation";
    config_["micro_batch"] = 2;
    config_["genes"] = genes_;
    write_config(config_);
    fs::copy_file(golden_path("cancerfoundation/vocab.json"), folder_ / "vocab.json");
    fs::copy_file(golden_path("cancerfoundation/weights.safetensors"), weights());
  }

  std::vector<std::string> genes_{"SOX10", "PMEL", "CD8A", "KIT", "MITF", "B2M"};
  nlohmann::json config_;
};

TEST_F(GeneEngine, IsTheNetworkOnBinnedValues) {
  const torch::NoGradGuard no_grad;
  const auto engine = GeneEncoder::load(folder_, one_thread());
  EXPECT_EQ(engine->genes(), genes_);
  EXPECT_EQ(engine->dim(), 32);
  const std::vector<float> counts{3, 0, 12, 1, 7, 700};
  std::vector<float> digits(6);
  bin_expression(counts, 51, digits);
  digits.insert(digits.begin(), kCfClassValue);
  CancerFoundation network(parse_cancerfoundation_config(config_, 30));
  const StateDict file = StateDict::open(weights());
  load(*network, file, cancerfoundation_load_rules(file));
  network->eval();
  const at::Tensor ids = at::tensor({0, 15, 5, 17, 29, 16, 25}, at::kLong).unsqueeze(0);
  const at::Tensor hidden = network->forward(ids, at::tensor(digits).unsqueeze(0));
  std::vector<float> cls(32);
  std::vector<float> tokens(6 * 32);
  engine->encode(counts, 1, cls, tokens);
  expect_close(at::tensor(cls), hidden[0][0], 1e-5);
  expect_close(at::tensor(tokens).view({6, 32}), hidden[0].slice(0, 1), 1e-5);
}

TEST_F(GeneEngine, ARowDependsOnNothingElse) {
  const auto one = GeneEncoder::load(folder_, one_thread());
  const auto two = GeneEncoder::load(folder_, two_threads());
  auto values = wave(5 * 6);
  for (float& v : values) v = std::max(v, 0.0f);
  std::vector<float> all(5 * 32);
  std::vector<float> all2(5 * 32);
  one->encode(values, 5, all, {});
  two->encode(values, 5, all2, {});
  EXPECT_EQ(all, all2);
  std::vector<float> alone(32);
  one->encode(rows_of(values, 4, 1, 6), 1, alone, {});
  EXPECT_EQ(alone, rows_of(all, 4, 1, 32));
}

TEST_F(GeneEngine, VocabularyMayBeInTheConfiguration) {
  const auto beside = GeneEncoder::load(folder_, one_thread());
  config_["vocab"] = golden_json("cancerfoundation/vocab.json");
  write_config(config_);
  fs::remove(folder_ / "vocab.json");
  const auto inside = GeneEncoder::load(folder_, one_thread());
  const std::vector<float> counts{3, 0, 12, 1, 7, 700};
  std::vector<float> a(32);
  std::vector<float> b(32);
  beside->encode(counts, 1, a, {});
  inside->encode(counts, 1, b, {});
  EXPECT_EQ(a, b);
}

TEST_F(GeneEngine, RefusesGenesItCannotRead) {
  const auto refused = [&](const std::vector<std::string>& genes) {
    config_["genes"] = genes;
    write_config(config_);
    const auto [code, text] = error_of([&] { (void)GeneEncoder::load(folder_, one_thread()); });
    EXPECT_EQ(code, ErrorCode::kModel);
    return text;
  };
  EXPECT_THAT(refused({"SOX10", "pmel"}), testing::HasSubstr("\"pmel\""));
  EXPECT_THAT(refused({}), testing::HasSubstr("0 symbols"));
  EXPECT_THAT(refused({"KIT", "KIT"}), testing::HasSubstr("twice"));
  EXPECT_THAT(refused(std::vector<std::string>(24, "KIT")), testing::HasSubstr("1 to 23"));
  fs::remove(folder_ / "vocab.json");
  EXPECT_THAT(refused({"KIT"}), testing::HasSubstr("vocab.json"));
}

TEST_F(GeneEngine, RefusesValuesThatAreNotFinite) {
  const auto engine = GeneEncoder::load(folder_, one_thread());
  std::vector<float> values(2 * 6, 1.0f);
  values[7] = NAN;
  std::vector<float> cls(2 * 32);
  const auto [code, text] = error_of([&] { engine->encode(values, 2, cls, {}); });
  EXPECT_EQ(code, ErrorCode::kBadInput);
  EXPECT_THAT(text, testing::AllOf(testing::HasSubstr("row 1"), testing::HasSubstr("gene 2")));
}

TEST_F(GeneEngine, NothingThatIsNotFiniteComesOut) {
  poison(weights(), "encoder.layers.2.linear2.weight", kHuge, true);
  const auto engine = GeneEncoder::load(folder_, one_thread());
  std::vector<float> cls(32);
  expect_not_finite([&] { engine->encode(std::vector<float>{3, 0, 12, 1, 7, 700}, 1, cls, {}); }, "gene embeddings");
  expect_nan_refused<GeneEncoder>(folder_, "gene_encoder.embedding.weight", one_thread());
}

// ---- ExpressionPredictor

class PredictorEngine : public Engines {
 protected:
  static constexpr std::size_t kFeatures = 24;
  static constexpr std::size_t kGenes = 17;

  void SetUp() override { use("spot_subspot_neighbors_e10", "spot_subspot_neighbors", 10); }

  void use(const std::string& name, const std::string& context, int ensemble) {
    Engines::SetUp();
    io_ = golden("deepspot/" + name + ".io.safetensors");
    std::vector<std::string> genes;
    for (std::size_t g = 0; g < kGenes; ++g) genes.push_back("G" + std::to_string(g));
    write_config({{"architecture", "deepspot"},
                  {"genes", genes},
                  {"feature_dim", kFeatures},
                  {"width", 20},
                  {"context", context},
                  {"ensemble", ensemble},
                  {"micro_batch", 3},
                  {"encoder_sha256", "abc"}});
    golden_weights_ = golden_path("deepspot/" + name + ".weights.safetensors");
    fs::copy_file(golden_weights_, weights(), fs::copy_options::overwrite_existing);
  }

  /// The golden data's six neighbours, the rest filled with what must not matter.
  std::vector<float> neighbors(float filling) const {
    return to_vector(at::cat({io_->get("x_nb"), at::full({4, 2, 24}, filling)}, 1));
  }

  std::vector<float> predict(const ExpressionPredictor& engine, int first, int n,
                             const std::vector<std::int32_t>& counts, float filling = 100.0f) const {
    const auto f = static_cast<std::size_t>(first);
    const auto rows = static_cast<std::size_t>(n);
    std::vector<float> out(rows * kGenes);
    engine.predict(rows_of(to_vector(io_->get("x_spot")), f, rows, kFeatures),
                   rows_of(to_vector(io_->get("x_sub")), f, rows, 9 * kFeatures),
                   rows_of(neighbors(filling), f, rows, 8 * kFeatures), rows_of(counts, f, rows, 1), n, out);
    return out;
  }

  std::optional<StateDict> io_;
  fs::path golden_weights_;
  const std::vector<std::int32_t> six_{6, 6, 6, 6};
};

TEST_F(PredictorEngine, AgreesWithTheReferenceClippedAtZero) {
  const auto engine = ExpressionPredictor::load(folder_, one_thread());
  EXPECT_TRUE(engine->uses_subtiles());
  EXPECT_TRUE(engine->uses_neighbors());
  EXPECT_EQ(engine->feature_dim(), static_cast<int>(kFeatures));
  EXPECT_EQ(engine->genes().size(), kGenes);
  EXPECT_EQ(engine->encoder_sha256(), "abc");
  expect_close(at::tensor(predict(*engine, 0, 4, six_)).view({4, -1}), io_->get("out").clamp_min(0), 1e-5);
}

TEST_F(PredictorEngine, ScalerIsInverted) {
  const SafetensorsFile file = SafetensorsFile::open(golden_weights_);
  std::vector<SafetensorsOutput> tensors;
  for (const auto& entry : file.entries()) tensors.push_back({entry.name, entry.dtype, entry.shape, entry.data});
  const auto mean = to_vector(io_->get("scaler_mean"));
  const auto scale = to_vector(io_->get("scaler_scale"));
  tensors.push_back({"scaler.mean", "F32", {17}, std::as_bytes(std::span(mean))});
  write_safetensors(weights(), tensors);
  const auto [code, text] = error_of([&] { (void)ExpressionPredictor::load(folder_, one_thread()); });
  EXPECT_EQ(code, ErrorCode::kModel);
  EXPECT_THAT(text, testing::HasSubstr("only one of scaler.mean and scaler.scale"));
  tensors.push_back({"scaler.scale", "F32", {17}, std::as_bytes(std::span(scale))});
  write_safetensors(weights(), tensors);
  const auto engine = ExpressionPredictor::load(folder_, one_thread());
  expect_close(at::tensor(predict(*engine, 0, 4, six_)).view({4, -1}), io_->get("out_inverse").clamp_min(0), 1e-5);
}

TEST_F(PredictorEngine, ARowDependsOnNothingElse) {
  const auto one = ExpressionPredictor::load(folder_, one_thread());
  const auto two = ExpressionPredictor::load(folder_, two_threads());
  const auto all = predict(*one, 0, 4, six_);
  EXPECT_EQ(predict(*two, 0, 4, six_), all);
  EXPECT_EQ(predict(*two, 2, 1, six_), rows_of(all, 2, 1, kGenes));
  EXPECT_EQ(predict(*one, 0, 4, six_, NAN), all) << "unused neighbour rows must not be read";
}

TEST_F(PredictorEngine, WithoutNeighborsAnEmptyImageStandsIn) {
  const auto engine = ExpressionPredictor::load(folder_, one_thread());
  // The golden data's last spot has neighbours of zeros alone.
  EXPECT_EQ(predict(*engine, 3, 1, {6, 6, 6, 0}), predict(*engine, 3, 1, {6, 6, 6, 6}));
}

TEST_F(PredictorEngine, NothingThatIsNotFiniteComesOut) {
  poison(weights(), "rho.3.model.2.weight", kHuge, true);
  const auto engine = ExpressionPredictor::load(folder_, one_thread());
  expect_not_finite([&] { predict(*engine, 0, 4, six_); }, "predicted values");
  expect_nan_refused<ExpressionPredictor>(folder_, "phi_spot.0.model.0.weight", one_thread());
}

TEST_F(PredictorEngine, EveryContext) {
  struct Case {
    const char* name;
    const char* context;
    int ensemble;
  };
  for (const Case& c : {Case{"spot_e10", "spot", 10}, Case{"spot_subspot_e4", "spot_subspot", 4},
                        Case{"spot_neighbors_e10", "spot_neighbors", 10},
                        Case{"spot_subspot_neighbors_e3", "spot_subspot_neighbors", 3}}) {
    use(c.name, c.context, c.ensemble);
    const auto engine = ExpressionPredictor::load(folder_, one_thread());
    const bool sub = engine->uses_subtiles();
    const bool nb = engine->uses_neighbors();
    EXPECT_EQ(sub, std::string(c.context).find("subspot") != std::string::npos);
    EXPECT_EQ(nb, std::string(c.context).find("neighbors") != std::string::npos);
    std::vector<float> out(4 * kGenes);
    engine->predict(to_vector(io_->get("x_spot")), sub ? to_vector(io_->get("x_sub")) : std::vector<float>(),
                    nb ? neighbors(0) : std::vector<float>(), nb ? six_ : std::vector<std::int32_t>(), 4, out);
    expect_close(at::tensor(out).view({4, -1}), io_->get("out").clamp_min(0), 1e-5);
  }
}

TEST_F(PredictorEngine, RefusesImpossibleNeighbors) {
  const auto engine = ExpressionPredictor::load(folder_, one_thread());
  const auto [code, text] = error_of([&] { predict(*engine, 0, 4, {6, 9, 6, 6}); });
  EXPECT_EQ(code, ErrorCode::kUsage);
  EXPECT_THAT(text, testing::HasSubstr("9 neighbours"));
}

}  // namespace
}  // namespace vtissue::models
