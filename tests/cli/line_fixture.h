#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "../support/synthetic_slide.h"
#include "../support/temp_folder.h"
#include "core/hash.h"
#include "program.h"

namespace vtissue::testing {

/// A small synthetic slide and the whole line over it with the null doubles of the networks.
class LineTest : public ::testing::Test {
 protected:
  static constexpr double kSlideMpp = 0.5;

  static void SetUpTestSuite() {
    folder_ = new TempFolder;
    write_slide(*folder_ / "slide.svs", tissue_picture({1500, 1300}, kSlideMpp), kSlideMpp);
  }
  static void TearDownTestSuite() {
    delete folder_;
    folder_ = nullptr;
  }

  static std::filesystem::path slide() { return *folder_ / "slide.svs"; }
  static std::string null_config() { return std::string(VTISSUE_SOURCE_DIR) + "/configs/null.yaml"; }

  /// `vtissue run` with the null doubles into `out`, with further arguments.
  static std::vector<std::string> arguments(const std::filesystem::path& out,
                                            const std::vector<std::string>& more = {}) {
    std::vector<std::string> all = {"run",   null_config(), "--slide",    slide().string(),
                                    "--out", out.string(),  "--progress", "off"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }

  /// As arguments(), with as much committed and as little at once as can be: for runs that are to be disturbed.
  static std::vector<std::string> slowly(const std::filesystem::path& out) {
    return arguments(out, {"--in-flight", "1", "--threads", "1", "--set", "embed.chunk_tiles=1", "--set",
                           "synthesize.chunk_tiles=1"});
  }

  /// Waits until the program holds the output folder's lock; false if it ended before.
  static bool is_locked_soon(const std::filesystem::path& out, Program& program) {
    const std::filesystem::path lock = out / ".vtissue" / "lock";
    std::error_code absent;
    while (std::filesystem::file_size(lock, absent) == 0 || absent) {
      if (program.ended_within(std::chrono::milliseconds(1))) return false;
    }
    return true;
  }

  static std::string virtual_sha(const std::filesystem::path& out) { return sha256_file(out / "virtual.tiff"); }

  /// Relative names of everything in a folder, its state included.
  static std::set<std::string> listing(const std::filesystem::path& folder) {
    std::set<std::string> names;
    if (!std::filesystem::exists(folder)) return names;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
      names.insert(std::filesystem::relative(entry.path(), folder).string());
    }
    return names;
  }

  TempFolder work_;

 private:
  inline static TempFolder* folder_ = nullptr;
};

/// The folder of third-party data, or nothing: such tests are skipped.
inline std::optional<std::filesystem::path> third_party_data() {
  const char* path = std::getenv("VTISSUE_DATA");
  if (path == nullptr || !std::filesystem::exists(path)) return std::nullopt;
  return path;
}

}  // namespace vtissue::testing
