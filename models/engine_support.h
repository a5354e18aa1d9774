#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <string_view>

#include "models/device.h"
#include "models/torch.h"

/// What the engines share. Everything but check_size() and for_micro_batches() belongs on the device's thread.
namespace vtissue::models {

/// Throws Error kUsage unless an array has the size that its shape asks for.
void check_size(std::string_view what, std::size_t size, std::size_t expected);

/// Makes a loaded network ready to run on the device: no dropout, convolutions channels-last (a NCHW convolution of
/// one image has other last bits than the same image in a batch).
void prepare_for_inference(torch::nn::Module& network, const Device& device);

/// A host array on the device; the array may go when this returns.
at::Tensor to_device(const float* values, at::IntArrayRef shape, const Device& device);

/// Throws Error kModel that names the model if a value of a network's result is not finite: rounded to a pixel or
/// compared with a threshold it would pass for one.
void require_finite(const at::Tensor& tensor, std::string_view model, std::string_view what);

/// The first out.size() values of a result, row-major.
void copy_to_host(const at::Tensor& tensor, std::span<float> out);

/// Calls work(first, count) for consecutive rows, at most micro_batch at a time.
template <typename Work>
void for_micro_batches(int n, int micro_batch, Work&& work) {
  for (int first = 0; first < n; first += micro_batch) work(first, std::min(micro_batch, n - first));
}

}  // namespace vtissue::models
