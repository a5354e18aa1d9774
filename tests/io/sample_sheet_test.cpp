#include "io/sample_sheet.h"

#include <gmock/gmock.h>

#include <fstream>

#include "../support/temp_folder.h"
#include "core/error.h"

namespace vtissue::io {
namespace {

using ::testing::HasSubstr;

class SampleSheet : public ::testing::Test {
 protected:
  std::filesystem::path write(const std::string& text) {
    const std::filesystem::path path = folder_ / "samples.csv";
    std::ofstream(path, std::ios::binary) << text;
    return path;
  }

  std::string refused(const std::string& text, bool for_training = false) {
    const std::filesystem::path path = write(text);
    try {
      const std::vector<Sample> samples = read_sample_sheet(path);
      if (for_training) require_split_by_donor(path, samples);
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::kUsage);
      EXPECT_THAT(e.what(), HasSubstr("samples.csv"));
      return e.what();
    }
    return "";
  }

  testing::TempFolder folder_;
};

TEST_F(SampleSheet, ReadsColumnsInAnyOrder) {
  const auto samples =
      read_sample_sheet(write("# the first batch\n"
                              "slide,sample,mpp,donor,split,visium,h5ad,mask\n"
                              "a/one.svs, one ,0.25,D1,train,,,\n"
                              "\n"
                              "\"two, again.svs\",two,,D2,val,/data/outs,,m.geojson\n"
                              "three.tif,three,0.5,D1,train,,x.h5ad,\n"));
  ASSERT_EQ(samples.size(), 3u);
  EXPECT_EQ(samples[0].name, "one");
  EXPECT_EQ(samples[0].slide, folder_ / "a/one.svs");
  EXPECT_EQ(samples[0].mpp, 0.25);
  EXPECT_EQ(samples[0].donor, "D1");
  EXPECT_EQ(samples[0].line, 3u);
  EXPECT_TRUE(samples[0].visium.empty());
  EXPECT_EQ(samples[1].slide, folder_ / "two, again.svs");
  EXPECT_EQ(samples[1].visium, "/data/outs");
  EXPECT_EQ(samples[1].mask, folder_ / "m.geojson");
  EXPECT_FALSE(samples[1].mpp);
  EXPECT_EQ(samples[1].line, 5u);
  EXPECT_EQ(samples[2].h5ad, folder_ / "x.h5ad");
  require_split_by_donor("samples.csv", samples);
}

TEST_F(SampleSheet, MayBeSeparatedByTabsAndRelativeToAnotherFolder) {
  const auto samples =
      read_sample_sheet(write("sample\tslide\tst_counts\tst_spots\r\na\ts.jpg\tc.tsv\tp.tsv\r\n"), "/data");
  ASSERT_EQ(samples.size(), 1u);
  EXPECT_EQ(samples[0].slide, "/data/s.jpg");
  EXPECT_EQ(samples[0].st_spots, "/data/p.tsv");
  EXPECT_EQ(read_sample_sheet(write("\xEF\xBB\xBFsample;slide\na;b.svs\n")).front().name, "a");
}

TEST_F(SampleSheet, NamesWhatIsWrong) {
  EXPECT_THAT(refused(""), HasSubstr("is empty"));
  EXPECT_THAT(refused("sample,slide\n"), HasSubstr("has no samples"));
  EXPECT_THAT(refused("sample,slid\na,b\n"),
              HasSubstr("line 1: unknown column 'slid'; the nearest known one is 'slide'"));
  EXPECT_THAT(refused("sample,mpp\na,1\n"), HasSubstr("there is no column 'slide'"));
  EXPECT_THAT(refused("sample,slide,slide\na,b,c\n"), HasSubstr("column 'slide' is there twice"));
  EXPECT_THAT(refused("sample,slide\na,b\nc\n"), HasSubstr("line 3: 1 fields, the header has 2 columns"));
  EXPECT_THAT(refused("sample,slide\na,b\nc,d\na,e\n"), HasSubstr("line 4: sample 'a' is in line 2 already"));
  EXPECT_THAT(refused("sample,slide\n,b\n"), HasSubstr("line 2: a sample has no name"));
  EXPECT_THAT(refused("sample,slide\n../a,b\n"), HasSubstr("names become folders"));
  EXPECT_THAT(refused("sample,slide\na,\n"), HasSubstr("sample 'a' has no slide"));
  for (const char* mpp : {"fine", "0", "-1", "nan", "1e9"}) {
    EXPECT_THAT(refused("sample,slide,mpp\na,b," + std::string(mpp) + "\n"),
                HasSubstr("mpp is '" + std::string(mpp) + "'"));
  }
  EXPECT_THAT(refused("sample,slide,visium,h5ad\na,b,c,d\n"), HasSubstr("more than one source of expression"));
  EXPECT_THAT(refused("sample,slide,st_counts\na,b,c\n"), HasSubstr("belong together"));
  EXPECT_THAT(refused("sample,slide,split\na,b,test\n"), HasSubstr("split is 'test'"));
}

TEST_F(SampleSheet, ThatIsMissingIsNamed) {
  try {
    read_sample_sheet(folder_ / "none.csv");
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kUsage);
    EXPECT_THAT(e.what(), HasSubstr("none.csv"));
  }
}

TEST_F(SampleSheet, ADonorIsOnOneSideOfTheSplit) {
  EXPECT_THAT(refused("sample,slide,donor,split\na,x,D1,train\nb,y,D2,val\nc,z,D1,val\n", true),
              HasSubstr("donor 'D1' is in both splits, train (sample 'a', line 2) and val (sample 'c', line 4)"));
  EXPECT_THAT(refused("sample,slide,split\na,x,train\n", true), HasSubstr("line 2: sample 'a' has no donor"));
  EXPECT_THAT(refused("sample,slide,donor\na,x,D\n", true), HasSubstr("has no split"));
  EXPECT_EQ(refused("sample,slide,donor,split\na,x,D1,train\nb,y,D2,val\nc,z,D1,train\n", true), "");
}

}  // namespace
}  // namespace vtissue::io
