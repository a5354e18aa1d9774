#include "pipeline/progress.h"

#include <gmock/gmock.h>
#include <spdlog/spdlog.h>

#include <nlohmann/json.hpp>

#include "pipeline/logging.h"
#include "pipeline/progress_styles.h"

namespace vtissue::pipeline {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class ProgressTest : public ::testing::Test {
 protected:
  std::vector<std::string> lines() const {
    std::vector<std::string> all;
    std::string_view rest = written_;
    while (!rest.empty()) {
      const std::size_t end = rest.find('\n');
      all.emplace_back(rest.substr(0, end));
      rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    }
    return all;
  }

  /// What a terminal shows, for the few sequences that are used.
  std::vector<std::string> screen() const {
    std::vector<std::string> rows = {""};
    std::size_t row = 0;
    for (std::size_t i = 0; i < written_.size(); ++i) {
      const std::string_view rest = std::string_view(written_).substr(i);
      if (rest.starts_with("\033[2K")) {
        rows[row].clear();
        i += 3;
      } else if (rest.starts_with("\033[1A")) {
        --row;
        i += 3;
      } else if (rest[0] == '\n') {
        if (++row == rows.size()) rows.emplace_back();
      } else if (rest[0] != '\r') {
        rows[row] += rest[0];
      }
    }
    return rows;
  }

  std::string written_;
  Terminal terminal_{[this](std::string_view text) { written_ += text; }};
  std::chrono::steady_clock::time_point now_{100h};
  ProgressClock clock_ = [this] { return now_; };
};

TEST_F(ProgressTest, JsonLinesAreWellFormedAndAtMostOneASecond) {
  JsonProgress progress(terminal_, clock_);
  progress.stage_started("tile \"1\"", 1000, "tiles");
  for (int i = 1; i <= 1000; ++i) {
    now_ += 10ms;
    progress.advanced("tile \"1\"", i);
  }
  progress.stage_finished("tile \"1\"", "ran");
  std::vector<std::string> events;
  for (const std::string& line : lines()) events.push_back(nlohmann::json::parse(line).at("event"));
  EXPECT_EQ(events.size(), 12u);
  const auto start = nlohmann::json::parse(lines().front());
  EXPECT_EQ(start, nlohmann::json({{"event", "start"}, {"stage", "tile \"1\""}, {"total", 1000}, {"unit", "tiles"}}));
  EXPECT_EQ(lines()[1],
            R"({"event":"progress","stage":"tile \"1\"","done":100,"total":1000,"unit":"tiles","elapsed_s":1.0})");
  const auto finish = nlohmann::json::parse(lines().back());
  EXPECT_EQ(finish.at("outcome"), "ran");
  EXPECT_EQ(finish.at("done"), 1000);
  EXPECT_EQ(finish.at("elapsed_s"), 10.0);
}

TEST_F(ProgressTest, AStageThatNeverStartedStillFinishes) {
  JsonProgress json(terminal_, clock_);
  json.advanced("tile", 3);
  json.stage_finished("tile", "up to date");
  EXPECT_THAT(lines(), ElementsAre(R"({"event":"finish","stage":"tile","outcome":"up to date"})"));
}

TEST_F(ProgressTest, BarsOfTwoStagesAndALogLineDoNotMix) {
  BarProgress bar(
      terminal_, [] { return 80; }, clock_);
  bar.stage_started("embed", 10, "tiles");
  bar.stage_started("count", 5, "tiles");
  now_ += 1s;
  bar.advanced("embed", 5);
  terminal_.print("warning: 3 tiles are blank");
  const auto shown = screen();
  ASSERT_EQ(shown.size(), 3u);
  EXPECT_EQ(shown[0], "warning: 3 tiles are blank");
  EXPECT_THAT(shown[1], HasSubstr("count"));
  EXPECT_THAT(shown[2], HasSubstr("50 %  5/10 tiles"));
  bar.stage_finished("count", "ran");
  bar.stage_finished("embed", "ran");
  EXPECT_EQ(screen()[1], "count        ran  0/5 tiles  0:01");
  EXPECT_EQ(screen()[2], "embed        ran  5/10 tiles  0:01");
}

