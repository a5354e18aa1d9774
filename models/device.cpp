#include "models/device.h"

#include <dlfcn.h>
#include <torch/cuda.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <future>
#include <mutex>
#include <optional>
#include <thread>

#include "core/error.h"
#include "models/mkl_mode.h"
#include "models/torch.h"

namespace vtissue::models {
namespace {

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  std::replace(text.begin(), text.end(), ' ', '-');
  return text;
}

/// "cpu" → nothing, "cuda" → 0, "cuda:1" → 1.
std::optional<int> cuda_index(std::string_view name) {
  if (name == "cpu") return std::nullopt;
  if (name == "cuda") return 0;
  constexpr std::string_view kPrefix = "cuda:";
  if (name.starts_with(kPrefix)) {
    int index = -1;
    const auto [end, failure] = std::from_chars(name.data() + kPrefix.size(), name.data() + name.size(), index);
    if (failure == std::errc() && end == name.data() + name.size() && index >= 0) return index;
  }
  throw Error(ErrorCode::kDevice, "device \"{}\" is not known; use cpu, cuda or cuda:<number>", name);
}

/// The model of a GPU, asked of its driver: LibTorch tells it only to programs built with CUDA.
std::string cuda_model(int index) {
  void* driver = ::dlopen("libcuda.so.1", RTLD_NOW);
  if (driver == nullptr)
    throw Error(ErrorCode::kDevice, "cuda:{}: the driver cannot be opened: {}", index, ::dlerror());
  const auto init = reinterpret_cast<int (*)(unsigned)>(::dlsym(driver, "cuInit"));
  const auto name_of = reinterpret_cast<int (*)(char*, int, int)>(::dlsym(driver, "cuDeviceGetName"));
  std::array<char, 128> name{};
  if (init == nullptr || name_of == nullptr || init(0) != 0 || name_of(name.data(), name.size(), index) != 0) {
    throw Error(ErrorCode::kDevice, "cuda:{}: its model cannot be had from the driver", index);
  }
  return lower(name.data());
}

/// The instruction set that decides the bits: LibTorch's, with what of it multiplies bfloat16, and a limit set for
/// oneDNN.
std::string instruction_set() {
  std::string result = lower(at::get_cpu_capability());
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512bf16") != 0) result += "+bf16";
  if (__builtin_cpu_supports("amx-bf16") != 0) result += "+amx";
#endif
  for (const char* variable : {"ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"}) {
    if (const char* limit = std::getenv(variable)) result += fmt::format("+onednn-{}", lower(limit));
  }
  return result;
}

/// Work on one thread, in order of arrival.
class ThreadDevice : public Device {
 public:
  ThreadDevice(std::string_view name, int threads, Dtype dtype) : cuda_(cuda_index(name)), dtype_(dtype) {
    if (threads < 1) throw Error(ErrorCode::kDevice, "device {}: {} threads; at least one is needed", name, threads);
    name_ = cuda_ ? fmt::format("cuda:{}", *cuda_) : "cpu";
    if (cuda_) {
      require_cuda();
      numerics_class_ = fmt::format("cuda/{}/{}/libtorch-{}", cuda_model(*cuda_), to_string(dtype), TORCH_VERSION);
    } else {
      set_mkl_mode();
      numerics_class_ = fmt::format("cpu/{}/{}/libtorch-{}/mkl-{}", instruction_set(), to_string(dtype), TORCH_VERSION,
                                    mkl_mode_in_force());
    }
    std::promise<void> ready;
    std::future<void> started = ready.get_future();
    thread_ = std::jthread([this, threads, &ready](const std::stop_token& stop) {
      take_threads(threads);
      ready.set_value();
      serve(stop);
    });
    started.wait();
  }

  void run(const std::function<void()>& work) override {
    if (std::this_thread::get_id() == thread_.get_id()) {
      guarded(work);
      return;
    }
    std::packaged_task<void()> task([&] { guarded(work); });
    std::future<void> done = task.get_future();
    {
      const std::lock_guard lock(mutex_);
      queue_.push_back(std::move(task));
    }
    arrived_.notify_one();
    done.get();
  }

  const std::string& name() const override { return name_; }
  Dtype dtype() const override { return dtype_; }
  std::string numerics_class() const override { return numerics_class_; }

 private:
  void require_cuda() const {
    if (!torch::cuda::is_available()) {
      throw Error(ErrorCode::kDevice,
                  "{}: this build has no CUDA device; use cpu, or a build with VTISSUE_CUDA on a machine with a GPU",
                  name_);
    }
    const auto count = static_cast<int>(torch::cuda::device_count());
    if (*cuda_ >= count) throw Error(ErrorCode::kDevice, "{}: there are {} CUDA devices", name_, count);
    // One numerics class means true f32 and the same algorithms in every run.
    at::globalContext().setAllowTF32CuBLAS(false);
    at::globalContext().setAllowTF32CuDNN(false);
    at::globalContext().setBenchmarkCuDNN(false);
    at::globalContext().setDeterministicCuDNN(true);
  }

  /// The size of an OpenMP team is a property of the thread that asks for it, and LibTorch sets it once more, to its
  /// process-wide number, when a thread first computes; so that first time is made to happen in between.
  static void take_threads(int threads) {
    at::set_num_threads(threads);
    at::get_num_threads();
    at::set_num_threads(threads);
  }

  void serve(const std::stop_token& stop) {
    while (true) {
      std::packaged_task<void()> task;
      {
        std::unique_lock lock(mutex_);
        if (!arrived_.wait(lock, stop, [this] { return !queue_.empty(); })) return;
        task = std::move(queue_.front());
        queue_.pop_front();
      }
      task();
    }
  }

  void guarded(const std::function<void()>& work) const {
    const c10::InferenceMode inference;
    const std::optional<c10::DeviceGuard> device =
        cuda_ ? std::optional<c10::DeviceGuard>(std::in_place,
                                                c10::Device(c10::kCUDA, static_cast<c10::DeviceIndex>(*cuda_)))
              : std::nullopt;
    try {
      work();
    } catch (const c10::OutOfMemoryError& error) {
      out_of_memory(error.what_without_backtrace());
    } catch (const c10::Error& error) {
      const std::string_view what = error.what_without_backtrace();
      if (what.find("DefaultCPUAllocator") != std::string_view::npos) out_of_memory(what);
      throw Error(ErrorCode::kDevice, "{}: LibTorch failed: {}", name_, what);
    } catch (const std::bad_alloc&) {
      out_of_memory("allocation failed");
    }
  }

  [[noreturn]] void out_of_memory(std::string_view what) const {
    throw Error(ErrorCode::kDevice, "{}: out of memory: {}; lower --in-flight or use a device with more memory", name_,
                what);
  }

  std::optional<int> cuda_;
  Dtype dtype_;
  std::string name_;
  std::string numerics_class_;
  std::mutex mutex_;
  std::condition_variable_any arrived_;
  std::deque<std::packaged_task<void()>> queue_;
  std::jthread thread_;  // last: it uses the members above until it has joined
};

}  // namespace

Dtype parse_dtype(std::string_view name) {
  if (name == "f32") return Dtype::kF32;
  if (name == "bf16") return Dtype::kBF16;
  throw Error(ErrorCode::kUsage, "dtype \"{}\" is not known; use f32 or bf16", name);
}

std::string_view to_string(Dtype dtype) { return dtype == Dtype::kBF16 ? "bf16" : "f32"; }

std::shared_ptr<Device> Device::open(std::string_view name, int threads, Dtype dtype) {
  return std::make_shared<ThreadDevice>(name, threads, dtype);
}

}  // namespace vtissue::models
