// The page in a real browser, and its own arithmetic; skipped where node, Chromium or the driver are missing.

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>

#include "core/file_digests.h"
#include "run_fixture.h"
#include "tests/support/temp_folder.h"
#include "tests/support/test_readers.h"
#include "viewer/content.h"
#include "viewer/export_site.h"
#include "viewer/server.h"

namespace vtissue::viewer {
namespace {

namespace fs = std::filesystem;
using testing::TempFolder;

bool has_program(const std::string& name) {
  return testing::run_in_shell("command -v " + name + " > /dev/null").exit_code == 0;
}

const std::string kSources = std::string(VTISSUE_SOURCE_DIR) + "/tests/viewer/";

TEST(ViewerPage, ItsArithmeticHolds) {
  if (!has_program("node")) GTEST_SKIP() << "no node (apt-get install nodejs)";
  const auto result = testing::run_in_shell("node --test " + kSources + "page_units.test.mjs 2>&1");
  EXPECT_EQ(result.exit_code, 0) << result.out;
}

class ViewerPageInABrowser : public ::testing::Test {
 protected:
  void SetUp() override {
    driver_ = user_cache_folder() / "page-test-tools-1.65.1";
    page_ = fs::path(VTISSUE_BINARY_DIR) / "share/vtissue/viewer";
    if (!has_program("node") || !has_program("chromium") || !fs::exists(driver_ / "complete"))
      GTEST_SKIP() << "no node, Chromium or driver (apt-get install nodejs npm chromium; tools/get-page-test-tools.sh)";
    if (!fs::exists(page_ / "openseadragon.min.js"))
      GTEST_SKIP() << "the page was built without OpenSeadragon (tools/get-openseadragon.sh)";
    testing::make_run(folder_ / "runs/first", folder_ / "runs/slide.svs", 3000);
    testing::make_run(folder_ / "runs/second", folder_ / "runs/other.svs");
  }

  /// Runs page.mjs on an address; screenshots go to the build's folder, where they may be looked at.
  void browse(const std::string& url, const std::string& name) {
    const fs::path shots = fs::path(VTISSUE_BINARY_DIR) / "tests/page";
    fs::create_directories(shots);
    const auto result = testing::run_in_shell("timeout 240 node " + kSources + "page.mjs " + url + " " +
                                              driver_.string() + " " + (shots / name).string() + " 2>&1");
    EXPECT_EQ(result.exit_code, 0) << result.out;
  }

  TempFolder folder_;
  fs::path driver_, page_;
};

TEST_F(ViewerPageInABrowser, ShowsARun) {
  const auto content =
      std::make_shared<Content>(ContentOptions{.root = folder_ / "runs", .page = page_, .software = "vtissue"});
  Server server(content, {.token = "for-the-test"});
  std::thread serving([&] { server.run(); });
  browse("'" + server.url() + "'", "served");
  server.stop();
  serving.join();
}

TEST_F(ViewerPageInABrowser, ShowsAnExportFromAnyWebServer) {
  Content content({.root = folder_ / "runs", .page = page_, .software = "vtissue", .is_static = true});
  export_site(content, folder_ / "site", {.threads = 2});
  // A web server that knows nothing of us, in a folder below its root.
  const std::string command =
      "cd " + folder_.path().string() + " && { python3 -u -m http.server --bind 127.0.0.1 0 > log 2>&1 & echo $!; }";
  std::string started = testing::run_in_shell(command).out;
  const int pid = std::stoi(started);
  std::string port;
  for (int i = 0; i < 100 && port.empty(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    port = testing::run_in_shell("sed -n 's/.* port \\([0-9]*\\) .*/\\1/p' " + (folder_ / "log").string()).out;
  }
  while (!port.empty() && port.back() == '\n') port.pop_back();
  browse("http://127.0.0.1:" + port + "/site/", "exported");
  testing::run_in_shell("kill " + std::to_string(pid));
}

}  // namespace
}  // namespace vtissue::viewer
