// The line on real slides and measurements, with the demo family's weights.

#include <nlohmann/json.hpp>

#include "core/safetensors.h"
#include "io/slide_reader.h"
#include "line_fixture.h"

namespace vtissue::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::string config(const char* name) { return std::string(VTISSUE_SOURCE_DIR) + "/configs/" + name; }

/// Few steps: these tests look at the line, not at the picture.
const std::vector<std::string> kQuick = {"--set", "synthesize.steps=2", "--progress", "off"};

ProgramResult run_with(std::vector<std::string> command, const std::vector<std::string>& more = {}) {
  command.insert(command.end(), kQuick.begin(), kQuick.end());
  command.insert(command.end(), more.begin(), more.end());
  return run_program(command);
}

class DemoSlideTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* path = std::getenv("VTISSUE_DEMO_SLIDE");
    if (path == nullptr || !std::filesystem::exists(path)) GTEST_SKIP() << "no demo slide (tools/get-demo-slide.sh)";
    slide_ = path;
  }
  std::string slide_;
  TempFolder work_;
};

TEST_F(DemoSlideTest, NetworksGiveTheSameBytesForOneAndTwoThreadsAndAfterAKill) {
  const std::string region = "1000,900,700,600";
  const auto command = [&](const char* out) {
    return std::vector<std::string>{"run",   config("demo.yaml"),    "--slide",  slide_,
                                    "--out", (work_ / out).string(), "--region", region};
  };
  const ProgramResult one = run_with(command("one"), {"--threads", "1", "--in-flight", "1"});
  ASSERT_EQ(one.exit_code, 0) << one.err;
  const ProgramResult two = run_with(command("two"), {"--threads", "2", "--in-flight", "8"});
  ASSERT_EQ(two.exit_code, 0) << two.err;
  EXPECT_EQ(sha256_file(work_ / "one" / "virtual.tiff"), sha256_file(work_ / "two" / "virtual.tiff"));

  std::vector<std::string> killed = command("killed");
  killed.insert(killed.end(), kQuick.begin(), kQuick.end());
  for (int i = 0; i < 3; ++i) {
    Program program(killed);
    program.ended_within(std::chrono::milliseconds(900 + 700 * i));
    program.signal(SIGKILL);
    program.wait();
  }
  ASSERT_EQ(run_program(killed).exit_code, 0);
  EXPECT_EQ(sha256_file(work_ / "killed" / "virtual.tiff"), sha256_file(work_ / "one" / "virtual.tiff"));
}

TEST_F(DemoSlideTest, ATruncatedSlideIsRefusedBeforeAnythingIsWritten) {
  std::filesystem::copy_file(slide_, work_ / "cut.svs");
  std::filesystem::resize_file(work_ / "cut.svs", std::filesystem::file_size(slide_) / 2);
  const ProgramResult result = run_with(
      {"run", config("demo.yaml"), "--slide", (work_ / "cut.svs").string(), "--out", (work_ / "out").string()});
  EXPECT_EQ(result.exit_code, 3) << result.err;
  EXPECT_THAT(result.err, HasSubstr("cut.svs"));
  EXPECT_FALSE(std::filesystem::exists(work_ / "out"));
}

/// A copy of the demo denoiser as its author might have called the tensors.
void write_renamed_denoiser(const std::filesystem::path& folder) {
  const std::filesystem::path demo = std::string(VTISSUE_SOURCE_DIR) + "/weights/demo/stmdit";
  std::filesystem::create_directories(folder);
  std::filesystem::copy_file(demo / "config.json", folder / "config.json");
  const SafetensorsFile weights = SafetensorsFile::open(demo / "model.safetensors");
  std::vector<SafetensorsOutput> renamed;
  for (const SafetensorsEntry& entry : weights.entries()) {
    std::string name = entry.name;
    for (const auto& [ours, theirs] : {std::pair<std::string, std::string>{"transformer_blocks.", "blocks."},
                                       std::pair<std::string, std::string>{"ge.", "transcriptome."}}) {
      if (name.starts_with(ours)) name = theirs + name.substr(ours.size());
    }
    renamed.push_back({"ema_model.net." + name, entry.dtype, entry.shape, entry.data});
  }
  write_safetensors(folder / "model.safetensors", std::move(renamed));
}

std::vector<std::uint8_t> level0_pixels(const std::filesystem::path& path) {
  const auto slide = io::SlideReader::open(path);
  const auto size = slide->info().levels.front().size;
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(size.width * size.height) * 3);
  slide->read(0, {0, 0}, size, pixels);
  return pixels;
}

