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
      std::cout << schema().to_markdown();
      return 0;
    };
  });
}

}  // namespace vtissue::cli
