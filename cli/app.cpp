#include "cli/app.h"

#include <spdlog/spdlog.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <new>

#include "core/error.h"
#include "pipeline/logging.h"

namespace vtissue::cli {

namespace {

constexpr int kInternalError = 1;

int report_error(const Error& error) {
  if (error.code() == ErrorCode::kInterrupted) {
    spdlog::warn("{}", error.what());
  } else {
    spdlog::error("{}", error.what());
  }
  return error.exit_code();
}

}  // namespace

std::string_view version() { return VTISSUE_VERSION; }

int run_app(int argc, char** argv) {
  // stdout is for results; a session changes the format later.
  pipeline::configure_logging(pipeline::LogFormat::kText);
  CLI::App app(
      "Virtual tissue: H&E slides synthesized from morphology and gene expression.\nFor research; what it makes is "
      "synthetic and not for diagnosis.",
      "vtissue");
  app.set_version_flag("--version", std::string("vtissue ") + std::string(version()));
  app.require_subcommand(1);
  app.failure_message(CLI::FailureMessage::help);
  app.footer(
      "Exit codes: 0 done, 2 usage or configuration, 3 bad input data, 4 missing or wrong model,\n"
      "5 device or memory, 6 output could not be written, 130 interrupted (run the same command again).");

  Action action;
  add_run_command(app, action);
  add_plan_command(app, action);
  add_perturb_command(app, action);
  add_draws_command(app, action);
  add_audit_command(app, action);
  add_tile_command(app, action);
  add_embed_command(app, action);
  add_express_command(app, action);
  add_encode_command(app, action);
  add_lattice_command(app, action);
  add_synthesize_command(app, action);
  add_stitch_command(app, action);
  add_evaluate_command(app, action);
  add_report_command(app, action);
  add_train_command(app, action);
  add_inspect_command(app, action);
  add_export_command(app, action);
  add_view_command(app, action);
  add_weights_command(app, action);
  add_doctor_command(app, action);
  add_config_reference_command(app, action);

  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& e) {
    return app.exit(e);
  } catch (const CLI::ParseError& e) {
    app.exit(e);
    return static_cast<int>(ErrorCode::kUsage);
  }

  try {
    return action();
  } catch (const Error& e) {
    return report_error(e);
  } catch (const std::filesystem::filesystem_error& e) {
    return report_error(Error(ErrorCode::kBadInput, "{}: {}; check the path and its permissions", e.path1().string(),
                              e.code().message()));
  } catch (const std::bad_alloc&) {
    return report_error(Error(ErrorCode::kDevice, "out of memory; use a smaller --in-flight"));
  } catch (const std::exception& e) {
    spdlog::critical("internal error, please report it: {}", e.what());
    return kInternalError;
  }
}

}  // namespace vtissue::cli
