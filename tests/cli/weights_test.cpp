#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "cli/registry.h"
#include "core/error.h"
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
