// vtissue-train: trains one network of the demo family from a training set. Needs models/ alone.

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "models/mkl_mode.h"
#include "models/training/train.h"

namespace {

using vtissue::Error;
using vtissue::ErrorCode;
using namespace vtissue::models::training;

constexpr const char* kUsage =
    "usage: vtissue-train ae|encoder|predictor|expression|stmdit CONFIG.json --data FILE --out DIR\n"
    "  --data FILE         training set, made by vtissue train prepare\n"
    "  --out DIR           folder for the model; a training found there goes on\n"
    "  --init DIR          ae: folder of the published weights to start from;\n"
    "                      stmdit: a PixCell or STMDiT to fine-tune\n"
    "  --autoencoder DIR   stmdit: trained models it needs\n"
    "  --encoder DIR       predictor, expression, stmdit\n"
    "  --predictor DIR     expression, stmdit\n"
    "  --expression DIR    stmdit\n"
    "  --threads N         default: all cores\n"
    "  --set KEY=VALUE     changes a value of CONFIG.json, e.g. optimizer.steps=100; repeatable\n";

volatile std::sig_atomic_t stop_signal = 0;

void on_signal(int signal) { stop_signal = signal; }

TrainOptions parse_arguments(int argc, char** argv) {
  std::vector<std::string_view> positional;
  std::vector<std::string> assignments;
  TrainOptions options;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (!argument.starts_with("--")) {
      positional.push_back(argument);
      continue;
    }
    if (i + 1 == argc) throw Error(ErrorCode::kUsage, "{} needs a value\n{}", argument, kUsage);
    const std::string value = argv[++i];
    if (argument == "--data")
      options.data = value;
    else if (argument == "--out")
      options.out = value;
    else if (argument == "--init")
      options.init = value;
    else if (argument == "--autoencoder")
      options.autoencoder = value;
    else if (argument == "--encoder")
      options.encoder = value;
    else if (argument == "--predictor")
      options.predictor = value;
    else if (argument == "--expression")
      options.expression = value;
    else if (argument == "--set")
      assignments.push_back(value);
    else if (argument == "--threads") {
      char* end = nullptr;
      const long threads = std::strtol(value.c_str(), &end, 10);
      if (*end != '\0' || threads < 1 || threads > 1024) {
        throw Error(ErrorCode::kUsage, "--threads {}: expected 1 to 1024", value);
      }
      options.threads = static_cast<int>(threads);
    } else {
      throw Error(ErrorCode::kUsage, "unknown option {}\n{}", argument, kUsage);
    }
  }
  if (positional.size() != 2 || options.data.empty() || options.out.empty()) throw Error(ErrorCode::kUsage, kUsage);
  options.role = parse_role(positional[0]);
  std::ifstream file{std::string(positional[1])};
  if (!file) throw Error(ErrorCode::kUsage, "{}: cannot be read", positional[1]);
  try {
    options.config = nlohmann::json::parse(file);
  } catch (const nlohmann::json::exception& e) {
    throw Error(ErrorCode::kUsage, "{}: not JSON: {}", positional[1], e.what());
  }
  for (const std::string& assignment : assignments) set_config_value(options.config, assignment);
  return options;
}

}  // namespace

int main(int argc, char** argv) {
  vtissue::models::restart_with_library_settings(argv);
  for (int i = 1; i < argc; ++i) {
    if (std::string_view(argv[i]) == "--help" || std::string_view(argv[i]) == "-h") {
      std::fputs(kUsage, stdout);
      return 0;
    }
  }
  std::signal(SIGINT, on_signal);
  std::signal(SIGTERM, on_signal);
  try {
    TrainOptions options = parse_arguments(argc, argv);
    options.stop_requested = [] { return stop_signal != 0; };
    options.progress = [](const TrainEvent& event) {
      if (event.steps > 0)
        std::fprintf(stderr, "%lld/%lld ", static_cast<long long>(event.step), static_cast<long long>(event.steps));
      std::fprintf(stderr, "%s\n", event.text.c_str());
    };
    train(options);
    std::printf("%s\n", options.out.c_str());
    return 0;
  } catch (const Error& e) {
    std::fprintf(stderr, "vtissue-train: %s\n", e.what());
    return e.exit_code();
  } catch (const std::exception& e) {
    std::fprintf(stderr, "vtissue-train: %s\n", e.what());
    return static_cast<int>(ErrorCode::kDevice);
  }
}
