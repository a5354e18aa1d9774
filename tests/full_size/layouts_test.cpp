#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "core/safetensors.h"
#include "models/checkpoint/name_map.h"
#include "models/stmdit/checkpoint.h"
#include "models/stmdit/config.h"
#include "models/stmdit/stmdit.h"
#include "models/torch.h"
#include "models/vit/vit.h"
