#include "stages/cohort/cohort_report.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <sstream>

namespace vtissue::stages {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

std::vector<CohortSlide> slides() {
  const nlohmann::json run = {{"stages",
                               {{{"name", "tile"}, {"report", {{"tiles", 103}}}, {"warnings", {"a pen mark"}}},
                                {{"name", "embed"}, {"warnings", nlohmann::json::array()}}}}};
  const nlohmann::json metrics = {{"same_tile", {{"mean_cosine", 0.834921}}}};
  return {{.sample = "one", .status = "done", .seconds = 12.34, .run = run, .metrics = metrics},
          {.sample = "two",
           .status = "failed",
           .exit_code = 3,
           .message = "two.svs: no µm/px, \"pass\" <it>",
           .seconds = 0.1}};
}

TEST(CohortReport, CsvHasARowASlideAndQuotesWhatNeedsIt) {
  const std::string csv = cohort_csv(slides());
  EXPECT_THAT(csv, testing::StartsWith("sample,status,exit_code,seconds,tiles,warnings,"));
  EXPECT_THAT(csv, HasSubstr("\none,done,0,12.3,103,1,"));
  EXPECT_THAT(csv, HasSubstr(",0.834921,"));
  EXPECT_THAT(csv, HasSubstr("\ntwo,failed,3,0.1,,0,"));
  EXPECT_THAT(csv, HasSubstr(",\"two.svs: no µm/px, \"\"pass\"\" <it>\"\n"));
  const auto columns = [](std::string_view line) { return std::ranges::count(line, ','); };
  std::istringstream lines(cohort_csv({slides().front()}));
  std::string header, row;
  std::getline(lines, header);
  std::getline(lines, row);
  EXPECT_EQ(columns(header), columns(row));
}

TEST(CohortReport, PageShowsWhatFailedFirstAndEscapes) {
  const std::string page = cohort_page(slides(), "preview.png", "vtissue 1");
  EXPECT_THAT(page, AllOf(HasSubstr("1 of 2 slides"), HasSubstr("SYNTHETIC"), HasSubstr("one/preview.png"),
                          HasSubstr("tile: a pen mark"), HasSubstr("&lt;it&gt;"), Not(HasSubstr("<it>"))));
  EXPECT_LT(page.find("<td>two</td>"), page.find("<td>one</td>"));
  EXPECT_THAT(page, Not(HasSubstr("two/preview.png")));
}

}  // namespace
}  // namespace vtissue::stages
