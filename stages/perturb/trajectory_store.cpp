#include "stages/perturb/trajectory_store.h"

#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/safetensors.h"

namespace vtissue::stages {
namespace {

namespace fs = std::filesystem;

constexpr const char* kTrajectoryFormat = "vtissue-trajectory";

void make_store_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) throw_output_error(folder, "create the folder", error.value());
}

fs::path state_path(const fs::path& folder, int number) {
  return folder / fmt::format("state-{:05}.safetensors", number);
}

std::vector<std::int64_t> tensor_shape(const TrajectoryShape& shape) {
  return {static_cast<std::int64_t>(shape.cells.size()), shape.channels, shape.size, shape.size};
}

}  // namespace

void write_trajectory_state(const fs::path& folder, const TrajectoryShape& shape, int number,
                            std::span<const float> values) {
  if (shape.cells.empty()) return;
  make_store_folder(folder);
  write_safetensors(state_path(folder, number), {{"x", "F32", tensor_shape(shape), std::as_bytes(values)}});
}

void finish_trajectory(const fs::path& folder, const TrajectoryShape& shape) {
  make_store_folder(folder);
  nlohmann::json cells = nlohmann::json::array();
  for (const TileCell cell : shape.cells) cells.push_back({cell.column, cell.row});
  const nlohmann::json index = {{"format", kTrajectoryFormat}, {"version", 1},       {"states", shape.states},
                                {"channels", shape.channels},  {"size", shape.size}, {"cells", cells}};
  write_file_atomically(folder / "index.json", index.dump() + "\n");
}

TrajectoryShape read_trajectory_shape(const fs::path& folder) {
  const fs::path path = folder / "index.json";
  std::ifstream file(path, std::ios::binary);
  const nlohmann::json index = nlohmann::json::parse(file, nullptr, false);
  try {
    if (index.at("format") != kTrajectoryFormat || index.at("version") != 1) {
      throw Error(ErrorCode::kBadInput, "{}: another format or version; make it again", path.string());
    }
    TrajectoryShape shape{.cells = {},
                          .states = index.at("states").get<int>(),
                          .channels = index.at("channels").get<int>(),
                          .size = index.at("size").get<int>()};
    for (const nlohmann::json& cell : index.at("cells")) {
      shape.cells.push_back({cell.at(0).get<std::int32_t>(), cell.at(1).get<std::int32_t>()});
    }
    return shape;
  } catch (const nlohmann::json::exception& e) {
    throw Error(ErrorCode::kBadInput, "{}: is no trajectory's index: {}", path.string(), e.what());
  }
}

std::vector<float> read_trajectory_state(const fs::path& folder, const TrajectoryShape& shape, int number) {
  std::vector<float> values(shape.values());
  if (values.empty()) return values;
  const fs::path path = state_path(folder, number);
  const SafetensorsFile file = SafetensorsFile::open(path);
  const SafetensorsEntry* entry = file.find("x");
  if (entry == nullptr || entry->dtype != "F32" || entry->shape != tensor_shape(shape)) {
    throw Error(ErrorCode::kBadInput, "{}: does not hold the states of {} tiles", path.string(), shape.cells.size());
  }
  std::memcpy(values.data(), entry->data.data(), entry->data.size());
  return values;
}

}  // namespace vtissue::stages
