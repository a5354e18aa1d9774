#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "models/torch.h"

namespace vtissue::models::training {

/// What a random number is for. Streams of different purposes never overlap, so that adding a draw to one part of
/// a training leaves the others as they were.
enum class Purpose : std::uint32_t {
  kCrop = 1,
  kAugment = 2,
  kLatentNoise = 3,
  kTime = 4,
  kConditionDropout = 5,
  kConditionNoise = 6,
  kMask = 7,
  kCounts = 8,
  kRow = 9,
  kDropout = 10,
  kSample = 11
};

/// The step under which validation draws, far from those of training: the same draws at every validation.
constexpr std::uint32_t kValidationStep = 0xFFFFFFF1u;

/// Random numbers that are a pure function of (seed, purpose, step, index) and of how many were drawn before:
/// a resumed training sees what the uninterrupted one would have. Philox4x32-10. One owner at a time.
class RandomStream {
 public:
  RandomStream(std::uint64_t seed, Purpose purpose, std::uint32_t step, std::uint32_t index);

  std::uint32_t bits();
  double uniform();  ///< [0, 1)
  double uniform(double low, double high) { return low + (high - low) * uniform(); }
  std::uint32_t below(std::uint32_t n);                              ///< 0 .. n-1; n > 0
  double normal();                                                   ///< standard normal
  std::uint32_t binomial(std::uint32_t trials, double probability);  ///< number of successes

 private:
  std::array<std::uint32_t, 2> key_;
  std::array<std::uint32_t, 4> counter_;
  std::array<std::uint32_t, 4> block_{};
  int used_ = 4;
};

/// Standard normal float32 tensor, a pure function of its arguments; independent of the number of threads.
at::Tensor normal_tensor(std::uint64_t seed, Purpose purpose, std::uint32_t step, at::IntArrayRef shape);

/// A seed for LibTorch's own generator (dropout inside networks), a pure function of its arguments.
std::uint64_t derived_seed(std::uint64_t seed, Purpose purpose, std::uint32_t step);

}  // namespace vtissue::models::training
