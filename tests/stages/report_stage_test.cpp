#include "stages/report/report_stage.h"

#include <gmock/gmock.h>

#include <span>

#include "stages/report/html.h"
#include "stages/report/metric_notes.h"
#include "stages/report/report_config.h"
#include "stages/report/report_pictures.h"
#include "stages/stitch/stitch_stage.h"
#include "tests/stages/synthesis_fixture.h"

namespace vtissue::stages {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

std::size_t count_of(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

class ReportStageTest : public SynthesisFixture {
 protected:
  void SetUp() override {
    SynthesisFixture::SetUp();
    make_slide(6, 4);
    embed();
    synthesize();
    run(StitchStage({.generator = "vtissue 9.9"}, models::make_null_autoencoder()),
        {{"latents", file("latents")}, {"tiles", file("tiles.h5")}}, {{"virtual", file("virtual.tiff")}}, "stitch");
  }
  pipeline::Bindings inputs() const {
    return {{"slide", file("slide.tif")}, {"tiles", file("tiles.h5")}, {"virtual", file("virtual.tiff")}};
  }
  pipeline::Bindings outputs(const std::string& prefix = "") const {
    return {{"report", file(prefix + "report.html")}, {"preview", file(prefix + "preview.png")}};
  }
};

TEST_F(ReportStageTest, ThePageIsSelfContainedAndSaysSynthetic) {
  run(ReportStage({.tile_pairs = 4, .generator = "vtissue 9.9"}), inputs(), outputs());
  const std::string html = read_bytes(file("report.html"));
  EXPECT_THAT(html, HasSubstr("SYNTHETIC – NOT FOR DIAGNOSIS"));
  EXPECT_THAT(html, HasSubstr("This run was not evaluated."));
  EXPECT_EQ(count_of(html, "data:image/jpeg;base64,/9j/"), 3u + 2 * 4);
  EXPECT_EQ(count_of(html, "<img"), 3u + 2 * 4);
  for (const char* outside : {"http:", "https:", "<script", "<link", "url(", "@import"})
    EXPECT_THAT(html, Not(HasSubstr(outside)));
  EXPECT_THAT(html, Not(HasSubstr(folder_.string())));
  EXPECT_THAT(read_bytes(file("preview.png")), ::testing::StartsWith("\x89PNG\r\n"));
}

TEST_F(ReportStageTest, EqualInputGivesEqualBytes) {
  const ReportStage stage({.generator = "vtissue 9.9"});
  run_with(stage, inputs(), outputs("a"), "work-a", 1);
  run_with(stage, inputs(), outputs("b"), "work-b", 8);
  EXPECT_EQ(read_bytes(file("areport.html")), read_bytes(file("breport.html")));
  EXPECT_EQ(read_bytes(file("apreview.png")), read_bytes(file("bpreview.png")));
}

TEST_F(ReportStageTest, ShowsMetricsWarningsStagesAndConfigurationEscaped) {
  std::ofstream(file("metrics.json"))
      << R"({"same_tile": {"mean_cosine": 0.91234}, "frechet_distance": {"real_vs_virtual": null},
    "notes": ["few <tiles>"]})";
  pipeline::Bindings all = inputs();
  all["metrics"] = file("metrics.json");
  ReportOptions options{.overview_px = 300, .tile_pairs = 0, .generator = "v<1>"};
  options.run = {{"warnings", {"<script>alert('x')</script> & more"}},
                 {"stages", {{{"name", "tile"}, {"status", "done"}, {"figures", {{"tiles", 16}}}}}},
                 {"configuration", {{"synthesize", {{"sampler", "<b>"}}}}}};
  run(ReportStage(options), all, outputs());
  const std::string html = read_bytes(file("report.html"));
  EXPECT_THAT(html, HasSubstr("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; more"));
  EXPECT_THAT(html, Not(HasSubstr("<script")));
  EXPECT_THAT(html, HasSubstr("v&lt;1&gt;"));
  EXPECT_THAT(html, HasSubstr("same_tile.mean_cosine</td><td class=\"value\">0.9123"));
  EXPECT_THAT(html, HasSubstr("not available"));
  EXPECT_THAT(html, HasSubstr("few &lt;tiles&gt;"));
  EXPECT_THAT(html, HasSubstr("<td>tile</td><td>done</td><td>tiles: 16</td>"));
  EXPECT_THAT(html, HasSubstr("&quot;&lt;b&gt;&quot;"));
}

