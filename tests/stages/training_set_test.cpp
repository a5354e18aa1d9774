#include "stages/training_set/training_set.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>

#include "core/error.h"
#include "io/anndata.h"
#include "tests/stages/stage_fixture.h"
#include "tests/support/synthetic_slide.h"

namespace vtissue::stages {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(ChoosePanel, TakesTheGenesThatVaryMostAndThatEverySectionHas) {
  // ACTB is constant, MS4A1 varies, PMEL varies more; KRT5 is missing from the second section.
  const SectionCounts first{{"ACTB", "KRT5", "MS4A1", "PMEL"}, {{10, 90, 0, 0}, {10, 0, 1, 89}}};
  const SectionCounts second{{"PMEL", "MS4A1", "ACTB"}, {{0, 1, 10}, {89, 1, 10}}};
  EXPECT_THAT(choose_panel({first, second}, 2), ElementsAre("MS4A1", "PMEL"));
  EXPECT_THAT(choose_panel({first, second}, 9), ElementsAre("ACTB", "MS4A1", "PMEL"));
}

TEST(ChoosePanel, CountsASectionOnceForAGeneThatItListsTwice) {
  const SectionCounts first{{"PMEL", "PMEL", "ACTB"}, {{0, 1, 10}, {89, 1, 10}}};
  const SectionCounts second{{"ACTB"}, {{10}}};
  EXPECT_THAT(choose_panel({first, second}, 9), ElementsAre("ACTB"));
}

/// A set of one section, an h5ad of four spots on a slide of 512 x 384 px at 1 µm/px.
class TrainingSetTest : public StageFixture {
 protected:
  std::string message_for(std::vector<float> values, double shift) {
    testing::write_slide(file("slide.svs"), testing::tissue_picture({512, 384}, 1), 1);
    io::AnnData spots;
    spots.x = {.rows = 4,
               .genes = {"PMEL", "CD8A"},
               .indptr = {0, 1, 2, 3, 4},
               .indices = {0, 1, 0, 1},
               .values = std::move(values)};
    spots.obs.index = {"a", "b", "c", "d"};
    spots.var.index = spots.x.genes;
    spots.spatial = {{150 + shift, 150, 250 + shift, 150, 150 + shift, 250, 250 + shift, 250}};
    io::write_h5ad(file("spots.h5ad"), spots);
    TrainingManifest manifest;
    manifest.mpp = 1;
    manifest.sections = {{.name = "one", .slide = file("slide.svs"), .h5ad = file("spots.h5ad"), .split = "train"}};
    try {
      write_training_set(manifest, file("set.safetensors"), [](std::string_view) {});
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::kBadInput);
      EXPECT_FALSE(std::filesystem::exists(file("set.safetensors")));
      return e.what();
    }
    return "";
  }
};

TEST_F(TrainingSetTest, RefusesValuesThatAreNoCountsAndSpotsOfAnotherImage) {
  EXPECT_EQ(message_for({1, 2, 3, 4}, 0), "");
  std::filesystem::remove(file("set.safetensors"));
  EXPECT_THAT(message_for({0.5f, 2.5f, 3.5f, 1.25f}, 0),
              AllOf(HasSubstr("spots.h5ad"), HasSubstr("section one"), HasSubstr("no counts")));
  EXPECT_THAT(message_for({1, 2, 3, 4}, 1000), AllOf(HasSubstr("spots.h5ad"), HasSubstr("outside the slide")));
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

TEST_F(ManifestTest, OfASampleSheet) {
  const auto path = std::filesystem::temp_directory_path() / "vtissue-manifest-test.csv";
  std::ofstream(path) << "sample,donor,slide,mpp,h5ad,split\na,D1,a.svs,0.5,a.h5ad,train\nb,D2,b.svs,,,val\n";
  const TrainingManifest manifest = training_manifest_of_sheet(path, "/data");
  ASSERT_EQ(manifest.sections.size(), 2u);
  EXPECT_EQ(manifest.sections[0].slide, "/data/a.svs");
  EXPECT_EQ(manifest.sections[0].slide_mpp, 0.5);
  EXPECT_EQ(manifest.sections[0].h5ad, "/data/a.h5ad");
  EXPECT_EQ(manifest.sections[1].split, "val");
  EXPECT_EQ(manifest.panel_genes, TrainingManifest().panel_genes);

  std::ofstream(path) << "sample,donor,slide,split,mask\na,D1,a.svs,train,m.png\n";
  try {
    training_manifest_of_sheet(path, "/data");
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kUsage);
    EXPECT_THAT(e.what(), HasSubstr("sample 'a' has a mask"));
  }
}

}  // namespace
}  // namespace vtissue::stages
