#include "core/error.h"

#include <gmock/gmock.h>

namespace vtissue {
namespace {

using ::testing::ElementsAre;

TEST(Error, ReadsFromTheOutermostContextToTheMessage) {
  Error error(ErrorCode::kBadInput, "{}: no µm/px in the slide; pass --mpp", "a.svs");
  EXPECT_STREQ(error.what(), "a.svs: no µm/px in the slide; pass --mpp");
  error.add("tile ({}, {})", 3, 4).add_context("embed");
  EXPECT_STREQ(error.what(), "embed: tile (3, 4): a.svs: no µm/px in the slide; pass --mpp");
  EXPECT_EQ(error.message(), "a.svs: no µm/px in the slide; pass --mpp");
  EXPECT_THAT(error.contexts(), ElementsAre("tile (3, 4)", "embed"));
}

TEST(Error, TakesAReadyMessageWithBraces) {
  EXPECT_STREQ(Error(ErrorCode::kUsage, "{not a format}").what(), "{not a format}");
}

TEST(Error, KeepsContextsWhileItPassesFrames) {
  try {
    try {
      throw Error(ErrorCode::kModel, "damaged");
    } catch (Error& error) {
      error.add_context("outer");
      throw;
    }
  } catch (const std::exception& error) {
    EXPECT_STREQ(error.what(), "outer: damaged");
  }
}

TEST(Error, CodesAreTheExitCodes) {
  EXPECT_EQ(Error(ErrorCode::kUsage, "").exit_code(), 2);
  EXPECT_EQ(Error(ErrorCode::kBadInput, "").exit_code(), 3);
  EXPECT_EQ(Error(ErrorCode::kModel, "").exit_code(), 4);
  EXPECT_EQ(Error(ErrorCode::kDevice, "").exit_code(), 5);
  EXPECT_EQ(Error(ErrorCode::kOutput, "").exit_code(), 6);
  EXPECT_EQ(Error(ErrorCode::kInterrupted, "").exit_code(), 130);
  EXPECT_EQ(to_string(ErrorCode::kBadInput), "bad input");
  EXPECT_EQ(to_string(ErrorCode::kInterrupted), "interrupted");
}

}  // namespace
}  // namespace vtissue
