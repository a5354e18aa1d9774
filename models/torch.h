#pragma once

/// LibTorch as models/ uses it: tensors, and the layers that its networks are made of. torch/torch.h would bring the
/// data loaders, optimizers and serialisation too, and half as much compile time again in every file.
#include <ATen/ATen.h>
#include <torch/nn/functional/normalization.h>
#include <torch/nn/module.h>
#include <torch/nn/modules/activation.h>
#include <torch/nn/modules/container/functional.h>
#include <torch/nn/modules/container/modulelist.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/dropout.h>
#include <torch/nn/modules/embedding.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/normalization.h>
#include <torch/nn/modules/upsampling.h>
#include <torch/types.h>
#include <torch/utils.h>
#include <torch/version.h>
