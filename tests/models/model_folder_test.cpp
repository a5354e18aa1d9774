#include "models/model_folder.h"

#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "core/hash.h"
#include "tests/models/golden.h"
#include "tests/support/temp_folder.h"

namespace vtissue::models {
namespace {

namespace fs = std::filesystem;

/// A model whose weights are large enough for their digest to be remembered; nothing here reads them.
class LargeModel : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* before = std::getenv("VTISSUE_CACHE");
    if (before != nullptr) before_ = before;
    ::setenv("VTISSUE_CACHE", (folder_ / "cache").c_str(), 1);
    fs::create_directories(model_);
    std::ofstream(model_ / "config.json") << R"({"architecture": "taesd"})";
    write('x');
  }
  void TearDown() override { before_ ? ::setenv("VTISSUE_CACHE", before_->c_str(), 1) : ::unsetenv("VTISSUE_CACHE"); }

  void write(char c) const { std::ofstream(model_ / "model.safetensors") << std::string(kBytes, c); }
  std::string digest() const { return ModelFolder::open(model_, {"taesd"}).info().sha256; }

  /// What digest() has to be.
  std::string expected(char c) const {
    const std::string config = sha256_file(model_ / "config.json"), weights = sha256(std::string(kBytes, c));
    return sha256("config.json " + config + "\nmodel.safetensors " + weights + "\n");
  }

  static constexpr std::size_t kBytes = std::size_t{17} << 20;
  vtissue::testing::TempFolder folder_;
  fs::path model_ = folder_ / "model";
  fs::path cache_ = folder_ / "cache/digests.json";
  std::optional<std::string> before_;
};

TEST_F(LargeModel, TheDigestIsRememberedUntilTheFileChanges) {
  EXPECT_EQ(digest(), expected('x'));
  for (int i = 0; i < 50 && !fs::exists(cache_); ++i) {
    ::usleep(100'000);
    EXPECT_EQ(digest(), expected('x'));
  }
  std::ifstream in(cache_);
  const nlohmann::json files = nlohmann::json::parse(in).at("files");
  ASSERT_EQ(files.size(), 1u) << "config.json is not worth it";
  EXPECT_EQ(files.at((model_ / "model.safetensors").string())[1], sha256(std::string(kBytes, 'x')));
  EXPECT_EQ(digest(), expected('x'));
  write('y');
  EXPECT_EQ(digest(), expected('y'));
}

TEST_F(LargeModel, ACacheThatCannotBeWrittenIsNoError) {
  ::setenv("VTISSUE_CACHE", "/dev/null", 1);
  ::usleep(2'200'000);
  EXPECT_EQ(digest(), expected('x'));
  EXPECT_EQ(digest(), expected('x'));
}

}  // namespace
}  // namespace vtissue::models
