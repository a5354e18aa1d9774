// A preview is a part of what a run makes.

#include "io/latent_store.h"
#include "line_fixture.h"

namespace vtissue::testing {
namespace {

using ::testing::HasSubstr;

class PreviewCommandTest : public LineTest {};

TEST_F(PreviewCommandTest, TilesAreThoseOfTheRunAndTheRunIsLeftAlone) {
  const auto out = work_ / "out";
  const std::vector<std::string> alone = {"--set", "synthesize.mode=independent"};
  ASSERT_EQ(run_program(arguments(out, alone)).exit_code, 0);
  const std::string before = virtual_sha(out);
  std::vector<std::string> preview = arguments(out, alone);
  preview.insert(preview.end(), {"--preview", "--region", "600,500,500,400"});
  const ProgramResult result = run_program(preview);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out, (out / "preview" / "preview.png").string() + "\n");
  EXPECT_TRUE(std::filesystem::exists(out / "preview" / "preview.png"));
  EXPECT_EQ(virtual_sha(out), before);
  EXPECT_THAT(run_program(arguments(out, alone)).err, HasSubstr("nothing to do"));

  const io::LatentReader whole(out / "latents"), part(out / "preview" / "latents");
  EXPECT_LT(part.cells().size(), whole.cells().size());
  ASSERT_GT(part.cells().size(), 4u);
  const std::size_t values = static_cast<std::size_t>(part.info().channels * part.info().size * part.info().size);
  for (std::size_t i = 0; i < part.cells().size(); ++i) {
    const auto found = std::ranges::lower_bound(whole.cells(), part.cells()[i]);
    ASSERT_TRUE(found != whole.cells().end() && *found == part.cells()[i]);
    std::vector<float> one(values), other(values);
    part.read(i, one);
    whole.read(static_cast<std::size_t>(found - whole.cells().begin()), other);
    EXPECT_EQ(one, other);
  }
  EXPECT_THAT(run_program(preview).err, HasSubstr("nothing to do"));
}

TEST_F(PreviewCommandTest, WhatCannotBeIsSaid) {
  const auto fails = [&](const std::vector<std::string>& more, int code, const std::string& message) {
    const ProgramResult result = run_program(arguments(work_ / "out", more));
    EXPECT_EQ(result.exit_code, code) << result.err;
    EXPECT_THAT(result.err, HasSubstr(message));
    EXPECT_FALSE(std::filesystem::exists(work_ / "out"));
  };
  fails({"--preview"}, 2, "--preview needs --region");
  fails({"--preview", "--region", "600,500,500,400", "--shard", "1/2"}, 2, "a preview is not divided");
  fails({"--preview-steps", "4"}, 2, "--preview-steps belongs to --preview");
  fails({"--preview", "--region", "60000,50000,500,400"}, 2, "lies outside");
}

}  // namespace
}  // namespace vtissue::testing
