#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <span>

#include "cli/registry.h"
#include "core/error.h"
#include "core/safetensors.h"
#include "models/checkpoint/name_map.h"
#include "tests/cli/program.h"

namespace vtissue::cli {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using vtissue::testing::run_program;

const fs::path kGolden = fs::path(VTISSUE_TEST_DATA) / "golden";

class WeightsCommand : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(::testing::TempDir()) /
              (std::string("weights_") + ::testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  fs::path write(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ / name) << text;
    return folder_ / name;
  }

  fs::path folder_;
};

TEST_F(WeightsCommand, ListsWhatAFileHolds) {
  const auto result = run_program({"weights", "list", (kGolden / "pixcell_256/original.pth").string()});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("architecture: stmdit (original names)"));
  EXPECT_THAT(result.out, HasSubstr("depth: 3"));
  EXPECT_THAT(result.out, HasSubstr("blocks.*.attn.qkv.weight F32 [108, 36]  (3 of them)"));
  EXPECT_THAT(result.out, HasSubstr("heads: 3"));  // from config.json beside it
  const auto json = run_program({"weights", "list", "--json", (kGolden / "uni2h/pytorch_model.bin").string()});
  EXPECT_EQ(nlohmann::json::parse(json.out)["facts"]["registers"], "8");
}

TEST_F(WeightsCommand, RefusesWithTheModelsExitCode) {
  for (const char* name : {"evil_reduce.pth", "crc_damage.pth", "none.pth"}) {
    const auto result = run_program(
        {"weights", "convert", (kGolden / "pickles" / name).string(), (folder_ / "out.safetensors").string()});
    EXPECT_EQ(result.exit_code, 4) << name;
    EXPECT_THAT(result.err, HasSubstr(name));
    EXPECT_FALSE(fs::exists(folder_ / "out.safetensors"));
  }
  EXPECT_FALSE(fs::exists("pickle_was_executed.txt"));
}

