#include <gmock/gmock.h>

#include "io/expression.h"
#include "store_test_support.h"

namespace vtissue::io {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr const char* kCounts =
    "\tACTB\tTP53\n"
    "10x21\t0\t3\n"
    "11x21\t1\t0\n"
    "12x21\t5\t6\n"
    "13x21\t1\t1\n";
constexpr const char* kSelection =
    "x\ty\tnew_x\tnew_y\tpixel_x\tpixel_y\tselected\n"
    "11\t21\t11.1\t21\t290.5\t50\t1\n"
    "10\t21\t10.1\t21\t0.5\t50\t1\n"
    "12\t21\t12.1\t21\t580.5\t50\t0\n"
    "40\t21\t40.1\t21\t9000\t50\t1\n";

SpotTable read(const TemporaryFolder& folder, std::string_view counts, std::string_view selection) {
  return read_legacy_st(write_gzip(folder / "counts.tsv.gz", counts), write_text(folder / "selection.tsv", selection));
}

TEST(LegacySt, TakesSelectedSpotsInTheOrderOfTheCounts) {
  const TemporaryFolder folder;
  const SpotTable table = read(folder, kCounts, kSelection);
  EXPECT_THAT(table.barcodes, ElementsAre("10x21", "11x21"));
  EXPECT_THAT(table.x, ElementsAre(0.5, 290.5));
  EXPECT_THAT(table.y, ElementsAre(50, 50));
  EXPECT_THAT(table.counts.genes, ElementsAre("ACTB", "TP53"));
  EXPECT_THAT(table.counts.indptr, ElementsAre(0, 1, 2));
  EXPECT_THAT(table.counts.indices, ElementsAre(1, 0));
  EXPECT_THAT(table.counts.values, ElementsAre(3, 1));
  EXPECT_EQ(table.pitch_px, 290.0);
  EXPECT_EQ(table.spot_diameter_px, 145.0);
  EXPECT_EQ(table.pitch_um, 200.0);
  EXPECT_EQ(table.source, "st");
}

TEST(LegacySt, AHeaderWithoutTheFirstCellMeansTheSame) {
  const TemporaryFolder folder;
  EXPECT_EQ(read(folder, std::string(kCounts).substr(1), kSelection).counts.genes,
            read(folder, kCounts, kSelection).counts.genes);
}

TEST(LegacySt, RefusesDefects) {
  const TemporaryFolder folder;
  const auto message = [&](std::string_view counts, std::string_view selection) {
    const Error error = error_of([&] { read(folder, counts, selection); });
    EXPECT_EQ(error.code(), ErrorCode::kBadInput);
    return std::string(error.what());
  };
  EXPECT_THAT(message("", kSelection), HasSubstr("counts.tsv.gz: is empty"));
  EXPECT_THAT(message(kCounts, ""), HasSubstr("selection.tsv: is empty"));
  EXPECT_THAT(message("\tACTB\n10x21\t1\t2\t3\n", kSelection), HasSubstr("line 2: has 4 columns, the header 2"));
  EXPECT_THAT(message("\tACTB\tTP53\n10x21\t1\t2\n11x21\t1\n", kSelection), HasSubstr("has 1 counts for 2 genes"));
  EXPECT_THAT(message("\tACTB\nspot\t1\n", kSelection), HasSubstr("row name 'spot'"));
  EXPECT_THAT(message("\tACTB\n10x21\t1\n10x21\t1\n", kSelection), HasSubstr("spot 10x21 is there twice"));
  EXPECT_THAT(message("\tACTB\n10x21\tNA\n", kSelection), HasSubstr("count 'NA' of ACTB"));
  EXPECT_THAT(message("\tACTB\n10x21\t-1\n", kSelection), HasSubstr("count '-1' of ACTB"));
  EXPECT_THAT(message("\tACTB\n1x1\t1\n", kSelection), HasSubstr("belong to the same section"));
  EXPECT_THAT(message(kCounts, "x\ty\n1\t1\n"), HasSubstr("has no column 'pixel_x'"));
  EXPECT_THAT(message(kCounts, "x\ty\tpixel_x\tpixel_y\n1\t1\t2\n"), HasSubstr("has 3 columns, the header 4"));
  EXPECT_THAT(message(kCounts, "x\ty\tpixel_x\tpixel_y\n1.5\t1\t2\t3\n"), HasSubstr("whole numbers"));
  EXPECT_THAT(message(kCounts, "x\ty\tpixel_x\tpixel_y\n1\t1\t2\t3\n1\t1\t2\t3\n"), HasSubstr("1x1 is there twice"));
  EXPECT_THAT(message(kCounts, "x\ty\tpixel_x\tpixel_y\tselected\n1\t1\t2\t3\t0\n"), HasSubstr("no spot is selected"));
}

TEST(LegacyStRealData, Her2st) {
  for (const char* section : {"B4", "C2", "C3", "C4", "C5"}) {
    const std::string name = std::string("her2st/") + section;
    const auto counts = real_data(name + "_counts.tsv.gz"), selection = real_data(name + "_selection.tsv");
    if (!counts || !selection) GTEST_SKIP() << "set VTISSUE_DATA to the folder with her2st/";
    const SpotTable table = read_legacy_st(*counts, *selection);
    EXPECT_GT(table.barcodes.size(), 150u) << section;
    EXPECT_EQ(table.counts.rows, table.barcodes.size());
    EXPECT_NEAR(*table.pitch_um / *table.pitch_px, 0.686, 0.01) << section;
  }
}

}  // namespace
}  // namespace vtissue::io