TEST_F(ReportStageTest, RefusesMetricsThatAreNotJson) {
  std::ofstream(file("metrics.json")) << "{";
  pipeline::Bindings all = inputs();
  all["metrics"] = file("metrics.json");
  const Error error = error_of([&] { run(ReportStage({}), all, outputs()); });
  EXPECT_EQ(error.code(), ErrorCode::kBadInput);
  EXPECT_THAT(error.what(), HasSubstr("metrics.json"));
}

TEST_F(ReportStageTest, RefusesAnotherSlideOfTheSameSize) {
  write_tiff(file("slide.tif"), Canvas(768, 512, {200, 100, 150}), kMpp);
  const Error error = error_of([&] { run(ReportStage({}), inputs(), outputs()); });
  EXPECT_EQ(error.code(), ErrorCode::kBadInput);
  EXPECT_THAT(error.what(), HasSubstr("not the slide that the tiles were made from"));
}

TEST_F(ReportStageTest, RefusesAVirtualSlideThatIsTooSmall) {
  pipeline::Bindings other = inputs();
  write_tiff(file("small.tif"), Canvas(64, 64, {1, 2, 3}), kMpp);
  other["virtual"] = file("small.tif");
  const Error error = error_of([&] { run(ReportStage({}), other, outputs()); });
  EXPECT_EQ(error.code(), ErrorCode::kBadInput);
  EXPECT_THAT(error.what(), HasSubstr("64 x 64 px, but the tiles cover 768 x 512 px"));
}

TEST(ChooseTilesTest, SpreadOverTheRanksOfTissue) {
  io::TileSet tiles;
  tiles.cells.resize(7);
  tiles.tissue_fraction = {0.5f, 1.0f, 0.3f, 0.9f, 0.7f, 0.9f, 0.4f};
  const auto all = [](std::size_t) { return true; };
  EXPECT_THAT(choose_tiles(tiles, 3, all), ElementsAre(1, 4, 2));
  EXPECT_THAT(choose_tiles(tiles, 1, all), ElementsAre(1));
  EXPECT_THAT(choose_tiles(tiles, 99, all), ElementsAre(1, 3, 5, 4, 0, 6, 2));
  EXPECT_TRUE(choose_tiles(tiles, 0, all).empty());
  EXPECT_TRUE(choose_tiles({}, 3, all).empty());
  // The next in rank stands in, after the last one the one before.
  const auto without = [](std::size_t bad) { return [bad](std::size_t i) { return i != bad; }; };
  EXPECT_THAT(choose_tiles(tiles, 3, without(1)), ElementsAre(3, 4, 2));
  EXPECT_THAT(choose_tiles(tiles, 3, without(2)), ElementsAre(1, 4, 6));
  EXPECT_THAT(choose_tiles(tiles, 7, without(4)), ElementsAre(1, 3, 5, 0, 6, 2));
  EXPECT_TRUE(choose_tiles(tiles, 3, [](std::size_t) { return false; }).empty());
}

TEST(HtmlTest, Base64KnownAnswers) {
  const auto encoded = [](std::string_view text) { return base64(std::as_bytes(std::span(text))); };
  EXPECT_EQ(encoded(""), "");
  EXPECT_EQ(encoded("f"), "Zg==");
  EXPECT_EQ(encoded("fo"), "Zm8=");
  EXPECT_EQ(encoded("foo"), "Zm9v");
  EXPECT_EQ(encoded("foobar"), "Zm9vYmFy");
}

TEST(MetricRowsTest, FlattensAndExplains) {
  const auto rows = metric_rows({{"format", 1},
                                 {"same_tile", {{"mean_colour_shift_rgb", {1.5, 2, -3}}}},
                                 {"tiles", {{"compared", 12}}},
                                 {"curve", {1, 2, 3, 4, 5}}});
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].name, "same_tile.mean_colour_shift_rgb");
  EXPECT_EQ(rows[0].value, "1.5, 2, -3");
  EXPECT_EQ(rows[1].value, "12");
  for (const MetricRow& row : rows) EXPECT_FALSE(row.note.empty()) << row.name;
}

TEST(ReportConfigTest, Defaults) {
  pipeline::ConfigSchema schema;
  schema.add(report_config_keys());
  EXPECT_EQ(report_options(pipeline::Config::defaults(schema)).overview_px, 900);
}

}  // namespace
}  // namespace vtissue::stages
