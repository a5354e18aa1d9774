#include "pipeline/plan.h"

#include <gmock/gmock.h>

#include "fixtures.h"

namespace vtissue::pipeline {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using testing::execute;
using testing::expect_error;
using testing::FakeLine;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::ScratchFolder;
using testing::spill;

class Plan : public ::testing::Test {
 protected:
  Plan() { spill(slide_, "pixels"); }

  /// Plans in the order tile, embed, stitch, count.
  std::vector<NodePlan> plan() {
    DigestCache digests;
    return make_plan(line_.graph(slide_, out_), folders_for_run(out_), digests);
  }
  void run() { execute(line_.graph(slide_, out_), out_); }

  ScratchFolder scratch_;
  fs::path slide_ = scratch_ / "slide";
  fs::path out_ = scratch_ / "out";
  FakeLine line_;
};

TEST_F(Plan, AtFirstEverythingRunsAndNothingIsWritten) {
  const auto plans = plan();
  for (const NodePlan& each : plans) EXPECT_EQ(each.decision, Decision::kRun) << each.name;
  EXPECT_THAT(plans[0].reasons, ElementsAre("never run"));
  EXPECT_THAT(plans[1].reasons, ElementsAre("never run", "will follow: tiles of tile may change"));
  EXPECT_NE(plans[0].fingerprint, "");
  EXPECT_EQ(plans[1].fingerprint, "");
  EXPECT_EQ(plans[0].estimate.chunks, 8);
  EXPECT_FALSE(fs::exists(out_));
}

TEST_F(Plan, AfterARunAllIsUpToDate) {
  run();
  for (const NodePlan& each : plan()) {
    EXPECT_EQ(each.decision, Decision::kUpToDate) << each.name;
    EXPECT_THAT(each.reasons, IsEmpty());
  }
}

TEST_F(Plan, SaysWhichParameterChangedAndWhoFollows) {
  run();
  line_.embed->settings["size_px"] = 256;
  line_.embed->settings["model"]["sha256"] = std::string(64, 'a');
  const auto plans = plan();
  EXPECT_EQ(plans[0].decision, Decision::kUpToDate);
  EXPECT_EQ(plans[1].decision, Decision::kRun);
  EXPECT_THAT(plans[1].reasons,
              ElementsAre("embed.model.sha256 is new: aaaaaaaaaaaa…", "embed.size_px changed 128 → 256"));
  const NodePlan& stitch = plans[2].name == "stitch" ? plans[2] : plans[3];
  EXPECT_EQ(stitch.decision, Decision::kWaits);
  EXPECT_THAT(stitch.reasons, ElementsAre("will follow: features of embed may change"));
  const NodePlan& count = plans[2].name == "count" ? plans[2] : plans[3];
  EXPECT_EQ(count.decision, Decision::kUpToDate);
}

TEST_F(Plan, SaysThatAnInputChanged) {
  run();
  spill(slide_, "other pixels");
  EXPECT_THAT(plan()[0].reasons, ElementsAre("input slide changed"));
}

TEST_F(Plan, SaysThatAFormatChanged) {
  run();
  line_.tile->format = 2;
  EXPECT_THAT(plan()[0].reasons, ElementsAre("format version changed 1 → 2"));
}

TEST_F(Plan, SaysThatAnOutputIsMissingOrChanged) {
  run();
  fs::remove(out_ / "tiles");
  EXPECT_THAT(plan()[0].reasons, ElementsAre("output tiles missing"));
  spill(out_ / "tiles", "mine");
  EXPECT_THAT(plan()[0].reasons, ElementsAre("output tiles is not what was written"));
}

TEST_F(Plan, NoticesALostFileInAFolderOutput) {
  run();
  fs::remove(out_ / "features" / "data");
  EXPECT_THAT(plan()[1].reasons, ElementsAre("output features is not what was written"));
}

TEST_F(Plan, SaysThatPublishingWasInterrupted) {
  run();
  const fs::path path = record_path(folders_for_run(out_).state, "tile");
  ArtifactRecord record = read_record(path).value();
  record.complete = false;
  write_record(path, record);
  EXPECT_THAT(plan()[0].reasons, ElementsAre("was interrupted while its outputs were put in place"));
}

TEST_F(Plan, ADamagedRecordIsNone) {
  run();
  for (const std::string_view text : {"", "{", "[]", "{\"format\": 1}", "{\"format\": 99}"}) {
    spill(record_path(folders_for_run(out_).state, "tile"), text);
    const NodePlan tile = plan()[0];
    EXPECT_THAT(tile.reasons, ElementsAre("never run")) << text;
    EXPECT_THAT(tile.foreign, ElementsAre(out_ / "tiles"));
  }
}

TEST_F(Plan, AMissingInputIsNamedWithStageAndPort) {
  fs::remove(slide_);
  const Error error = expect_error([&] { plan(); });
  EXPECT_EQ(error.code(), ErrorCode::kBadInput);
  EXPECT_EQ(std::string(error.what()), "tile: input slide: " + slide_.string() +
                                           ": cannot be read: No such file or directory; check the path and its "
                                           "permissions");
}

TEST(Fingerprint, DependsOnEverythingThatDecidesTheBytes) {
  testing::FakeStage stage("tile");
  const std::string base = fingerprint(stage, {{"slide", "aa"}});
  EXPECT_EQ(base.size(), 64u);
  EXPECT_EQ(fingerprint(stage, {{"slide", "aa"}}), base);
  EXPECT_NE(fingerprint(stage, {{"slide", "ab"}}), base);
  EXPECT_NE(fingerprint(stage, {{"mask", "aa"}}), base);
  EXPECT_NE(fingerprint(stage, {}), base);
  stage.format = 2;
  EXPECT_NE(fingerprint(stage, {{"slide", "aa"}}), base);
  stage.format = 1;
  stage.settings["size_px"] = 129;
  EXPECT_NE(fingerprint(stage, {{"slide", "aa"}}), base);
  EXPECT_NE(fingerprint(testing::FakeStage("tiles"), {{"slide", "aa"}}), base);
}

TEST(DescribeChanges, NamesNewGoneAndChangedValues) {
  const nlohmann::json before = {{"a", 1}, {"b", {{"c", "x"}, {"d", true}}}, {"list", {1, 2}}};
  const nlohmann::json after = {{"a", 1}, {"b", {{"c", "y"}}}, {"list", {1, 3}}, {"tile.e", 0.5}};
  EXPECT_THAT(describe_changes("tile", before, after),
              ElementsAre("tile.b.c changed x → y", "tile.b.d is gone, was true", "tile.list changed [1,2] → [1,3]",
                          "tile.e is new: 0.5"));
  EXPECT_THAT(describe_changes("tile", before, before), IsEmpty());
  EXPECT_THAT(describe_changes("tile", nlohmann::json::object(), {{"a", 1}}), ElementsAre("tile.a is new: 1"));
}

}  // namespace
}  // namespace vtissue::pipeline
