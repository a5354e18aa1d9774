#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <vector>

#include "core/units.h"

namespace vtissue::stages {

/// `trajectory/`: the states of some tiles after each step of a synthesis, in float32, bit for bit: index.json and
/// state-00001.safetensors … with "x" [tiles, channels, size, size].
struct TrajectoryShape {
  std::vector<TileCell> cells;  ///< sorted; may be empty
  int states = 0;
  int channels = 0;
  int size = 0;
  bool operator==(const TrajectoryShape&) const = default;
  std::size_t values() const {
    return cells.size() * static_cast<std::size_t>(channels) * static_cast<std::size_t>(size) *
           static_cast<std::size_t>(size);
  }
};

/// State `number`, 1 to shape.states. Throws Error kOutput.
void write_trajectory_state(const std::filesystem::path& folder, const TrajectoryShape& shape, int number,
                            std::span<const float> values);
/// The index, once all states are there. Throws Error kOutput.
void finish_trajectory(const std::filesystem::path& folder, const TrajectoryShape& shape);

/// Throws Error kBadInput: no trajectory, damaged.
TrajectoryShape read_trajectory_shape(const std::filesystem::path& folder);
std::vector<float> read_trajectory_state(const std::filesystem::path& folder, const TrajectoryShape& shape, int number);

}  // namespace vtissue::stages
