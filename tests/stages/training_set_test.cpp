#include "stages/training_set/training_set.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>

#include "core/error.h"

namespace vtissue::stages {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(ChoosePanel, TakesTheGenesThatVaryMostAndThatEverySectionHas) {
  // ACTB is constant, MS4A1 varies, PMEL varies more; KRT5 is missing from the second section.
  const SectionCounts first{{"ACTB", "KRT5", "MS4A1", "PMEL"}, {{10, 90, 0, 0}, {10, 0, 1, 89}}};
  const SectionCounts second{{"PMEL", "MS4A1", "ACTB"}, {{0, 1, 10}, {89, 1, 10}}};
  EXPECT_THAT(choose_panel({first, second}, 2), ElementsAre("MS4A1", "PMEL"));
  EXPECT_THAT(choose_panel({first, second}, 9), ElementsAre("ACTB", "MS4A1", "PMEL"));
}

class ManifestTest : public ::testing::Test {
 protected:
  std::string message_for(const std::string& yaml) {
    const auto path = std::filesystem::temp_directory_path() / "vtissue-manifest-test.yaml";
    std::ofstream(path) << yaml;
    try {
      read_training_manifest(path, "/data");
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::kUsage);
      return e.what();
    }
    return "";
  }
};

TEST_F(ManifestTest, ReadsSectionsRelativeToTheDataRoot) {
  const auto path = std::filesystem::temp_directory_path() / "vtissue-manifest-test.yaml";
  std::ofstream(path) << "mpp: 0.5\npanel_genes: 8\nsections:\n"
                         "  - {name: a, slide: s/a.jpg, slide_mpp: 0.7, region: [1, 2, 3, 4], split: val}\n";
  const TrainingManifest manifest = read_training_manifest(path, "/data");
  EXPECT_EQ(manifest.mpp, 0.5);
  EXPECT_EQ(manifest.panel_genes, 8);
  ASSERT_EQ(manifest.sections.size(), 1u);
  EXPECT_EQ(manifest.sections[0].slide, "/data/s/a.jpg");
  EXPECT_THAT(manifest.sections[0].region.value(), ElementsAre(1, 2, 3, 4));
  EXPECT_EQ(manifest.sections[0].slide_mpp, 0.7);
}

TEST_F(ManifestTest, NamesLineAndKeyOfWhatIsWrong) {
  EXPECT_THAT(message_for("sections: []"), HasSubstr("'sections' is empty"));
  EXPECT_THAT(message_for("sections:\n  - {name: a, slide: b, split: test}"),
              HasSubstr(":2: section: 'split' is 'test'"));
  EXPECT_THAT(message_for("sections:\n  - {name: a, slid: b, split: val}"), HasSubstr("'slide' is missing"));
  EXPECT_THAT(message_for("sections:\n  - {name: a, slide: b, split: val, mmp: 1}"), HasSubstr("unknown key 'mmp'"));
  EXPECT_THAT(message_for("mpp: coarse\nsections: []"), HasSubstr("'mpp' has a value of the wrong type"));
  EXPECT_THAT(message_for("sections:\n  - {name: a, slide: b, split: val, st_counts: c}"),
              HasSubstr("belong together"));
}

}  // namespace
}  // namespace vtissue::stages
