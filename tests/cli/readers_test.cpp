// virtual.tiff as other programs see it.

#include <nlohmann/json.hpp>

#include "io/slide_reader.h"
#include "line_fixture.h"
#include "tests/support/test_readers.h"

namespace vtissue::testing {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;

class ReadersTest : public LineTest {
 protected:
  void SetUp() override {
    const ProgramResult result = run_program(arguments(work_ / "out"));
    ASSERT_EQ(result.exit_code, 0) << result.err;
    virtual_slide_ = work_ / "out" / "virtual.tiff";
    const auto reader = io::SlideReader::open(virtual_slide_);
    for (const io::SlideLevel& level : reader->info().levels) {
      expected_.push_back({{"width", level.size.width}, {"height", level.size.height}});
    }
  }

  /// Runs tests/cli/open_slide.py with a Python that has other readers; what it prints is JSON.
  void expect_same_levels(const std::string& python, const std::string& library) {
    const std::string script = std::string(VTISSUE_SOURCE_DIR) + "/tests/cli/open_slide.py";
    const ProgramResult result = run_shell(python + " " + script + " " + library + " " + virtual_slide_.string());
    ASSERT_EQ(result.exit_code, 0) << result.out;
    const auto seen = nlohmann::json::parse(result.out);
    EXPECT_EQ(seen["levels"], expected_) << library << " " << seen["version"];
    EXPECT_NEAR(seen["mpp"].get<double>(), 0.7, 1e-4) << library;
  }

  std::filesystem::path virtual_slide_;
  nlohmann::json expected_ = nlohmann::json::array();
};

TEST_F(ReadersTest, LinkedOpenSlideSeesLevelsMppLabelAndWarning) {
  const auto reader = io::SlideReader::open(virtual_slide_);
  EXPECT_EQ(reader->info().format, "aperio");
  ASSERT_TRUE(reader->info().mpp.has_value());
  EXPECT_NEAR(reader->info().mpp->x, 0.7, 1e-6);
  const auto& levels = reader->info().levels;
  ASSERT_GE(levels.size(), 2u);
  for (std::size_t i = 0; i < levels.size(); ++i) EXPECT_DOUBLE_EQ(levels[i].downsample, static_cast<double>(1 << i));
}

TEST_F(ReadersTest, OpenSlide4) {
  const std::string python = test_readers_python();
  if (python.empty()) GTEST_SKIP() << "no second set of readers (tools/get-test-readers.sh)";
  expect_same_levels(python, "openslide");
}

TEST_F(ReadersTest, Tifffile) {
  const std::string python = test_readers_python();
  if (python.empty()) GTEST_SKIP() << "no second set of readers (tools/get-test-readers.sh)";
  expect_same_levels(python, "tifffile");
}

TEST_F(ReadersTest, Libvips) {
  const ProgramResult header = run_shell("vipsheader -a " + virtual_slide_.string());
  if (header.exit_code == 127) GTEST_SKIP() << "no vipsheader here";
  ASSERT_EQ(header.exit_code, 0) << header.out;
  EXPECT_THAT(header.out, HasSubstr("openslide.level-count: " + std::to_string(expected_.size())));
  EXPECT_THAT(header.out, ContainsRegex("openslide.mpp-x: 0.(7|69999)"));
}

TEST_F(ReadersTest, ProvenanceIsInTheFileAndNamesNoPath) {
  const ProgramResult result = run_program({"inspect", virtual_slide_.string(), "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto seen = nlohmann::json::parse(result.out);
  const auto& provenance = seen.at("provenance");
  EXPECT_EQ(provenance.at("synthetic"), true);
  EXPECT_TRUE(provenance.contains("numerics_class"));
  EXPECT_TRUE(provenance.contains("models"));
  EXPECT_EQ(provenance.at("expression_sha256"), sha256_file(work_ / "out" / "expression.h5ad"));
  const auto& configuration = provenance.at("configuration");
  EXPECT_EQ(configuration.at("synthesize").at("steps"), 20);
  for (const char* section : {"tile", "embed", "encode", "stitch"}) {
    EXPECT_FALSE(configuration.at(section).empty()) << section;
  }
  EXPECT_THAT(provenance.dump(), HasSubstr(sha256_file(slide())));
  EXPECT_THAT(provenance.dump(), ::testing::Not(HasSubstr(work_.path().filename().string())));
  EXPECT_THAT(provenance.dump(), ::testing::Not(HasSubstr("slide.svs")));
}

}  // namespace
}  // namespace vtissue::testing
