// Every bad input: exit code, a message that names file, value and remedy, and nothing written.

#include <sys/mount.h>
#include <unistd.h>

#include "io/png.h"
#include "line_fixture.h"

namespace vtissue::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class BadInputTest : public LineTest {
 protected:
  /// Runs the line with changed arguments and expects a refusal before anything is written.
  void expect_refused(const std::vector<std::string>& command, int exit_code,
                      const ::testing::Matcher<std::string>& message) {
    const ProgramResult result = run_program(command);
    EXPECT_EQ(result.exit_code, exit_code) << result.err;
    EXPECT_THAT(result.err, message);
    EXPECT_THAT(result.out, IsEmpty());
    EXPECT_FALSE(std::filesystem::exists(work_ / "out"))
        << "left behind: " << ::testing::PrintToString(listing(work_ / "out"));
  }

  std::vector<std::string> with_slide(const std::filesystem::path& path, const std::vector<std::string>& more = {}) {
    std::vector<std::string> all = arguments(work_ / "out", more);
    all[3] = path.string();
    return all;
  }

  std::filesystem::path write_text(const std::string& name, const std::string& text) {
    std::ofstream(work_ / name) << text;
    return work_ / name;
  }
};

TEST_F(BadInputTest, MissingSlide) {
  expect_refused(with_slide(work_ / "absent.svs"), 3,
                 AllOf(HasSubstr("absent.svs"), HasSubstr("No such file"), HasSubstr("check the path")));
}

TEST_F(BadInputTest, NotASlide) {
  expect_refused(with_slide(write_text("notes.svs", "hello")), 3, HasSubstr("notes.svs"));
}

TEST_F(BadInputTest, TruncatedSlide) {
  std::filesystem::copy_file(slide(), work_ / "cut.svs");
  std::filesystem::resize_file(work_ / "cut.svs", std::filesystem::file_size(work_ / "cut.svs") * 6 / 10);
  expect_refused(with_slide(work_ / "cut.svs"), 3, HasSubstr("cut.svs"));
}

TEST_F(BadInputTest, NoMppAsksForIt) {
  io::write_picture(work_ / "plain.png", tissue_picture({900, 800}, kSlideMpp));
  expect_refused(with_slide(work_ / "plain.png"), 3, AllOf(HasSubstr("plain.png"), HasSubstr("--mpp")));
  EXPECT_EQ(run_program(with_slide(work_ / "plain.png", {"--mpp", "0.5"})).exit_code, 0);
}

TEST_F(BadInputTest, NoTissue) {
  write_slide(work_ / "empty.svs", constant_picture({1200, 1000}, 243, 243, 243), kSlideMpp);
  expect_refused(with_slide(work_ / "empty.svs"), 3, AllOf(HasSubstr("empty.svs"), HasSubstr("no tissue")));
}

TEST_F(BadInputTest, TileLargerThanTheSlide) {
  io::PyramidOptions options;  // JPEG: lossless pyramids are never smaller than a tile of the file
  options.mpp = kSlideMpp;
  write_slide(work_ / "tiny.svs", tissue_picture({120, 100}, kSlideMpp), options);
  expect_refused(with_slide(work_ / "tiny.svs"), 3, AllOf(HasSubstr("tiny.svs"), HasSubstr("128")));
}

TEST_F(BadInputTest, ConfigurationOfAWrongType) {
  std::vector<std::string> command = arguments(work_ / "out");
  command[1] = write_text("wrong.yaml", "tile:\n  size_px: large\n").string();
  expect_refused(command, 2, AllOf(HasSubstr("wrong.yaml:2"), HasSubstr("tile.size_px"), HasSubstr("large")));
}

TEST_F(BadInputTest, UnknownKeyNamesTheNearest) {
  std::vector<std::string> command = arguments(work_ / "out");
  command[1] = write_text("unknown.yaml", "synthesize:\n  guidance_morfology: 2\n").string();
  expect_refused(command, 2, AllOf(HasSubstr("guidance_morfology"), HasSubstr("synthesize.guidance_morphology")));
}

TEST_F(BadInputTest, WeightsOfAnotherModel) {
  const std::string autoencoder = std::string(VTISSUE_SOURCE_DIR) + "/weights/demo/autoencoder";
  expect_refused(arguments(work_ / "out", {"--set", "models.stmdit=" + autoencoder}), 4,
                 AllOf(HasSubstr("autoencoder"), HasSubstr("taesd")));
}

TEST_F(BadInputTest, MissingWeights) {
  expect_refused(arguments(work_ / "out", {"--set", "models.stmdit=" + (work_ / "nowhere").string()}), 4,
                 HasSubstr("nowhere"));
}

