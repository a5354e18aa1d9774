#pragma once

#include "pipeline/config.h"

namespace vtissue::cli {

/// Every key of a pipeline configuration: the models and what each stage contributes.
const pipeline::ConfigSchema& schema();

}  // namespace vtissue::cli
