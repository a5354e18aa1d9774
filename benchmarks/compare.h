#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "models/torch.h"

/// What the benchmarks share: options, the peer in a process of its own, interleaved runs, agreement, the row to print.
namespace vtissue::benchmarks {

struct Options {
  std::string dtype = "bf16";  ///< or "f32"
  std::string device = "cpu";
  int threads = 2;
  int batch = 8;
  int depth = 0;           ///< 0: the published network's
  int rounds = 7;          ///< of which the median is taken; one more is not counted
  std::string size = "b";  ///< of PixCell: b or xl
  bool help = false;
};

/// --dtype --device --threads --batch --depth --rounds --size. Throws Error kUsage.
Options parse_options(int argc, char** argv, Options defaults);

/// A network, what goes in, and our way to run it.
struct Question {
  std::string network;  ///< function of peers.py
  std::string title;    ///< of the row
  std::string unit;     ///< what one of the batch is: "tile"
  int depth = 0;
  std::shared_ptr<torch::nn::Module> weights;  ///< with the published names
  std::vector<std::pair<std::string, at::Tensor>> inputs;
  /// Called once the weights are written, on the device's thread; returns what runs one forward pass there.
  std::function<std::function<at::Tensor()>(at::ScalarType, const at::Device&)> prepare;
};

/// Runs ours and the peer in turn, twice the latter: as people run it, and with MKL in our mode. Prints medians, rates
/// and ratios to stdout once the results agree: in float32 to 1e-4 of the largest value; in bfloat16 ours must be no
/// farther from the peer's float32 result than the peer's own is. Returns the exit code.
int compare(Question question, const Options& options);

}  // namespace vtissue::benchmarks
