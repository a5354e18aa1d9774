#include "cli/line.h"
#include "cli/stage_command.h"

namespace vtissue::cli {

void add_report_command(CLI::App& app, Action& action) {
  const auto command = StageCommand::add(
      app, "report", "A self-contained page of real and virtual side by side → report.html, preview.png");
  command->input("slide", "the real slide")
      .input("tiles", "tiles.h5")
      .input("virtual", "virtual.tiff")
      .input("metrics", "metrics.json", false)
      .output("report", "report.html to write")
      .output("preview", "preview.png to write");
  command->runs(action, [](const pipeline::Config& config, Engines&) { return make_report_stage(config, {}); });
}

}  // namespace vtissue::cli
