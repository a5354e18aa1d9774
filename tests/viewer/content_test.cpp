#include "viewer/content.h"

#include <gmock/gmock.h>

#include <atomic>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <thread>

#include "core/error.h"
#include "io/half.h"
#include "run_fixture.h"
#include "tests/support/synthetic_slide.h"
#include "tests/support/temp_folder.h"
#include "viewer/export_site.h"

namespace vtissue::viewer {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::HasSubstr;
using testing::TempFolder;

/// A page's folder of one file: the content does not look into it.
fs::path small_page(const TempFolder& folder) {
  fs::create_directories(folder / "page");
  std::ofstream(folder / "page/index.html") << "<!doctype html>";
  return folder / "page";
}

class ViewerContent : public ::testing::Test {
 protected:
  void SetUp() override {
    made_ = testing::make_run(folder_ / "runs/a", folder_ / "runs/slide.svs");
    options_ = {.root = folder_ / "runs", .page = small_page(folder_), .software = "vtissue"};
  }

  json json_of(Content& content, const std::string& path) {
    const Response response = content.get(path);
    EXPECT_EQ(response.status, 200) << path << ": " << *response.body;
    return json::parse(*response.body, nullptr, false);
  }
  std::string id(Content& content) { return json_of(content, "data/runs.json")["runs"][0]["id"]; }