TEST_F(BadInputTest, NetworksThatDoNotFitEachOtherAreRefusedAtOnce) {
  const auto with_demo = [&](const std::string& assignment) {
    std::vector<std::string> command = arguments(work_ / "out", {"--set", assignment});
    command[1] = std::string(VTISSUE_SOURCE_DIR) + "/configs/demo.yaml";
    return command;
  };
  expect_refused(with_demo("models.autoencoder=./null"), 4,
                 AllOf(HasSubstr("models.autoencoder"), HasSubstr("4 latent channels"), HasSubstr("makes 16")));
  expect_refused(with_demo("models.encoder=./null"), 4, AllOf(HasSubstr("models.encoder"), HasSubstr("models.stmdit")));
  expect_refused(with_demo("models.expression=./null"), 4,
                 AllOf(HasSubstr("models.expression"), HasSubstr("models.stmdit")));
  expect_refused(with_demo("models.predictor_encoder=./null"), 4,
                 AllOf(HasSubstr("models.predictor_encoder"), HasSubstr("models.predictor ")));
  expect_refused(with_demo("models.stmdit=./null"), 4, HasSubstr("models.stmdit"));
  // The null predictor's four genes are none of the demo encoder's.
  expect_refused(arguments(work_ / "out", {"--set", "models.expression=" + std::string(VTISSUE_SOURCE_DIR) +
                                                        "/weights/demo/expression"}),
                 4, HasSubstr("models.expression"));
}

TEST_F(BadInputTest, UnreadableWeightsAreAModelError) {
  std::filesystem::create_directories(work_ / "model" / "model.safetensors");
  std::ofstream(work_ / "model" / "config.json") << R"({"architecture": "vit"})";
  expect_refused(arguments(work_ / "out", {"--set", "models.encoder=" + (work_ / "model").string()}), 4,
                 HasSubstr("model.safetensors"));
}

TEST_F(BadInputTest, SpotsOfAnotherImageAreRefusedAtOnce) {
  std::ofstream counts(work_ / "counts.tsv");
  std::ofstream spots(work_ / "spots.tsv");
  counts << "\tNULL1\tNULL2\tNULL3\tNULL4\n";
  spots << "x\ty\tnew_x\tnew_y\tpixel_x\tpixel_y\tselected\n";
  for (int i = 1; i <= 8; ++i) {
    counts << i << "x1\t5\t3\t2\t1\n";
    spots << i << "\t1\t" << i << "\t1\t" << 9000 + 200 * i << "\t9000\t1\n";
  }
  counts.close(), spots.close();
  expect_refused(arguments(work_ / "out", {"--st-counts", (work_ / "counts.tsv").string(), "--st-spots",
                                           (work_ / "spots.tsv").string()}),
                 3, AllOf(HasSubstr("counts.tsv"), HasSubstr("outside")));
}

TEST_F(BadInputTest, ForeignFilesAreLeftAlone) {
  for (const char* name : {"run.json", "report.html", "preview.png"}) {
    std::filesystem::create_directories(work_ / "out");
    write_text("out/" + std::string(name), "mine");
    for (const std::vector<std::string>& more : {std::vector<std::string>{}, {"--dry-run"}}) {
      const ProgramResult result = run_program(arguments(work_ / "out", more));
      EXPECT_EQ(result.exit_code, 6) << result.err;
      EXPECT_THAT(result.err, AllOf(HasSubstr(name), HasSubstr("--overwrite")));
      EXPECT_THAT(listing(work_ / "out"), ::testing::ElementsAre(name));
    }
    std::filesystem::remove_all(work_ / "out");
  }
}

TEST_F(BadInputTest, ADryRunChecksThatTheOutputCanBeWritten) {
  const auto file = write_text("file", "");
  EXPECT_EQ(run_program(arguments(file / "out", {"--dry-run"})).exit_code, 6);
  EXPECT_EQ(run_program(arguments(work_ / "out", {"--dry-run"})).exit_code, 0);
  EXPECT_FALSE(std::filesystem::exists(work_ / "out"));
}

TEST_F(BadInputTest, MessagesOfOtherCommandsGoToStderrToo) {
  for (const std::vector<std::string>& command :
       std::vector<std::vector<std::string>>{{"inspect", (work_ / "absent").string()},
                                             {"inspect", write_text("broken.json", "{").string()},
                                             {"inspect", (write_text("file", "") / "below").string()},
                                             {"doctor", "--config", (work_ / "absent.yaml").string()},
                                             arguments(work_ / "out", {"--max-time", "soon"})}) {
    const ProgramResult result = run_program(command);
    EXPECT_THAT(result.exit_code, ::testing::AnyOf(2, 3)) << result.err;
    EXPECT_THAT(result.out, IsEmpty());
    EXPECT_THAT(result.err, HasSubstr("error"));
  }
}

