#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/app.h"
#include "core/checkpoint.h"
#include "core/error.h"
#include "io/anndata.h"
#include "io/feature_store.h"
#include "io/latent_store.h"
#include "io/pyramid_metadata.h"
#include "io/slide_reader.h"
#include "io/tile_store.h"
#include "models/state_dict.h"

namespace vtissue::cli {
namespace fs = std::filesystem;
using nlohmann::json;

namespace {

json describe_tiles(const fs::path& path) {
  const io::TileSet tiles = io::read_tiles(path);
  return {{"kind", "tiles"},
          {"tiles", tiles.cells.size()},
          {"tile_px", tiles.tile_px},
          {"target_mpp", tiles.target_mpp},
          {"source_mpp", tiles.source_mpp},
          {"mpp_source", tiles.mpp_source},
          {"slide_px", {tiles.slide_size.width, tiles.slide_size.height}},
          {"target_px", {tiles.target_size.width, tiles.target_size.height}},
          {"slide_sha256", tiles.slide_sha256}};
}

json describe_features(const fs::path& path) {
  const io::FeatureReader features(path);
  json sets = json::array();
  for (const io::FeatureSetInfo& set : features.sets()) {
    sets.push_back({{"name", set.name},
                    {"encoder", set.encoder},
                    {"encoder_sha256", set.encoder_sha256},
                    {"geometry", set.geometry},
                    {"vectors", set.vectors},
                    {"dim", set.dim}});
  }
  return {{"kind", "features"}, {"tiles", features.cells().size()}, {"sets", sets}};
}

json describe_anndata(const fs::path& path) {
  const io::AnnData data = io::read_h5ad(path);
  json columns = json::array();
  for (const auto& [name, column] : data.obs.columns) columns.push_back(name);
  return {{"kind", "anndata"},
          {"rows", data.x.rows},
          {"genes", data.x.genes.size()},
          {"stored_values", data.x.values.size()},
          {"obs_columns", columns},
          {"spatial", data.spatial.has_value()},
          {"uns", data.strings}};
}

json describe_weights(const fs::path& path) {
  const Checkpoint file = Checkpoint::open(path);
  json tensors = json::array();
  for (const CheckpointTensor& tensor : file.tensors()) {
    tensors.push_back({{"name", tensor.name}, {"dtype", tensor.dtype}, {"shape", tensor.shape}});
  }
  const std::string kind = file.format() == "safetensors" ? "safetensors" : "weights";
  return {{"kind", kind}, {"metadata", file.metadata()}, {"tensors", tensors}};
}

json describe_slide(const fs::path& path) {
  const auto slide = io::SlideReader::open(path);
  const io::SlideInfo& info = slide->info();
  json levels = json::array();
  for (const io::SlideLevel& level : info.levels) {
    levels.push_back({{"width", level.size.width}, {"height", level.size.height}, {"downsample", level.downsample}});
  }
  json out = {{"kind", "slide"}, {"format", info.format}, {"levels", levels}};
  if (info.mpp) out["mpp"] = {{"x", info.mpp->x}, {"y", info.mpp->y}, {"source", info.mpp->source}};
  if (info.objective_power) out["objective_power"] = *info.objective_power;
  if (!info.associated.empty()) out["associated"] = info.associated;
  if (!info.icc_profile.empty()) out["icc_profile_bytes"] = info.icc_profile.size();
  const std::string provenance = io::read_provenance(path);
  if (!provenance.empty()) {
    out["kind"] = "virtual slide";
    try {
      out["provenance"] = json::parse(provenance);
    } catch (const json::exception& e) {
      throw Error(ErrorCode::kBadInput, "{}: its provenance is not valid JSON: {}", path.string(), e.what());
    }
  }
  return out;
}

json parse_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw Error(ErrorCode::kBadInput, "{}: cannot be read: {}", path.string(), std::strerror(errno));
  try {
    return json::parse(file);
  } catch (const json::exception& e) {
    throw Error(ErrorCode::kBadInput, "{}: not valid JSON: {}", path.string(), e.what());
  }
}

json describe_folder(const fs::path& path) {
  std::error_code absent;
  if (fs::exists(path / "config.json", absent)) {
    const fs::path weights = models::weights_file(path);
    return {{"kind", "model"},
            {"config", parse_file(path / "config.json")},
            {"weights", describe_weights(weights.empty() ? path / "model.safetensors" : weights)["tensors"]}};
  }
  const io::LatentReader latents(path);
  return {{"kind", "latents"}, {"index", parse_file(path / "index.json")}};
}

bool starts_with(const fs::path& path, std::string_view magic) {
  std::string head(magic.size(), '\0');
  std::ifstream(path, std::ios::binary).read(head.data(), static_cast<std::streamsize>(head.size()));
  return head == magic;
}

json describe(const fs::path& path) {
  std::error_code failure;
  const fs::file_status status = fs::status(path, failure);
  if (!fs::exists(status)) {
    throw Error(ErrorCode::kBadInput, "{}: cannot be read: {}; check the path and its permissions", path.string(),
                failure.message());
  }
  if (fs::is_directory(status)) return describe_folder(path);
  const std::string name = path.filename().string();
  for (const char* end :
       {".safetensors", ".safetensors.index.json", ".bin.index.json", ".pth", ".pt", ".bin", ".ckpt"}) {
    if (name.ends_with(end)) return describe_weights(path);
  }
  if (name.ends_with(".h5ad") || name.ends_with(".h5ad.gz")) return describe_anndata(path);
  if (starts_with(path, "\x89HDF\r\n\x1a\n")) {
    try {
      return describe_tiles(path);
    } catch (const Error&) {
      return describe_features(path);
    }
  }
  if (name.ends_with(".json")) return {{"kind", "json"}, {"content", parse_file(path)}};
  return describe_slide(path);
}

/// "a.b: value" a line; lists of objects one line each.
void print_text(const json& value, const std::string& name) {
  if (value.is_object()) {
    for (const auto& [key, child] : value.items()) print_text(child, name.empty() ? key : name + "." + key);
  } else if (value.is_array() && !value.empty() && value.front().is_object()) {
    for (std::size_t i = 0; i < value.size(); ++i) std::cout << name << "[" << i << "]: " << value[i].dump() << '\n';
  } else {
    std::cout << name << ": " << (value.is_string() ? value.get<std::string>() : value.dump()) << '\n';
  }
}

}  // namespace

void add_inspect_command(CLI::App& app, Action& action) {
  CLI::App* command =
      app.add_subcommand("inspect", "Say what a slide, store, AnnData file, weights or virtual slide holds");
  struct Arguments {
    fs::path path;
    bool as_json = false;
  };
  const auto arguments = std::make_shared<Arguments>();
  command->add_option("path", arguments->path, "file or folder")->required();
  command->add_flag("--json", arguments->as_json, "as one JSON object");
  command->callback([arguments, &action] {
    action = [arguments] {
      const json described = describe(arguments->path);
      if (arguments->as_json) {
        std::cout << described.dump(2) << '\n';
      } else {
        print_text(described, "");
      }
      return 0;
    };
  });
}

}  // namespace vtissue::cli