TEST_F(DemoSlideTest, ADenoiserWithForeignNamesMakesTheSameSlideThroughANameMap) {
  write_renamed_denoiser(work_ / "foreign");
  std::ofstream(work_ / "map.yaml") << "prefix: ema_model.net.\n"
                                       "rules:\n"
                                       "  - {ours: transformer_blocks., file: blocks.}\n"
                                       "  - {ours: ge., file: transcriptome.}\n";
  const auto command = [&](const char* out) {
    return std::vector<std::string>{"run",   config("demo.yaml"),    "--slide",  slide_,
                                    "--out", (work_ / out).string(), "--region", "1000,900,500,400"};
  };
  const std::vector<std::string> foreign = {"--set", "models.stmdit=" + (work_ / "foreign").string()};
  const ProgramResult refused = run_with(command("refused"), foreign);
  EXPECT_EQ(refused.exit_code, 4) << refused.err;
  EXPECT_FALSE(std::filesystem::exists(work_ / "refused"));

  std::vector<std::string> mapped = foreign;
  mapped.insert(mapped.end(), {"--name-map", "stmdit=" + (work_ / "map.yaml").string()});
  const ProgramResult through_map = run_with(command("mapped"), mapped), plain = run_with(command("plain"));
  ASSERT_EQ(through_map.exit_code, 0) << through_map.err;
  ASSERT_EQ(plain.exit_code, 0) << plain.err;
  EXPECT_EQ(level0_pixels(work_ / "mapped" / "virtual.tiff"), level0_pixels(work_ / "plain" / "virtual.tiff"));
}

class MeasuredTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto data = third_party_data();
    if (!data || !std::filesystem::exists(*data / "her2st")) GTEST_SKIP() << "$VTISSUE_DATA has no her2st";
    her2st_ = *data / "her2st";
    visium_ = *data / "visium";
  }
  std::vector<std::string> command(const std::string& section) const {
    return {"run",      config("demo-measured.yaml"),
            "--slide",  (her2st_ / (section + ".jpg")).string(),
            "--mpp",    "0.686",
            "--out",    (work_ / "out").string(),
            "--region", "4600,4400,800,700"};
  }
  std::filesystem::path her2st_, visium_;
  TempFolder work_;
};

TEST_F(MeasuredTest, SpotsConditionTheSlide) {
  std::vector<std::string> run = command("C5");
  run.insert(run.end(), {"--st-counts", her2st_ / "C5_counts.tsv.gz", "--st-spots", her2st_ / "C5_selection.tsv"});
  const ProgramResult result = run_with(run);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const ProgramResult seen = run_program({"inspect", (work_ / "out" / "expression.h5ad").string(), "--json"});
  const auto expression = nlohmann::json::parse(seen.out);
  EXPECT_EQ(expression["genes"], 256);
  EXPECT_GT(expression["rows"].get<int>(), 20);
  EXPECT_GT(expression["stored_values"].get<int>(), 1000);
}

TEST_F(MeasuredTest, ExpressionOfAnotherTissueIsRefused) {
  std::vector<std::string> run = command("C5");
  run.insert(run.end(), {"--h5ad", std::string(VTISSUE_TEST_DATA) + "/golden/h5ad/spatial_f64.h5ad"});
  const ProgramResult result = run_with(run);
  EXPECT_EQ(result.exit_code, 3) << result.err;
  EXPECT_THAT(result.err, AllOf(HasSubstr("spatial_f64.h5ad"), HasSubstr("of 256 genes")));
  EXPECT_FALSE(std::filesystem::exists(work_ / "out"));
}

TEST_F(MeasuredTest, SpotsOfAnotherImageAreRefused) {
  // The section's spots on a picture a quarter of its size: most lie outside.
  const ProgramResult shrunk =
      run_shell("vips resize " + (her2st_ / "C5.jpg").string() + " " + (work_ / "small.jpg").string() + " 0.25");
  if (shrunk.exit_code != 0) GTEST_SKIP() << "no vips program here";
  std::vector<std::string> run = command("C5");
  run[3] = work_ / "small.jpg";
  run.resize(run.size() - 2);
  run.insert(run.end(), {"--st-counts", her2st_ / "C5_counts.tsv.gz", "--st-spots", her2st_ / "C5_selection.tsv"});
  const ProgramResult result = run_with(run);
  EXPECT_EQ(result.exit_code, 3) << result.err;
  EXPECT_THAT(result.err, AllOf(HasSubstr("outside"), HasSubstr("spots")));
  EXPECT_FALSE(std::filesystem::exists(work_ / "out"));
}

}  // namespace
}  // namespace vtissue::testing