TEST_F(BadInputTest, OutputFolderNotWritable) {
  // Root may write anywhere, so the folder is a file's child.
  const auto file = write_text("file", "");
  std::vector<std::string> command = arguments(file / "out");
  const ProgramResult result = run_program(command);
  EXPECT_EQ(result.exit_code, 6) << result.err;
  EXPECT_THAT(result.err, HasSubstr("file/out"));
  EXPECT_THAT(result.out, IsEmpty());
}

TEST_F(BadInputTest, ReadOnlyFileSystem) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to mount";
  std::filesystem::create_directory(work_ / "mount");
  const std::string target = (work_ / "mount").string();
  if (::mount("tmpfs", target.c_str(), "tmpfs", MS_RDONLY, "size=1m") != 0) GTEST_SKIP() << "cannot mount a tmpfs here";
  const ProgramResult result = run_program(arguments(work_ / "mount" / "out"));
  ::umount(target.c_str());
  EXPECT_EQ(result.exit_code, 6) << result.err;
  EXPECT_THAT(result.err, AllOf(HasSubstr("mount/out"), HasSubstr("choose another folder")));
}

TEST_F(BadInputTest, DiskFullEndsWithSixAndCanGoOn) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to mount";
  std::filesystem::create_directory(work_ / "mount");
  const std::string target = (work_ / "mount").string();
  if (::mount("tmpfs", target.c_str(), "tmpfs", 0, "size=300k") != 0) GTEST_SKIP() << "cannot mount a tmpfs here";
  const ProgramResult full = run_program(arguments(work_ / "mount" / "out"));
  EXPECT_EQ(full.exit_code, 6) << full.err;
  EXPECT_THAT(full.err, HasSubstr("free some space"));
  EXPECT_FALSE(std::filesystem::exists(work_ / "mount" / "out" / "virtual.tiff"));
  ASSERT_EQ(::mount("tmpfs", target.c_str(), "tmpfs", MS_REMOUNT, "size=200m"), 0);
  const ProgramResult rest = run_program(arguments(work_ / "mount" / "out"));
  EXPECT_EQ(rest.exit_code, 0) << rest.err;
  ASSERT_EQ(run_program(arguments(work_ / "reference")).exit_code, 0);
  EXPECT_EQ(virtual_sha(work_ / "mount" / "out"), virtual_sha(work_ / "reference"));
  ::umount(target.c_str());
}

TEST_F(BadInputTest, TwoRunsIntoOneFolderTheSecondIsRefused) {
  const std::vector<std::string> slow = slowly(work_ / "out");
  Program first(slow);
  ASSERT_TRUE(is_locked_soon(work_ / "out", first));
  const ProgramResult second = run_program(slow);
  const ProgramResult rest = first.wait();
  EXPECT_EQ(rest.exit_code, 0) << rest.err;
  if (second.exit_code == 0) GTEST_SKIP() << "the first run ended before the second began";
  EXPECT_EQ(second.exit_code, 6);
  EXPECT_THAT(second.err, AllOf(HasSubstr("another vtissue run"), HasSubstr("out")));
}

TEST_F(BadInputTest, AStaleLockIsTakenOver) {
  Program first(slowly(work_ / "out"));
  ASSERT_TRUE(is_locked_soon(work_ / "out", first));
  first.signal(SIGKILL);
  EXPECT_EQ(first.wait().exit_code, -1);
  EXPECT_GT(std::filesystem::file_size(work_ / "out" / ".vtissue" / "lock"), 0u);  // says who had it
  const ProgramResult second = run_program(slowly(work_ / "out"));
  EXPECT_EQ(second.exit_code, 0) << second.err;
  EXPECT_THAT(second.err, HasSubstr("ended without finishing"));
}

TEST_F(BadInputTest, UnknownOptionAndMissingArgumentsAreUsageErrors) {
  EXPECT_EQ(run_program({}).exit_code, 2);
  EXPECT_EQ(run_program({"run"}).exit_code, 2);
  EXPECT_EQ(run_program({"run", "--no-such-option"}).exit_code, 2);
  EXPECT_EQ(run_program(arguments(work_ / "out", {"--max-time", "soon"})).exit_code, 2);
  for (const char* endless : {"inf", "nan", "1e300h", "1e12s", "-1s"}) {
    EXPECT_EQ(run_program(arguments(work_ / "out", {"--max-time", endless})).exit_code, 2) << endless;
  }
}

}  // namespace
}  // namespace vtissue::testing
