#include "benchmarks/compare.h"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>

#include "core/error.h"
#include "core/safetensors.h"
#include "models/device.h"
#include "models/mkl_mode.h"
#include "models/state_dict.h"

namespace vtissue::benchmarks {
namespace fs = std::filesystem;

namespace {

/// A folder that goes when the program ends.
class Scratch {
 public:
  Scratch() {
    std::string name = (fs::temp_directory_path() / "vtissue-benchmark-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw Error(ErrorCode::kOutput, "{}: cannot be made", name);
    path_ = name;
  }
  ~Scratch() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  fs::path operator/(const char* name) const { return path_ / name; }

 private:
  fs::path path_;
};

fs::path peers_python() {
  const char* cache = std::getenv("VTISSUE_CACHE");
  const char* home = std::getenv("HOME");
  const fs::path root = cache != nullptr ? fs::path(cache) : fs::path(home != nullptr ? home : "/") / ".cache/vtissue";
  const fs::path python = root / "benchmark-peers" / "bin" / "python";
  if (!fs::exists(python)) {
    throw Error(ErrorCode::kUsage, "{}: not there; run tools/get-benchmark-peers.sh", python.string());
  }
  return python;
}

/// peers.py in a process of its own.
class Peer {
 public:
  Peer(std::vector<std::string> arguments, bool our_mkl_mode) {
    int to[2], from[2];
    if (::pipe(to) != 0 || ::pipe(from) != 0) throw Error(ErrorCode::kDevice, "no pipe to the peer");
    process_ = ::fork();
    if (process_ == 0) {
      ::dup2(to[0], STDIN_FILENO);
      ::dup2(from[1], STDOUT_FILENO);
      for (const int end : {to[0], to[1], from[0], from[1]}) ::close(end);
      if (!our_mkl_mode) ::unsetenv("MKL_CBWR");
      std::vector<char*> argv;
      for (std::string& argument : arguments) argv.push_back(argument.data());
      argv.push_back(nullptr);
      ::execv(argv[0], argv.data());
      ::_exit(127);
    }
    ::close(to[0]);
    ::close(from[1]);
    in_ = ::fdopen(to[1], "w");
    out_ = ::fdopen(from[0], "r");
    if (read() != "ready") throw Error(ErrorCode::kModel, "the peer did not start; its message is above");
  }
  ~Peer() {
    std::fclose(in_);
    std::fclose(out_);
    ::waitpid(process_, nullptr, 0);
  }
  Peer(const Peer&) = delete;

  /// Seconds of one forward pass.
  double run() {
    const std::string answer = ask("run");
    double seconds = 0;
    std::from_chars(answer.data(), answer.data() + answer.size(), seconds);
    if (!(seconds > 0)) throw Error(ErrorCode::kModel, "the peer answered \"{}\"", answer);
    return seconds;
  }

  std::string ask(const std::string& line) {
    std::fprintf(in_, "%s\n", line.c_str());
    std::fflush(in_);
    const std::string answer = read();
    if (answer.empty()) throw Error(ErrorCode::kModel, "the peer stopped; its message is above");
    return answer;
  }

 private:
  std::string read() {
    char line[256];
    if (std::fgets(line, sizeof line, out_) == nullptr) return {};
    std::string text = line;
    while (!text.empty() && text.back() == '\n') text.pop_back();
    return text;
  }

  pid_t process_ = 0;
  std::FILE* in_ = nullptr;
  std::FILE* out_ = nullptr;
};

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
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

void run_as_vtissue(char** argv) {
  if (std::getenv("MKL_CBWR") != nullptr) return;
  models::set_mkl_mode();
  ::execv("/proc/self/exe", argv);
}

int compare(Question question, const Options& options, double tolerance) {
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

  const std::vector<std::string> arguments = {peers_python().string(),
                                              VTISSUE_SOURCE_DIR "/benchmarks/peers.py",
                                              question.network,
                                              std::to_string(question.depth),
                                              (scratch / "weights.safetensors").string(),
                                              (scratch / "inputs.safetensors").string(),
                                              (scratch / "output.safetensors").string(),
                                              std::to_string(options.threads),
                                              options.dtype,
                                              options.device};
  Peer peer(arguments, /*our_mkl_mode=*/false);
  Peer same_mode(arguments, /*our_mkl_mode=*/true);

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
  peer.ask("save");
  const at::Tensor expected = models::StateDict::open(scratch / "output.safetensors").get("out").to(at::kFloat);
  const double largest = expected.abs().max().item<double>();
  const double difference = (result.to(at::kFloat) - expected).abs().max().item<double>() / largest;
  if (!(difference <= tolerance)) {
    std::fprintf(stderr, "%s: the results differ by %.2g of the largest value, more than %.2g; no ratio\n",
                 question.title.c_str(), difference, tolerance);
    return 1;
  }
  const double a = median(our_times), b = median(peer_times), c = median(same_mode_times);
  std::printf("%s, %s, batch %d, %s, %d threads (%s)\n", question.title.c_str(), options.dtype.c_str(), options.batch,
              options.device.c_str(), options.threads, device->numerics_class().c_str());
  std::printf("  largest difference %.1e of the largest value; medians of %d interleaved runs\n", difference,
              options.rounds);
  std::printf("  ours                  %8.1f ms  %8.3f %s/s\n", a * 1e3, options.batch / a, question.unit.c_str());
  std::printf("  peer                  %8.1f ms  %8.3f %s/s   ratio %.2f\n", b * 1e3, options.batch / b,
              question.unit.c_str(), b / a);
  std::printf("  peer, MKL in our mode %8.1f ms  %8.3f %s/s   ratio %.2f\n", c * 1e3, options.batch / c,
              question.unit.c_str(), c / a);
  return 0;
}

}  // namespace vtissue::benchmarks
