#pragma once

#include <functional>
#include <string>
#include <vector>

namespace vtissue::io {

/// A check of `vtissue doctor`: run() gives a line of facts, or throws Error.
struct SelfTest {
  std::string name;
  std::function<std::string()> run;
};

/// Versions of the imaging libraries, and for each codec an image of our own encoded and read back.
std::vector<SelfTest> self_tests();

}  // namespace vtissue::io