TEST_F(ProgressTest, RedrawsAtMostTenTimesASecond) {
  BarProgress bar(
      terminal_, [] { return 80; }, clock_);
  bar.stage_started("embed", 1000, "tiles");
  const std::size_t before = written_.size();
  for (int i = 0; i < 1000; ++i) bar.advanced("embed", i);
  EXPECT_EQ(written_.size(), before);
}

TEST(BarLine, FitsEveryWidth) {
  StageProgress progress;
  progress.total = 192;
  progress.unit = "tiles";
  progress.done = 96;
  for (int width = 0; width < 200; ++width) {
    EXPECT_LE(bar_line("synthesize", progress, width).size(), static_cast<std::size_t>(std::max(0, width - 1)));
  }
  EXPECT_EQ(bar_line("tile", progress, 60), "tile        [############............]  50 %  96/192 tiles");
}

TEST(BarLine, TellsTheTimeLeftFromTheRecentRate) {
  StageProgress progress;
  progress.total = 1000;
  progress.unit = "tiles";
  std::chrono::steady_clock::time_point now{};
  progress.recent.emplace_back(now, 0);
  EXPECT_EQ(progress.rate(), std::nullopt);
  progress.advance(now += 1s, 500);  // committed by an earlier run
  for (int i = 1; i <= 40; ++i) progress.advance(now += 1s, 500 + 2 * i);
  EXPECT_EQ(progress.rate(), 2.0);
  EXPECT_THAT(bar_line("tile", progress, 100), HasSubstr("2/s  3:30 left"));
}

TEST(BarLine, WorksWithoutATotal) {
  StageProgress progress;
  EXPECT_THAT(bar_line("tile", progress, 80), HasSubstr("0 %  0/0"));
}

TEST_F(ProgressTest, LogLinesComeAsTextOrJson) {
  const auto former = spdlog::default_logger();
  configure_logging(LogFormat::kText, spdlog::level::info, terminal_);
  spdlog::warn("µm/px \"guessed\"");
  spdlog::debug("not shown");
  EXPECT_THAT(written_, HasSubstr("warning: µm/px \"guessed\"\n"));
  EXPECT_THAT(written_, Not(HasSubstr("not shown")));
  written_.clear();
  configure_logging(LogFormat::kJson, spdlog::level::info, terminal_);
  spdlog::error("line one\nline \"two\" \xff");
  spdlog::set_default_logger(former);
  ASSERT_EQ(lines().size(), 1u);
  const auto line = nlohmann::json::parse(lines()[0]);
  EXPECT_EQ(line.at("event"), "log");
  EXPECT_EQ(line.at("level"), "error");
  EXPECT_THAT(line.at("message").get<std::string>(), HasSubstr("line one\nline \"two\""));
}

TEST(MakeProgress, OffSaysNothing) {
  const auto progress = make_progress(ProgressStyle::kOff);
  ::testing::internal::CaptureStderr();
  progress->stage_started("tile", 3, "tiles");
  progress->advanced("tile", 1);
  progress->stage_finished("tile", "ran");
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
}

TEST_F(ProgressTest, LinesOfTextComeNowAndThen) {
  LineProgress progress(terminal_, clock_);
  progress.stage_started("tile", 10, "tiles");
  now_ += 10s;
  progress.advanced("tile", 1);
  now_ += 20s;
  progress.advanced("tile", 3);
  progress.stage_finished("tile", "ran");
  ASSERT_EQ(lines().size(), 3u);
  EXPECT_EQ(lines()[0], "tile         starts: 10 tiles");
  EXPECT_THAT(lines()[1], HasSubstr("30 %  3/10 tiles"));
  EXPECT_EQ(lines()[2], "tile         ran  3/10 tiles  0:30");
}

}  // namespace
}  // namespace vtissue::pipeline
