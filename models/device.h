#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace vtissue::models {

/// Where networks run. One dedicated thread makes every LibTorch call (each thread that calls LibTorch
/// would get an OpenMP team of its own, DESIGN 4). Thread-safe.
class Device {
 public:
  /// `name`: "cpu", "cuda" or "cuda:1"; `threads`: cores the device thread's OpenMP team has.
  /// Throws Error kDevice.
  static std::shared_ptr<Device> open(std::string_view name, int threads);
  virtual ~Device() = default;

  /// Runs `work` on the device's thread in inference mode and waits. Rethrows; out-of-memory and
  /// device failures become Error kDevice.
  virtual void run(const std::function<void()>& work) = 0;

  virtual const std::string& name() const = 0;

  /// What decides the bits of a result besides weights and inputs: instruction set in use, dtype,
  /// device model, LibTorch version: "cpu/avx2/f32/libtorch-2.11.0". Part of every fingerprint.
  virtual std::string numerics_class() const = 0;
};

}  // namespace vtissue::models