  TempFolder folder_;
  testing::MadeRun made_;
  ContentOptions options_;
};

TEST_F(ViewerContent, ARunSaysWhatIsThere) {
  Content content(options_);
  const json about = json_of(content, "data/r/" + id(content) + "/run.json");
  EXPECT_EQ(about["name"], "a");
  EXPECT_EQ(about["virtual"]["mpp"], 0.7);
  EXPECT_EQ(about["real"]["mpp"], 0.5);
  EXPECT_EQ(about["tiles"]["count"], made_.tiles.cells.size());
  EXPECT_EQ(about["genes"]["count"], 40);
  EXPECT_EQ(about["notes"], json::array());
  EXPECT_EQ(about["facts"]["seed"], 7);
}

TEST_F(ViewerContent, AGeneIsWhatTheTableHas) {
  Content content(options_);
  const std::string base = "data/r/" + id(content);
  for (const std::size_t gene : {std::size_t{0}, std::size_t{17}}) {
    const Response response = content.get(fmt::format("{}/genes/{}.bin", base, gene));
    ASSERT_EQ(response.body->size(), made_.tiles.cells.size() * 2);
    EXPECT_TRUE(response.versioned);
    for (std::size_t tile = 0; tile < made_.tiles.cells.size(); ++tile) {
      std::uint16_t half = 0;
      std::memcpy(&half, response.body->data() + tile * 2, 2);
      const float value = io::half_to_float(half);
      if (tile == testing::kTileWithoutExpression) {
        EXPECT_TRUE(std::isnan(value));
      } else {
        EXPECT_FLOAT_EQ(value, made_.expression[tile * 40 + gene]) << "tile " << tile;
      }
    }
  }
  EXPECT_EQ(content.get(base + "/genes/40.bin").status, 404);
  const json top = json_of(content, base + "/top/0.json");
  ASSERT_EQ(top.size(), made_.tiles.cells.size());
  EXPECT_TRUE(top[testing::kTileWithoutExpression].empty());
  for (std::size_t i = 1; i < top[0].size(); ++i) EXPECT_LE(top[0][i][2], top[0][i - 1][2]) << "by descending z";
}

TEST_F(ViewerContent, PathsThatMeanNothingAreNotFollowed) {
  Content content(options_);
  const std::string base = "data/r/" + id(content);
  std::ofstream(folder_ / "secret") << "secret";
  const std::vector<std::string> paths = {"../secret",
                                          "page/../../secret",
                                          "data/r/../../secret",
                                          "/etc/passwd",
                                          "data/r/" + fs::path(made_.folder).string(),
                                          base + "/virtual/0/../0/0_0.jpg",
                                          base + "/virtual/0/0_0.png",
                                          base + "/virtual/0/0_.jpg",
                                          base + "/virtual/0/_0.jpg",
                                          base + "/virtual/0/00_0.jpg",
                                          base + "/virtual/0/-1_0.jpg",
                                          base + "/virtual/99999999999/0_0.jpg",
                                          base + "/virtual/0/1e1_0.jpg",
                                          base + "/virtual/0/0_0.jpg/",
                                          base + "/genes/-1.bin",
                                          base + "/genes/99999999999.bin",
                                          base + "/top/9.json",
                                          base + "/figures/77.bin",
                                          base + "/.vtissue",
                                          base + "/tiles.h5",
                                          base + "/expression.h5ad",
                                          base + "//run.json",
                                          std::string("data/runs.json\0", 15),
                                          std::string(4000, 'a'),
                                          base + "/run.json%00",
                                          std::string("index.html/..")};
  for (const std::string& path : paths) {
    EXPECT_EQ(content.get(path).status, 404) << path;
  }
  EXPECT_EQ(content.get("").status, 200) << "the page itself";
}

TEST_F(ViewerContent, AnotherSlideIsNotTakenForTheReal) {
  testing::write_slide(made_.slide, testing::tissue_picture({1500, 1300}, 0.5, 77), 0.5);
  Content content(options_);
  const json about = json_of(content, "data/r/" + id(content) + "/run.json");
  EXPECT_FALSE(about.contains("real"));
  ASSERT_EQ(about["notes"].size(), 1U);
  EXPECT_THAT(about["notes"][0].get<std::string>(), HasSubstr("is another slide"));
  EXPECT_THAT(about["notes"][0].get<std::string>(), HasSubstr("--slide"));
  EXPECT_EQ(content.get("data/r/" + id(content) + "/real/0/0_0.jpg").status, 404);
}

TEST_F(ViewerContent, FilesThatLeadOutsideAreRefused) {
  fs::rename(made_.folder / "virtual.tiff", folder_ / "elsewhere.tiff");
  fs::create_symlink(folder_ / "elsewhere.tiff", made_.folder / "virtual.tiff");
  Content content(options_);
  const Response response = content.get("data/r/" + id(content) + "/run.json");
  EXPECT_EQ(response.status, 500);
  EXPECT_THAT(*response.body, HasSubstr("leads out of the folder"));
}

TEST_F(ViewerContent, AnotherRunsTilesAndDamagedStoresAreSaidAndLeftOut) {
  io::TileSet other = made_.tiles;
  other.target_mpp = 1.4;
  other.target_size = {535, 464};
  other.cells.resize(3);
  other.tissue_fraction.resize(3);
  io::write_tiles(made_.folder / "tiles.h5", other);
  {
    Content content(options_);
    const json about = json_of(content, "data/r/" + id(content) + "/run.json");
    EXPECT_FALSE(about.contains("tiles"));
    EXPECT_THAT(about["notes"].dump(), HasSubstr("of another run"));
  }
  io::write_tiles(made_.folder / "tiles.h5", made_.tiles);
  fs::resize_file(made_.folder / "expression.h5ad", 900);
  Content content(options_);
  const json about = json_of(content, "data/r/" + id(content) + "/run.json");
  EXPECT_TRUE(about.contains("tiles"));
  EXPECT_FALSE(about.contains("genes"));
  EXPECT_THAT(about["notes"].dump(), HasSubstr("Expression is not shown"));
  EXPECT_THAT(about["notes"].dump(), ::testing::Not(HasSubstr(folder_.path().string())));
}

TEST_F(ViewerContent, AReplacedRunIsOpenedAgain) {
  Content content(options_);
  const std::string base = "data/r/" + id(content);
  const json before = json_of(content, base + "/run.json");
  EXPECT_EQ(json_of(content, base + "/run.json")["version"], before["version"]);
  fs::remove(made_.folder / "expression.h5ad");
  const json after = json_of(content, base + "/run.json");
  EXPECT_NE(after["version"], before["version"]);
  EXPECT_FALSE(after.contains("genes"));
}

TEST_F(ViewerContent, FoldersOfRunsAreSearchedAndOthersRefused) {
  testing::make_run(folder_ / "runs/deep/er/b", folder_ / "runs/b.svs");
  testing::make_run(folder_ / "runs/.hidden", folder_ / "runs/c.svs");
  Content content(options_);
  const json list = json_of(content, "data/runs.json");
  ASSERT_EQ(list["runs"].size(), 2U);
  EXPECT_EQ(list["runs"][1]["name"], "deep/er/b");
  EXPECT_THROW(Content({.root = folder_ / "page", .page = folder_ / "page"}), Error) << "no run in it";
  EXPECT_THROW(Content({.root = folder_ / "nowhere", .page = folder_ / "page"}), Error);
  ContentOptions one = options_;
  one.search.slide = made_.slide;
  EXPECT_THROW(Content{one}, Error) << "--slide for two runs";
}

TEST_F(ViewerContent, ManyThreadsAskAtOnce) {
  Content content(options_);
  const std::string base = "data/r/" + id(content);
  std::vector<std::thread> threads;
  std::atomic<int> failed = 0;
  for (int thread = 0; thread < 6; ++thread) {
    threads.emplace_back([&, thread] {
      for (int i = 0; i < 40; ++i) {
        for (const std::string& path : {fmt::format("{}/real/{}/{}_0.jpg", base, i % 3, (i + thread) % 2),
                                        fmt::format("{}/genes/{}.bin", base, (i + thread) % 40), base + "/run.json"}) {
          if (content.get(path).status != 200) ++failed;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failed, 0);
}

TEST_F(ViewerContent, AnExportHasWhatTheServerAnswers) {
  options_.is_static = true;
  Content content(options_);
  EXPECT_GT(export_site(content, folder_ / "site", {.threads = 2}), 0);
  std::size_t files = 0;
  for (const auto& entry : fs::recursive_directory_iterator(folder_ / "site")) {
    if (!entry.is_regular_file()) continue;
    const std::string path = fs::relative(entry.path(), folder_ / "site").generic_string();
    std::ifstream stream(entry.path(), std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(stream), {}};
    EXPECT_EQ(bytes, *content.get(path).body) << path;
    ++files;
  }
  EXPECT_GT(files, 100U);
  // The slide's name may be a patient's.
  EXPECT_THAT(*content.get("data/r/" + id(content) + "/run.json").body, ::testing::Not(HasSubstr("slide.svs")));
  export_site(content, folder_ / "site", {.threads = 1});  // replaces it
  EXPECT_THROW(export_site(content, folder_ / "runs", {.threads = 1}), Error) << "another folder is not overwritten";
  EXPECT_TRUE(fs::exists(made_.folder / "virtual.tiff"));
  EXPECT_THROW(export_site(content, folder_ / "stopped", {.threads = 1, .stop = [] { return true; }}), Error);
  EXPECT_FALSE(fs::exists(folder_ / "stopped"));
}

TEST_F(ViewerContent, AnExportWithoutTheRealSlideHasNoneOfIt) {
  options_.is_static = true;
  options_.search.without = true;
  Content content(options_);
  export_site(content, folder_ / "site", {.threads = 2});
  EXPECT_FALSE(fs::exists(folder_ / "site/data/r" / id(content) / "real"));
  EXPECT_TRUE(fs::exists(folder_ / "site/data/r" / id(content) / "virtual/0/0_0.jpg"));
}

}  // namespace
}  // namespace vtissue::viewer
