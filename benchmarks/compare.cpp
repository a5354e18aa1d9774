#include "benchmarks/compare.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>

#include "benchmarks/peer.h"
#include "core/error.h"
#include "core/safetensors.h"
#include "models/device.h"
#include "models/state_dict.h"

namespace vtissue::benchmarks {
namespace fs = std::filesystem;

namespace {

/// How far a result is from the reference: root mean square and largest, relative to the reference's.
struct Deviation {
  double rms;
  double largest;
};

Deviation deviation(const at::Tensor& result, const at::Tensor& reference) {
  const at::Tensor expected = reference.to(at::kDouble);
  const at::Tensor off = result.to(at::kDouble) - expected;
  return {(off.norm() / expected.norm()).item<double>(), (off.abs().max() / expected.abs().max()).item<double>()};
}

struct Agreement {
  bool holds;
  std::string text;
};

/// In float32 the results may differ in the last bits. In bfloat16 both are far from the float32 result, and two right
/// ones may be far from each other; ours has to be no farther from it than the peer's, which has to be near.
Agreement agree(const at::Tensor& ours, const at::Tensor& peers, models::Dtype dtype,
                const std::function<at::Tensor()>& reference) {
  constexpr double kF32 = 1e-4;  // of the largest value
  constexpr double kBf16 = 0.1;  // root mean square
  if (dtype == models::Dtype::kF32) {
    const double difference = deviation(ours, peers).largest;
    return {difference <= kF32, fmt::format("results differ by {:.1e} of the largest value", difference)};
  }
  const at::Tensor exact = reference();
  const Deviation our = deviation(ours, exact), peer = deviation(peers, exact);
  return {our.rms <= peer.rms && peer.rms <= kBf16,
          fmt::format("off the f32 result, rms (largest): ours {:.1e} ({:.1e}), peer {:.1e} ({:.1e})", our.rms,
                      our.largest, peer.rms, peer.largest)};
}

void write_inputs(const std::vector<std::pair<std::string, at::Tensor>>& inputs, const fs::path& path) {
  std::vector<SafetensorsOutput> outputs;
  std::vector<at::Tensor> kept;
  for (const auto& [name, tensor] : inputs) {
    kept.push_back(tensor.contiguous());
    const at::Tensor& t = kept.back();
    const std::string dtype = t.scalar_type() == at::kLong ? "I64" : "F32";
    outputs.push_back(
        {name, dtype, t.sizes().vec(), std::span(static_cast<const std::byte*>(t.const_data_ptr()), t.nbytes())});
  }
  write_safetensors(path, outputs);
}

}  // namespace

Options parse_options(int argc, char** argv, Options o) {
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (i + 1 >= argc) {
      throw Error(
          ErrorCode::kUsage,
          "{}: options are --dtype f32|bf16 --device cpu|cuda --threads N --batch N --depth N --rounds N --size b|xl",
          name);
    }
    const std::string value = argv[++i];
    const std::map<std::string, int*> numbers = {
        {"--threads", &o.threads}, {"--batch", &o.batch}, {"--depth", &o.depth}, {"--rounds", &o.rounds}};
    const std::map<std::string, std::string*> texts = {
        {"--dtype", &o.dtype}, {"--device", &o.device}, {"--size", &o.size}};
    if (numbers.contains(name)) {
      *numbers.at(name) = std::max(1, std::atoi(value.c_str()));
    } else if (texts.contains(name)) {
      *texts.at(name) = value;
    } else {
      throw Error(ErrorCode::kUsage, "{}: not an option", name);
    }
  }
  return o;
}

int compare(Question question, const Options& options) {
  const Scratch scratch;
  models::save(*question.weights, scratch / "weights.safetensors");
  write_inputs(question.inputs, scratch / "inputs.safetensors");
  const models::Dtype dtype = models::parse_dtype(options.dtype);
  const auto device = models::Device::open(options.device, options.threads, dtype);
  std::function<at::Tensor()> forward;
  device->run([&] {
    forward = question.prepare(dtype == models::Dtype::kBF16 ? at::kBFloat16 : at::kFloat, at::Device(device->name()));
  });
  question.weights.reset();

  const std::vector<std::string> arguments = {peers_python("benchmark-peers", "tools/get-benchmark-peers.sh").string(),
                                              VTISSUE_SOURCE_DIR "/benchmarks/peers.py",
                                              question.network,
                                              std::to_string(question.depth),
                                              (scratch / "weights.safetensors").string(),
                                              (scratch / "inputs.safetensors").string(),
                                              (scratch / "output.safetensors").string(),
                                              std::to_string(options.threads),
                                              options.dtype,
                                              options.device};
  Peer peer(arguments, "MKL_CBWR");
  Peer same_mode(arguments);

  at::Tensor result;
  const auto ours = [&] {
    const auto start = std::chrono::steady_clock::now();
    device->run([&] { result = forward().cpu(); });
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  std::vector<double> our_times, peer_times, same_mode_times;
  for (int round = 0; round <= options.rounds; ++round) {
    const double a = ours(), b = peer.run(), c = same_mode.run();
    if (round == 0) continue;  // memory and primitives are set up
    our_times.push_back(a);
    peer_times.push_back(b);
    same_mode_times.push_back(c);
  }
  const auto saved = [&](const char* what) {
    peer.ask(what);
    return models::StateDict::open(scratch / "output.safetensors").get("out").to(at::kFloat);
  };
  const at::Tensor peer_result = saved("save");
  const Agreement agreement = agree(result.to(at::kFloat), peer_result, dtype, [&] { return saved("reference"); });
  if (!agreement.holds) {
    std::fprintf(stderr, "%s: no ratio: %s\n", question.title.c_str(), agreement.text.c_str());
    return 1;
  }
  const double a = median(our_times), b = median(peer_times), c = median(same_mode_times);
  std::printf("%s, %s, batch %d, %s, %d threads (%s)\n", question.title.c_str(), options.dtype.c_str(), options.batch,
              options.device.c_str(), options.threads, device->numerics_class().c_str());
  std::printf("  %s; medians of %d interleaved runs\n", agreement.text.c_str(), options.rounds);
  std::printf("  ours                  %8.1f ms  %8.3f %s/s\n", a * 1e3, options.batch / a, question.unit.c_str());
  std::printf("  peer                  %8.1f ms  %8.3f %s/s   ratio %.2f\n", b * 1e3, options.batch / b,
              question.unit.c_str(), b / a);
  std::printf("  peer, MKL in our mode %8.1f ms  %8.3f %s/s   ratio %.2f\n", c * 1e3, options.batch / c,
              question.unit.c_str(), c / a);
  return 0;
}

}  // namespace vtissue::benchmarks
