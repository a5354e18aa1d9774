#pragma once

#include "cli/app.h"

namespace vtissue::cli {

/// `export multiqc`: figures of runs for a MultiQC report.
void add_export_multiqc(CLI::App& command, Action& action);

}  // namespace vtissue::cli
