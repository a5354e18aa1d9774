#include "models/device.h"

#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/cuda.h>

#include <filesystem>
#include <mutex>
#include <set>
#include <thread>

#include "core/error.h"
#include "models/mkl_mode.h"
#include "models/torch.h"

namespace vtissue::models {
namespace {

using ::testing::HasSubstr;

/// The tests' own thread computes alone: the networks are tiny, and a team that waits on a busy machine is slow.
class OneThread : public ::testing::Environment {
 public:
  void SetUp() override {
    at::set_num_threads(1);
    at::get_num_threads();
  }
};

[[maybe_unused]] const ::testing::Environment* const kOneThread = ::testing::AddGlobalTestEnvironment(new OneThread);

std::ptrdiff_t threads_of_this_process() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/task"), std::filesystem::directory_iterator());
}

/// Threads that a large operation starts on the device besides the device's own. An OpenMP team stays, so the first
/// operation of a device shows its size.
std::ptrdiff_t helpers_of(Device& device) {
  const std::ptrdiff_t before = threads_of_this_process();
  device.run([] {
    const at::Tensor a = at::ones({512, 512});
    EXPECT_EQ(at::relu(a).matmul(a).sum().item<float>(), 512.0f * 512 * 512);
  });
  return threads_of_this_process() - before;
}

TEST(Device, RunsOnOneThreadInInferenceMode) {
  const auto device = Device::open("cpu", 1);
  std::set<std::thread::id> ids;
  std::mutex mutex;
  std::vector<std::jthread> callers;
  for (int i = 0; i < 4; ++i) {
    callers.emplace_back([&] {
      device->run([&] {
        const std::lock_guard lock(mutex);
        ids.insert(std::this_thread::get_id());
        EXPECT_TRUE(c10::InferenceMode::is_enabled());
      });
    });
  }
  callers.clear();
  EXPECT_EQ(ids.size(), 1U);
  EXPECT_FALSE(ids.contains(std::this_thread::get_id()));
}

TEST(Device, TeamHasTheThreadsAskedFor) {
  const auto one = Device::open("cpu", 1);
  const auto two = Device::open("cpu", 2);
  EXPECT_EQ(helpers_of(*one), 0) << "a later device of two threads does not change this one";
  EXPECT_EQ(helpers_of(*two), 1);
  EXPECT_EQ(helpers_of(*one), 0);
  for (const auto& [device, threads] : {std::pair{one, 1}, std::pair{two, 2}}) {
    device->run([threads = threads] { EXPECT_EQ(at::get_num_threads(), threads); });
  }
}

TEST(Device, MayBeUsedFromItsOwnThread) {
  const auto device = Device::open("cpu", 1);
  int value = 0;
  device->run([&] { device->run([&] { value = 1; }); });
  EXPECT_EQ(value, 1);
}

TEST(Device, FailuresAreErrors) {
  const auto device = Device::open("cpu", 1);
  const auto caught = [&](const std::function<void()>& work) {
    try {
      device->run(work);
    } catch (const Error& error) {
      return std::pair{error.code(), std::string(error.what())};
    }
    return std::pair{ErrorCode::kUsage, std::string("nothing thrown")};
  };
  const auto memory = caught([] { at::empty({std::int64_t{1} << 50}); });
  EXPECT_EQ(memory.first, ErrorCode::kDevice);
  EXPECT_THAT(memory.second, HasSubstr("out of memory"));
  EXPECT_EQ(caught([] { throw std::bad_alloc(); }).first, ErrorCode::kDevice);
  EXPECT_EQ(caught([] { at::ones({2}).matmul(at::ones({3})); }).first, ErrorCode::kDevice);
  EXPECT_EQ(caught([] { throw Error(ErrorCode::kModel, "mine"); }).first, ErrorCode::kModel);
  EXPECT_THROW(device->run([] { throw std::runtime_error("other"); }), std::runtime_error);
  int value = 0;
  device->run([&] { value = 1; });
  EXPECT_EQ(value, 1) << "the device goes on after a failure";
}

TEST(Device, SaysWhatDecidesTheBits) {
  const std::string numerics = Device::open("cpu", 1)->numerics_class();
  EXPECT_THAT(numerics, ::testing::MatchesRegex("cpu/[a-z0-9_+-]+/f32/libtorch-[0-9.]+/mkl-[a-z0-9_,]+"));
  EXPECT_EQ(numerics, Device::open("cpu", 2)->numerics_class());
  const auto bf16 = Device::open("cpu", 1, Dtype::kBF16);
  EXPECT_EQ(bf16->dtype(), Dtype::kBF16);
  EXPECT_THAT(bf16->numerics_class(), HasSubstr("/bf16/"));
  ::setenv("ONEDNN_MAX_CPU_ISA", "AVX2", 1);
  EXPECT_THAT(Device::open("cpu", 1)->numerics_class(), HasSubstr("+onednn-avx2/"));
  ::unsetenv("ONEDNN_MAX_CPU_ISA");
}

TEST(Device, DtypesHaveNames) {
  EXPECT_EQ(parse_dtype("f32"), Dtype::kF32);
  EXPECT_EQ(parse_dtype("bf16"), Dtype::kBF16);
  EXPECT_EQ(to_string(Dtype::kBF16), "bf16");
  EXPECT_THROW(parse_dtype("f16"), Error);
}

TEST(Device, MklSaysItKeepsOneOrderOfSums) {
  const std::string mode = mkl_mode_in_force();
  if (mode == "none" || mode == "unknown") GTEST_SKIP() << "MKL cannot be asked";
  EXPECT_NE(mode, "off") << "MKL_CBWR came too late";
  const auto device = Device::open("cpu", 2);
  EXPECT_THAT(device->numerics_class(), ::testing::EndsWith("/mkl-" + mode));
}

TEST(Device, WrongNamesAreRefused) {
  const auto message = [](std::string_view name, int threads) -> std::string {
    try {
      Device::open(name, threads);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kDevice);
      return error.what();
    }
    return {};
  };
  for (const char* name : {"gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:1x", ""}) {
    EXPECT_THAT(message(name, 1), HasSubstr("use cpu, cuda or cuda:<number>")) << name;
  }
  EXPECT_THAT(message("cpu", 0), HasSubstr("0 threads"));
  if (!torch::cuda::is_available()) {
    EXPECT_THAT(message("cuda:1", 1), HasSubstr("no CUDA device"));
  }
}

}  // namespace
}  // namespace vtissue::models
