// MKL reads its mode when it is first called, which in one process of all tests may be before any Device is opened.

#include <gtest/gtest.h>

#include "models/mkl_mode.h"

namespace vtissue::models {
namespace {

class MklMode : public ::testing::Environment {
  void SetUp() override { set_mkl_mode(); }
};

[[maybe_unused]] const auto* const kRegistered = ::testing::AddGlobalTestEnvironment(new MklMode);

}  // namespace
}  // namespace vtissue::models
