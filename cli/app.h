#pragma once

#include <functional>
#include <string_view>

namespace CLI {
class App;
}

namespace vtissue::cli {

/// Parses the command line, runs the subcommand and maps what it throws to an exit code (DESIGN 4):
/// messages go to stderr, results' paths to stdout.
int run_app(int argc, char** argv);

/// Set by the subcommand that was chosen; returns the exit code or throws Error.
using Action = std::function<int()>;

// Each adds its subcommand to `app` and sets `action` when it is chosen. One source file each.
void add_run_command(CLI::App& app, Action& action);
void add_plan_command(CLI::App& app, Action& action);
void add_perturb_command(CLI::App& app, Action& action);
void add_draws_command(CLI::App& app, Action& action);
void add_audit_command(CLI::App& app, Action& action);
void add_conditions_command(CLI::App& weights, Action& action);  ///< below "weights"
void add_tile_command(CLI::App& app, Action& action);
void add_embed_command(CLI::App& app, Action& action);
void add_express_command(CLI::App& app, Action& action);
void add_encode_command(CLI::App& app, Action& action);
void add_lattice_command(CLI::App& app, Action& action);
void add_synthesize_command(CLI::App& app, Action& action);
void add_stitch_command(CLI::App& app, Action& action);
void add_evaluate_command(CLI::App& app, Action& action);
void add_report_command(CLI::App& app, Action& action);
void add_train_command(CLI::App& app, Action& action);
void add_inspect_command(CLI::App& app, Action& action);
void add_export_command(CLI::App& app, Action& action);
void add_view_command(CLI::App& app, Action& action);
void add_weights_command(CLI::App& app, Action& action);
void add_doctor_command(CLI::App& app, Action& action);
void add_config_reference_command(CLI::App& app, Action& action);

std::string_view version();

}  // namespace vtissue::cli
