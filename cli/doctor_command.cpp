#include <CLI/CLI.hpp>
#include <fstream>
#include <iostream>
#include <memory>

#include "cli/app.h"
#include "cli/common_options.h"
#include "cli/engines.h"
#include "core/error.h"
#include "io/self_test.h"
#include "io/slide_reader.h"

namespace vtissue::cli {
namespace fs = std::filesystem;

namespace {

/// Prints one line a check and remembers the worst.
class Checklist {
 public:
  template <typename Check>
  void check(std::string_view what, Check&& check) {
    try {
      std::cout << fmt::format("ok    {:<22} {}\n", what, check());
    } catch (const Error& e) {
      std::cout << fmt::format("FAIL  {:<22} {}\n", what, e.what());
      if (exit_code_ == 0) exit_code_ = e.exit_code();
    }
  }
  int exit_code() const { return exit_code_; }

 private:
  int exit_code_ = 0;
};

std::string memory_available() {
  std::ifstream meminfo("/proc/meminfo");
  for (std::string key; meminfo >> key;) {
    std::int64_t kilobytes = 0;
    meminfo >> kilobytes;
    meminfo.ignore(16, '\n');
    if (key == "MemAvailable:") return fmt::format("{:.1f} GB available", static_cast<double>(kilobytes) * 1024e-9);
  }
  return "unknown";
}

std::string slide_line(const fs::path& path) {
  const auto slide = io::SlideReader::open(path);
  const io::SlideInfo& info = slide->info();
  const auto size = info.levels.front().size;
  const std::string mpp =
      info.mpp ? fmt::format("{:.4f} µm/px ({})", info.mpp->x, info.mpp->source) : "no µm/px: pass --mpp";
  return fmt::format("{}, {} x {} px, {} levels, {}", info.format, size.width, size.height, info.levels.size(), mpp);
}

struct DoctorArguments {
  CommonOptions common;
  fs::path slide;
};

int doctor(const DoctorArguments& arguments) {
  const pipeline::Config config = arguments.common.load_config();
  const int threads = arguments.common.resolved_threads();
  Engines engines(config, arguments.common, threads);
  Checklist list;
  list.check("vtissue", [] { return std::string(version()); });
  list.check("cores", [&] { return std::to_string(threads); });
  list.check("memory", memory_available);
  for (const io::SelfTest& test : io::self_tests()) list.check(test.name, test.run);
  list.check("networks run on", [&] { return engines.numerics_class(); });
  const auto model = [&](const char* key, auto load) {
    if (!config.has(key)) return;
    list.check(key, [&] {
      const auto engine = load();
      return fmt::format("{} ({}), sha256 {}", engine->info().name, engine->info().architecture,
                         engine->info().sha256.substr(0, 16));
    });
  };
  model("models.encoder", [&] { return engines.encoder(); });
  model("models.predictor_encoder", [&] { return engines.predictor_encoder(); });
  model("models.predictor", [&] { return engines.predictor(); });
  model("models.expression", [&] { return engines.gene_encoder(); });
  model("models.stmdit", [&] { return engines.denoiser(); });
  model("models.autoencoder", [&] { return engines.autoencoder(); });
  if (!arguments.slide.empty()) list.check("slide", [&] { return slide_line(arguments.slide); });
  return list.exit_code();
}

}  // namespace

void add_doctor_command(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("doctor", "Check libraries, codecs, threads, memory, models and a slide");
  const auto arguments = std::make_shared<DoctorArguments>();
  command->add_option("--slide", arguments->slide, "also open this slide");
  arguments->common.add_to(*command, true);
  command->callback([arguments, &action] { action = [arguments] { return doctor(*arguments); }; });
}

}  // namespace vtissue::cli
