#pragma once

// Precompiled for models/ and its tests.
#include "models/torch.h"