TEST_F(WeightsCommand, ANameMapFinishesTheMapping) {
  const fs::path map = write("map.yaml",
                             "rules:\n  - {ours: first, file: whole, part: 1, parts: 2}\n"
                             "  - {ours: second, file: whole, part: 2, parts: 2}\nignored: [scalar]\n");
  const fs::path out = folder_ / "out.safetensors";
  const auto result = run_program({"weights", "convert", (kGolden / "pickles/views.pth").string(), out.string(),
                                   "--name-map", map.string(), "--dtype", "f32"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  const auto weights = models::StateDict::open(out);
  EXPECT_TRUE(weights.contains("second"));
  EXPECT_FALSE(weights.contains("whole"));
  EXPECT_FALSE(weights.contains("scalar"));
  const auto wrong =
      run_program({"weights", "list", out.string(), "--name-map", write("wrong.yaml", "rules: [3]").string()});
  EXPECT_EQ(wrong.exit_code, 2);
  EXPECT_THAT(wrong.err, HasSubstr("wrong.yaml"));
}

/// The demo denoiser as a stranger would have published it: model.pt with a prefix and a name of its own, beside a
/// training_config.yaml that nobody here can read.
class ForeignRelease : public WeightsCommand {
 protected:
  void SetUp() override {
    WeightsCommand::SetUp();
    release_ = folder_ / "models/stmdit";
    fs::create_directories(release_);
    const SafetensorsFile demo = SafetensorsFile::open(kDemo / "model.safetensors");
    std::vector<SafetensorsOutput> renamed;
    for (const SafetensorsEntry& entry : demo.entries()) {
      const bool genes = entry.name.starts_with("ge.");
      const std::string name = "ema_model.net." + (genes ? "gene_stream." + entry.name.substr(3) : entry.name);
      renamed.push_back({name, entry.dtype, entry.shape, entry.data});
    }
    write_safetensors(release_ / "model.pt", std::move(renamed));
    std::ofstream(release_ / "training_config.yaml") << "network: {blocks: 8}\n";
    config_ = read_json(kDemo / "config.json");
  }

  static nlohmann::json read_json(const fs::path& path) { return nlohmann::json::parse(std::ifstream(path)); }

  /// JSON is YAML.
  fs::path map(const std::string& name,
               const std::string& rules = R"([{"ours": "ge.", "file": "gene_stream."}])") const {
    return write(name, R"({"prefix": "ema_model.net.", "rules": )" + rules + R"(, "config": )" + config_.dump() + "}");
  }

  std::string stored_case() const {
    std::vector<SafetensorsOutput> inputs;
    const auto add = [&](const char* name, std::vector<std::int64_t> shape, std::vector<float>& values) {
      for (std::size_t i = 0; i < values.size(); ++i) values[i] = std::sin(0.37f * static_cast<float>(i));
      inputs.push_back({name, "F32", std::move(shape), std::as_bytes(std::span(values))});
    };
    std::vector<float> x(16 * 16 * 16), t(1), morphology(160), gene(64);
    add("x", {1, 16, 16, 16}, x);
    add("t", {}, t);
    add("morphology", {1, 160}, morphology);
    add("gene", {1, 64}, gene);
    write_safetensors(folder_ / "inputs.safetensors", std::move(inputs));
    const std::string out = (folder_ / "case.safetensors").string();
    const auto result =
        run_program({"weights", "verify", kDemo.string(), (folder_ / "inputs.safetensors").string(), "--write", out});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return out;
  }

  const fs::path kDemo = fs::path(VTISSUE_SOURCE_DIR) / "weights/demo/stmdit";
  fs::path release_;
  nlohmann::json config_;
};

TEST_F(ForeignRelease, ComputesTheSameThroughAMap) {
  const std::string stored = stored_case();
  const std::string file = map("map.yaml").string();
  const auto same =
      run_program({"weights", "verify", release_.string(), stored, "--name-map", file, "--tolerance", "0"});
  EXPECT_EQ(same.exit_code, 0) << same.err;
  EXPECT_THAT(same.out, HasSubstr("agrees  prediction"));
  EXPECT_EQ(run_program({"weights", "verify", release_.string(), stored}).exit_code, 4);

  const fs::path out = folder_ / "imported";
  const auto import = run_program({"weights", "import", "stmdit", release_.string(), out.string(), "--name-map", file});
  EXPECT_EQ(import.exit_code, 0) << import.err;
  EXPECT_TRUE(models::StateDict::open(out).contains("pos_embed.proj.weight"));
  const auto imported = run_program({"weights", "verify", out.string(), stored, "--tolerance", "0"});
  EXPECT_EQ(imported.exit_code, 0) << imported.err;
}

// What every command that loads models goes through.
TEST_F(ForeignRelease, IsLoadedByNameAndByFolder) {
  const std::string file = map("map.yaml").string();
  for (const std::string& model : {std::string("stmdit"), release_.string()}) {
    const std::string config = write("run.yaml", "models:\n  stmdit: " + model + "\n").string();
    const auto doctor = [&](const std::vector<std::string>& more) {
      std::vector<std::string> all = {"doctor", "--config", config, "--model-dir", release_.parent_path().string()};
      all.insert(all.end(), more.begin(), more.end());
      return run_program(all);
    };
    EXPECT_THAT(doctor({"--name-map", "stmdit=" + file}).out, HasSubstr("ok    models.stmdit"));
    const auto without = doctor({});
    EXPECT_EQ(without.exit_code, 4);
    EXPECT_THAT(without.out, HasSubstr("config.json"));
    EXPECT_EQ(doctor({"--name-map", file}).exit_code, 2);
    const auto other = doctor({"--name-map", "denoiser=" + file});
    EXPECT_EQ(other.exit_code, 2);
    EXPECT_THAT(other.err, HasSubstr("models are encoder, predictor_encoder, predictor, expression, stmdit"));
    EXPECT_EQ(doctor({"--name-map", "stmdit=" + file, "--name-map", "stmdit=" + file}).exit_code, 2);
    EXPECT_EQ(doctor({"--name-map", "stmdit=" + (folder_ / "absent.yaml").string()}).exit_code, 2);
    const std::string two = map("two.yaml", R"([{"ours": "proj_out.bias", "file": "gene_stream.null_vec"}])").string();
    const auto twice = doctor({"--name-map", "stmdit=" + two});
    EXPECT_EQ(twice.exit_code, 2);
    EXPECT_THAT(twice.out, HasSubstr("'ema_model.net.gene_stream.null_vec' and 'ema_model.net.proj_out.bias'"));
    const std::string none =
        write("none.yaml", "rules: [{ours: a., file: b.}]\nconfig: " + config_.dump() + "\n").string();
    const auto nothing = doctor({"--name-map", "stmdit=" + none});
    EXPECT_EQ(nothing.exit_code, 2);
    EXPECT_THAT(nothing.out, HasSubstr("it is for b., the file has ema_model.net."));
  }
  fs::copy_file(map("map.yaml"), release_ / "name_map.json");
  const auto own = run_program({"doctor", "--config", write("run.yaml", "models:\n  stmdit: stmdit\n").string(),
                                "--model-dir", release_.parent_path().string()});
  EXPECT_THAT(own.out, HasSubstr("ok    models.stmdit"));
  fs::remove(release_ / "name_map.json");
}

TEST(Registry, ADescriptionMayHaveANameMap) {
  const std::string yaml =
      "title: T\nrole: stmdit\narchitecture: stmdit\nfolders: [t]\nweights: [model.pt]\nneeds: [config.json]\n"
      "licence: {name: MIT, redistribution: true, commercial: true}\n";
  EXPECT_EQ(parse_known_model("t", yaml).load_options().name_map, "");
  const KnownModel model =
      parse_known_model("t", yaml + "name_map:\n  rules: [{ours: a., file: b.}]\n  config: {architecture: stmdit}\n");
  EXPECT_THAT(model.load_options().name_map, HasSubstr("\"file\":\"b.\""));
  EXPECT_EQ(model.load_options().name_map_origin, "configs/models/t.yaml");
  EXPECT_TRUE(model.load_options().name_map_if_it_fits);
  EXPECT_THROW(parse_known_model("t", yaml + "name_map: {rule: []}\n"), Error);
  const fs::path root = fs::path(::testing::TempDir()) / "registry_map";
  fs::create_directories(root / "t");
  std::ofstream(root / "t/model.pt") << "x";
  EXPECT_THROW(locate_model(model, {root}), Error);
  EXPECT_EQ(locate_model(model, {root}, model.load_options()), root / "t") << "the map has what config.json would";
  fs::remove_all(root);
}

TEST(Registry, EveryModelIsDescribed) {
  ASSERT_EQ(known_models().size(), 11u);
  for (const KnownModel& model : known_models()) {
    SCOPED_TRACE(model.name);
    EXPECT_FALSE(model.title.empty());
    EXPECT_FALSE(model.folders.empty());
    EXPECT_FALSE(model.weights.empty());
    EXPECT_FALSE(model.licence.empty());
    EXPECT_FALSE(model.preprocessing.empty());
    if (!model.redistribution || !model.commercial) {
      EXPECT_FALSE(model.notice.empty());
    }
  }
  EXPECT_EQ(find_known_model("uni2h")->tile_um, 128);
  EXPECT_EQ(find_known_model("null"), nullptr);
}

TEST_F(WeightsCommand, ModelsAreFoundByNameAndMissingFilesAreNamed) {
  const KnownModel& model = *find_known_model("uni2h");
  try {
    locate_model(model, {folder_});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kModel);
    EXPECT_THAT(error.what(), HasSubstr((folder_ / "UNI2-h").string()));
    EXPECT_THAT(error.what(), HasSubstr("pytorch_model.bin"));
  }
  fs::create_directories(folder_ / "UNI2-h");
  fs::copy_file(kGolden / "uni2h/pytorch_model.bin", folder_ / "UNI2-h/pytorch_model.bin");
  EXPECT_THROW(locate_model(model, {folder_}), Error);  // no config.json yet
  fs::copy_file(kGolden / "uni2h/config.json", folder_ / "UNI2-h/config.json");
  EXPECT_EQ(locate_model(model, {folder_ / "nowhere", folder_}), folder_ / "UNI2-h");

  const auto config = write("run.yaml", "models:\n  encoder: uni2h\n");
  const auto doctor = run_program({"doctor", "--config", config.string(), "--model-dir", folder_.string()});
  EXPECT_THAT(doctor.out, HasSubstr("ok    models.encoder"));
  EXPECT_THAT(doctor.err, HasSubstr("CC BY-NC-ND 4.0"));
  const auto missing = run_program({"doctor", "--config", config.string()});
  EXPECT_EQ(missing.exit_code, 4);
  EXPECT_THAT(missing.out, HasSubstr("VTISSUE_MODEL_DIR"));
}

TEST_F(WeightsCommand, ImportMakesAFolderOfSeveralFiles) {
  for (const char* part : {"encoder", "decoder"}) {
    const std::string name = std::string("taesd3_") + part;
    fs::copy_file(kGolden / ("taesd3_tiny/" + name + ".safetensors"), folder_ / (name + ".pth"));
  }
  const fs::path out = folder_ / "model";
  const auto result = run_program({"weights", "import", "taesd3", folder_.string(), out.string()});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_TRUE(models::StateDict::open(out).contains("decoder.1.weight"));
  EXPECT_EQ(nlohmann::json::parse(std::ifstream(out / "config.json"))["architecture"], "taesd");
  EXPECT_EQ(run_program({"weights", "import", "taesd3", (folder_ / "none").string(), out.string()}).exit_code, 4);
  EXPECT_EQ(run_program({"weights", "import", "uni3", folder_.string(), out.string()}).exit_code, 2);
}

TEST_F(WeightsCommand, VerifyComparesWithStoredOutputs) {
  const std::string model = (fs::path(VTISSUE_SOURCE_DIR) / "weights/demo/predictor").string();
  EXPECT_EQ(run_program({"weights", "verify", model, (kGolden / "uni2h/io.safetensors").string()}).exit_code, 4);
}

}  // namespace
}  // namespace vtissue::cli
