#pragma once

// Precompiled for models/ only: LibTorch's headers take 15 s a file without it.
#include <torch/torch.h>
