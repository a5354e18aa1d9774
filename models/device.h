#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace vtissue::models {

/// What the weights and activations of the large layers are kept in. Samplers, norms' statistics, residual sums and
/// timestep embeddings are float32 either way.
enum class Dtype { kF32, kBF16 };

/// "f32" or "bf16". Throws Error kUsage for anything else.
Dtype parse_dtype(std::string_view name);
std::string_view to_string(Dtype dtype);

/// Where networks run. One dedicated thread makes every LibTorch call (each thread that calls LibTorch
/// would get an OpenMP team of its own, DESIGN 4). Thread-safe.
class Device {
 public:
  /// `name`: "cpu", "cuda" or "cuda:1"; `threads`: cores the device thread's OpenMP team has; `dtype`: what the
  /// networks loaded for it compute in. Throws Error kDevice.
  static std::shared_ptr<Device> open(std::string_view name, int threads, Dtype dtype = Dtype::kF32);
  virtual ~Device() = default;

  /// Runs `work` on the device's thread in inference mode and waits. Rethrows; out-of-memory and
  /// device failures become Error kDevice.
  virtual void run(const std::function<void()>& work) = 0;

  virtual const std::string& name() const = 0;
  virtual Dtype dtype() const = 0;

  /// What decides the bits of a result besides weights and inputs: instruction set in use, dtype, device model,
  /// LibTorch version, and the mode that MKL says it is in: "cpu/avx512/f32/libtorch-2.11.0/mkl-avx512,strict". A limit
  /// set for oneDNN's instruction set is in it too. Part of every fingerprint.
  virtual std::string numerics_class() const = 0;
};

}  // namespace vtissue::models
