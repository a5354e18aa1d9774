#include <CLI/CLI.hpp>
#include <iostream>

#include "cli/app.h"
#include "cli/schema.h"

namespace vtissue::cli {

void add_config_reference_command(CLI::App& app, Action& action) {
  CLI::App* command =
      app.add_subcommand("config-reference", "Print every configuration key as Markdown (docs/configuration.md)");
  command->callback([&action] {
    action = [] {
      std::cout << "# Configuration reference\n\nPrinted by `vtissue config-reference`. A key is `section.key` on the "
                   "command line (`--set`) and nested in"
                   " YAML;\npaths are relative to the file that names them.\n\n"
                << schema().to_markdown();
      return 0;
    };
  });
}

}  // namespace vtissue::cli
