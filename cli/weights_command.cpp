#include <spdlog/fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/app.h"
#include "cli/name_maps.h"
#include "cli/registry.h"
#include "cli/yaml_json.h"
#include "core/error.h"
#include "models/checkpoint/convert.h"
#include "models/checkpoint/name_map.h"
#include "models/checkpoint/self_check.h"
#include "models/checkpoint/summary.h"

namespace vtissue::cli {
namespace fs = std::filesystem;
using nlohmann::json;

namespace {

models::NameMap parse(const models::LoadOptions& options) {
  return models::parse_name_map(json::parse(options.name_map));
}

models::StateDict open_weights(const fs::path& path, const std::string& group) {
  return group.empty() ? models::StateDict::open(path) : models::StateDict::open(path, group == "." ? "" : group);
}

/// The configuration beside a weights file: heads and objective are not in the tensors.
json config_beside(const fs::path& weights) {
  const fs::path folder = fs::is_directory(weights) ? weights : weights.parent_path();
  for (const char* name : {"config.json", "training_config.yaml", "args.json"}) {
    if (fs::exists(folder / name)) return read_yaml(folder / name);  // JSON is YAML
  }
  return nullptr;
}

std::string dotted(const models::TensorInfo& info) {
  return fmt::format("{} {} [{}]", info.name, info.dtype, fmt::join(info.shape, ", "));
}

/// A tensor's name without its numbers: "blocks.*.attn.qkv.weight".
std::string without_numbers(const std::string& name) {
  std::string result;
  for (std::size_t at = 0; at <= name.size();) {
    const std::size_t end = std::min(name.find('.', at), name.size());
    const std::string part = name.substr(at, end - at);
    const bool number =
        !part.empty() && std::all_of(part.begin(), part.end(), [](char c) { return c >= '0' && c <= '9'; });
    result += (at == 0 ? "" : ".") + (number ? std::string("*") : part);
    at = end + 1;
  }
  return result;
}

struct Alike {
  std::size_t count = 0;
  models::TensorInfo first;
};

/// One line for tensors that differ in a number alone and are of one shape.
void print_tree(std::span<const models::TensorInfo> tensors) {
  std::map<std::string, Alike> lines;
  for (const models::TensorInfo& info : tensors) {
    const std::string key =
        fmt::format("{} {} [{}]", without_numbers(info.name), info.dtype, fmt::join(info.shape, ", "));
    Alike& line = lines[key];
    if (line.count++ == 0) line.first = info;
  }
  for (const auto& [key, line] : lines) {
    if (line.count == 1) {
      std::cout << "  " << dotted(line.first) << '\n';
    } else {
      std::cout << fmt::format("  {}  ({} of them)\n", key, line.count);
    }
  }
}

struct ListArguments {
  fs::path path;
  fs::path name_map;
  std::string group;
  bool as_json = false;
};

json tensor_json(const models::TensorInfo& info) {
  return {{"name", info.name}, {"dtype", info.dtype}, {"shape", info.shape}};
}

int list_weights(const ListArguments& arguments) {
  if (!fs::exists(arguments.path)) throw Error(ErrorCode::kModel, "{}: no such file", arguments.path.string());
  const models::StateDict weights = open_weights(arguments.path, arguments.group);
  std::vector<models::TensorInfo> tensors(weights.tensors().begin(), weights.tensors().end());
  std::vector<std::string> ignored;
  if (!arguments.name_map.empty()) {
    const models::LoadOptions options = name_map_option(arguments.name_map);
    const models::NameMap names = parse(options);
    for (const models::TensorInfo& info : tensors) {
      if (names.ignores(info.name)) ignored.push_back(info.name);
    }
    const models::StateDict ours = names.applied_to(weights, "name map " + options.name_map_origin);
    tensors.assign(ours.tensors().begin(), ours.tensors().end());
  }
  const models::WeightsSummary summary = models::summarize_weights(tensors, config_beside(arguments.path));
  if (arguments.as_json) {
    json facts = json::object(), all = json::array(), unknown = json::array();
    for (const auto& [name, value] : summary.facts) facts[name] = value;
    for (const auto& info : tensors) all.push_back(tensor_json(info));
    for (const auto& info : summary.unrecognised) unknown.push_back(tensor_json(info));
    std::cout << json{{"format", weights.checkpoint().format()},
                      {"architecture", summary.architecture},
                      {"layout", summary.layout},
                      {"facts", facts},
                      {"tensors", all},
                      {"unrecognised", unknown},
                      {"ignored", ignored}}
                     .dump(2)
              << '\n';
    return 0;
  }
  std::cout << fmt::format("{}: {}, {} tensors\n", arguments.path.string(), weights.checkpoint().format(),
                           tensors.size());
  print_tree(tensors);
  if (!weights.checkpoint().values().empty()) std::cout << "beside the tensors:\n";
  for (const TorchValue& value : weights.checkpoint().values()) {
    std::cout << fmt::format("  {}: {}\n", value.name, value.text);
  }
  std::cout << (summary.architecture.empty()
                    ? std::string("architecture: not recognised\n")
                    : fmt::format("architecture: {} ({} names)\n", summary.architecture, summary.layout));
  for (const auto& [name, value] : summary.facts) std::cout << fmt::format("  {}: {}\n", name, value);
  if (!summary.architecture.empty() && !summary.unrecognised.empty()) {
    std::cout << fmt::format("{} tensors are not recognised (a --name-map can say what they are):\n",
                             summary.unrecognised.size());
    print_tree(summary.unrecognised);
  }
  return 0;
}

struct ConvertArguments {
  fs::path in, out, name_map;
  std::string group, dtype;
};

int convert(const ConvertArguments& arguments) {
  if (!fs::exists(arguments.in)) throw Error(ErrorCode::kModel, "{}: no such file", arguments.in.string());
  const models::StateDict weights = open_weights(arguments.in, arguments.group);
  std::string dtype = arguments.dtype;
  std::transform(dtype.begin(), dtype.end(), dtype.begin(), [](unsigned char c) { return std::toupper(c); });
  const models::LoadOptions options = name_map_option(arguments.name_map);
  models::convert_weights(
      options.name_map.empty() ? weights : parse(options).applied_to(weights, "name map " + options.name_map_origin),
      arguments.out, dtype);
  std::cout << arguments.out.string() << '\n';
  return 0;
}

struct ImportArguments {
  std::string name;
  fs::path from, out, name_map;
};

int import_published(const ImportArguments& arguments) {
  const KnownModel* model = find_known_model(arguments.name);
  if (model == nullptr) {
    std::vector<std::string> names;
    for (const KnownModel& known : known_models()) names.push_back(known.name);
    throw Error(ErrorCode::kUsage, "'{}' is no known model; known are {}", arguments.name, fmt::join(names, ", "));
  }
  import_model(*model, arguments.from, arguments.out,
               arguments.name_map.empty() ? model->load_options() : name_map_option(arguments.name_map));
  if (!model->notice.empty()) std::cerr << model->notice << '\n';
  std::cout << arguments.out.string() << '\n';
  return 0;
}

/// One line a model of the registry, and where it was found.
int list_known(const std::vector<fs::path>& given) {
  const std::vector<fs::path> directories = model_directories(given);
  for (const KnownModel& model : known_models()) {
    std::string place = "not found";
    try {
      place = locate_model(model, directories).string();
    } catch (const Error&) {
    }
    std::cout << fmt::format("{:<17} {:<12} {} ({}{}{}): {}\n", model.name, model.role, model.title, model.licence,
                             model.redistribution ? "" : ", no redistribution",
                             model.commercial ? "" : ", non-commercial", place);
  }
  return 0;
}

struct VerifyArguments {
  fs::path folder, stored_case, write, name_map;
  double tolerance = 1e-4;
  std::string device = "cpu";
  int threads = 1;
};

int verify(const VerifyArguments& arguments) {
  const auto device = models::Device::open(arguments.device, arguments.threads);
  const models::LoadOptions options = name_map_option(arguments.name_map);
  if (!arguments.write.empty()) {
    models::store_case(arguments.folder, arguments.stored_case, arguments.write, device, options);
    std::cout << arguments.write.string() << '\n';
    return 0;
  }
  bool all = true;
  for (const models::CheckedOutput& output :
       models::check_model(arguments.folder, arguments.stored_case, device, arguments.tolerance, options)) {
    all = all && output.agrees;
    std::cout << fmt::format("{:<7} {}: largest difference {:.3g}, {:.3g} of the largest value (allowed {:.3g})\n",
                             output.agrees ? "agrees" : "DIFFERS", output.name, output.largest_difference,
                             output.largest_value > 0 ? output.largest_difference / output.largest_value : 0,
                             arguments.tolerance);
  }
  return all ? 0 : static_cast<int>(ErrorCode::kModel);
}

void add_name_map(CLI::App& command, fs::path& name_map) {
  command.add_option("--name-map", name_map, "YAML: what tensors of the file are called here (docs/weights.md)");
}

void add_group(CLI::App& command, std::string& group) {
  command.add_option("--group", group, "group of a training checkpoint, such as ema; '.': all as they are");
}

void add_list(CLI::App& weights, Action& action) {
  CLI::App* list = weights.add_subcommand("list", "Tensors of a file or model folder, and which network they are of");
  const auto arguments = std::make_shared<ListArguments>();
  list->add_option("FILE", arguments->path, "safetensors, shard index, .pth, .pt, .bin, .ckpt, or a folder")
      ->required();
  add_name_map(*list, arguments->name_map);
  add_group(*list, arguments->group);
  list->add_flag("--json", arguments->as_json, "as JSON");
  list->callback([arguments, &action] { action = [arguments] { return list_weights(*arguments); }; });
}

void add_convert(CLI::App& weights, Action& action) {
  CLI::App* to = weights.add_subcommand("convert", "Write any weights file as one safetensors file");
  const auto arguments = std::make_shared<ConvertArguments>();
  to->add_option("IN", arguments->in, "what 'weights list' reads")->required();
  to->add_option("OUT", arguments->out, "the safetensors file")->required();
  to->add_option("--dtype", arguments->dtype, "f32, f16 or bf16; by default each tensor keeps its own")
      ->check(CLI::IsMember({"f32", "f16", "bf16"}, CLI::ignore_case));
  add_name_map(*to, arguments->name_map);
  add_group(*to, arguments->group);
  to->callback([arguments, &action] { action = [arguments] { return convert(*arguments); }; });
}

void add_import(CLI::App& weights, Action& action) {
  CLI::App* import = weights.add_subcommand("import", "Make a model folder of the published files of a known model");
  const auto arguments = std::make_shared<ImportArguments>();
  import->add_option("NAME", arguments->name, "as in 'vtissue weights known'")->required();
  import->add_option("FROM", arguments->from, "folder with the published files")->required();
  import->add_option("OUT", arguments->out, "the model's folder")->required();
  add_name_map(*import, arguments->name_map);
  import->callback([arguments, &action] { action = [arguments] { return import_published(*arguments);
};
}  // namespace
);
}  // namespace vtissue::cli

void add_known(CLI::App& weights, Action& action) {
  CLI::App* known =
      weights.add_subcommand("known", "The published models that can be named, licences, and where they are");
  const auto directories = std::make_shared<std::vector<fs::path>>();
  known->add_option("--model-dir", *directories, "where to look, before VTISSUE_MODEL_DIR; may be repeated");
  known->callback([directories, &action] { action = [directories] { return list_known(*directories); }; });
}

void add_verify(CLI::App& weights, Action& action) {
  CLI::App* check = weights.add_subcommand("verify", "Run stored inputs through a model, compare with stored outputs");
  const auto arguments = std::make_shared<VerifyArguments>();
  check->add_option("FOLDER", arguments->folder, "the model")->required();
  check->add_option("CASE", arguments->stored_case, "safetensors with inputs and outputs")->required();
  check->add_option("--tolerance", arguments->tolerance, "allowed difference, of the largest stored value")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  check->add_option("--write", arguments->write, "store inputs with this machine's outputs here; compare nothing");
  add_name_map(*check, arguments->name_map);
  check->add_option("--device", arguments->device, "cpu, cuda, cuda:1")->capture_default_str();
  check->add_option("--threads", arguments->threads, "cores")->check(CLI::Range(1, 4096))->capture_default_str();
  check->callback([arguments, &action] { action = [arguments] { return verify(*arguments); }; });
}

}  // namespace

void add_weights_command(CLI::App& app, Action& action) {
  CLI::App* weights = app.add_subcommand("weights", "List, verify and convert weights files (docs/weights.md)");
  weights->require_subcommand(1);
  add_list(*weights, action);
  add_convert(*weights, action);
  add_import(*weights, action);
  add_known(*weights, action);
  add_verify(*weights, action);
  add_conditions_command(*weights, action);
}

}  // namespace vtissue::cli
