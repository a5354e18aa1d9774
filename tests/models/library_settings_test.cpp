// What a program's OpenMP library says of its settings: vtissue-train starts itself again with those it misses, as
// vtissue does.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <string>

namespace vtissue::models {
namespace {

/// What vtissue-train prints with these variables, besides those that this process has.
std::string openmp_settings(const std::string& variables) {
  const std::string command = "env -u MKL_CBWR -u GOMP_SPINCOUNT -u OMP_WAIT_POLICY OMP_DISPLAY_ENV=verbose " +
                              variables + " " VTISSUE_BINARY_DIR "/vtissue-train --help 2>&1";
  std::FILE* out = ::popen(command.c_str(), "r");
  if (out == nullptr) return "cannot be started";
  std::string text;
  std::array<char, 4096> part{};
  while (const std::size_t n = std::fread(part.data(), 1, part.size(), out)) text.append(part.data(), n);
  return ::pclose(out) == 0 ? text : "failed: " + text;
}

TEST(LibrarySettings, IdleThreadsSpinShortly) {
  const std::string ours = "GOMP_SPINCOUNT = '10000'";
  EXPECT_THAT(openmp_settings(""), testing::HasSubstr(ours));
  EXPECT_THAT(openmp_settings("MKL_CBWR=COMPATIBLE"), testing::HasSubstr(ours)) << "one of the two is set already";
}

TEST(LibrarySettings, AUsersOwnStay) {
  EXPECT_THAT(openmp_settings("GOMP_SPINCOUNT=77"), testing::HasSubstr("GOMP_SPINCOUNT = '77'"));
  EXPECT_THAT(openmp_settings("OMP_WAIT_POLICY=PASSIVE"), testing::HasSubstr("GOMP_SPINCOUNT = '0'"));
}

}  // namespace
}  // namespace vtissue::models
