#pragma once

#include <vector>

#include "pipeline/config.h"
#include "stages/report/report_stage.h"

namespace vtissue::stages {

/// The keys of section "report".
std::vector<pipeline::ConfigKey> report_config_keys();

/// Generator and run record are the caller's to add.
ReportOptions report_options(const pipeline::Config& config);

}  // namespace vtissue::stages
