#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/safetensors.h"
#include "models/state_dict.h"
#include "models/torch.h"

/// Access to the outputs of the reference implementations (tests/data/golden).
namespace vtissue::models {

inline std::filesystem::path golden_path(const std::string& name) {
  return std::filesystem::path(VTISSUE_TEST_DATA) / "golden" / name;
}

inline StateDict golden(const std::string& name) { return StateDict::open(golden_path(name)); }

inline nlohmann::json golden_json(const std::string& name) {
  std::ifstream in(golden_path(name));
  return nlohmann::json::parse(in);
}

/// A file of the third-party data, if VTISSUE_DATA names its folder.
inline std::optional<std::filesystem::path> data_path(const std::string& name) {
  const char* root = std::getenv("VTISSUE_DATA");
  if (root == nullptr || !std::filesystem::exists(std::filesystem::path(root) / name)) return std::nullopt;
  return std::filesystem::path(root) / name;
}

inline std::vector<float> to_vector(const at::Tensor& tensor) {
  const at::Tensor flat = tensor.to(at::kFloat).contiguous();
  return {flat.const_data_ptr<float>(), flat.const_data_ptr<float>() + flat.numel()};
}

inline std::vector<std::uint8_t> to_bytes(const at::Tensor& tensor) {
  const at::Tensor flat = tensor.to(at::kByte).contiguous();
  return {flat.const_data_ptr<std::uint8_t>(), flat.const_data_ptr<std::uint8_t>() + flat.numel()};
}

/// |actual - expected| <= tolerance * max |expected|, everywhere.
inline void expect_close(const at::Tensor& actual, const at::Tensor& expected, double tolerance) {
  ASSERT_EQ(actual.sizes(), expected.sizes());
  const at::Tensor reference = expected.to(at::kDouble);
  const double largest = reference.abs().max().item<double>();
  const double error = (actual.to(at::kDouble) - reference).abs().max().item<double>();
  EXPECT_LE(error, tolerance * largest) << "largest expected value " << largest;
}

/// Writes a weights file again with `value` in the first element of a tensor, or in all.
inline void poison(const std::filesystem::path& path, const std::string& name, float value, bool all = false) {
  const StateDict file = StateDict::open(path);
  std::vector<at::Tensor> kept;
  std::vector<SafetensorsOutput> outputs;
  bool found = false;
  for (const TensorInfo& info : file.tensors()) {
    at::Tensor tensor = file.get(info.name);
    if (info.name == name) {
      found = true;
      (all ? tensor : tensor.view(-1).slice(0, 0, 1)).fill_(value);
    }
    outputs.push_back({info.name, info.dtype, info.shape,
                       std::span(static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes())});
    kept.push_back(std::move(tensor));
  }
  ASSERT_TRUE(found) << name;
  write_safetensors(path, std::move(outputs));
}

/// Runs `call`, which must throw an Error; returns its code and text.
template <typename Call>
std::pair<ErrorCode, std::string> error_of(Call&& call) {
  try {
    call();
  } catch (const Error& error) {
    return {error.code(), error.what()};
  }
  ADD_FAILURE() << "no Error was thrown";
  return {ErrorCode::kUsage, ""};
}

}  // namespace vtissue::models
