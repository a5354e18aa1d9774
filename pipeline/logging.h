#pragma once

#include <spdlog/common.h>

#include "pipeline/terminal.h"

namespace vtissue::pipeline {

enum class LogFormat { kText, kJson };

/// Sends spdlog's default logger to `terminal`, above any progress bar. kText: "warning: message"
/// with the time before it; kJson: {"event":"log","time":…,"level":…,"message":…} a line, UTC.
void configure_logging(LogFormat format, spdlog::level::level_enum level = spdlog::level::info,
                       Terminal& terminal = Terminal::standard_error());

}  // namespace vtissue::pipeline
