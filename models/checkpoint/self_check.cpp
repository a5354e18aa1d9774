#include "models/checkpoint/self_check.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <span>

#include "core/error.h"
#include "core/safetensors.h"
#include "models/engines.h"
#include "models/model_folder.h"

namespace vtissue::models {
namespace {

namespace fs = std::filesystem;

/// The arrays of a stored case.
class CaseFile {
 public:
  explicit CaseFile(const fs::path& path) : file_(SafetensorsFile::open(path)), path_(path) {}

  bool has(std::string_view name) const { return file_.find(name) != nullptr; }

  const SafetensorsEntry& entry(std::string_view name, std::string_view dtype, std::size_t rank) const {
    const SafetensorsEntry* found = file_.find(name);
    if (found == nullptr) throw Error(ErrorCode::kModel, "{}: the case has no '{}'", path_.string(), name);
    if (found->dtype != dtype || found->shape.size() != rank) {
      throw Error(ErrorCode::kModel, "{}: '{}' is of dtype {} and {} dimensions; expected {} and {}", path_.string(),
                  name, found->dtype, found->shape.size(), dtype, rank);
    }
    return *found;
  }

  template <typename T>
  std::vector<T> values(std::string_view name, std::string_view dtype, std::size_t rank) const {
    const SafetensorsEntry& found = entry(name, dtype, rank);
    std::vector<T> result(found.data.size() / sizeof(T));
    if (!result.empty()) std::memcpy(result.data(), found.data.data(), found.data.size());
    return result;
  }

  std::vector<float> floats(std::string_view name, std::size_t rank) const { return values<float>(name, "F32", rank); }
  int extent(std::string_view name, std::string_view dtype, std::size_t rank, std::size_t axis) const {
    return static_cast<int>(entry(name, dtype, rank).shape[axis]);
  }

  const SafetensorsFile& file() const { return file_; }
  const fs::path& path() const { return path_; }

 private:
  SafetensorsFile file_;
  fs::path path_;
};

struct CheckedModel {
  fs::path folder;
  std::shared_ptr<Device> device;
  LoadOptions options;
};

/// An output as numbers, and how it is stored.
struct CaseOutput {
  std::vector<float> floats;
  std::vector<std::uint8_t> bytes;
  std::vector<std::int64_t> shape;
};
using CaseOutputs = std::map<std::string, CaseOutput>;

CaseOutput float_output(std::size_t count, std::vector<std::int64_t> shape) {
  return {.floats = std::vector<float>(count), .shape = std::move(shape)};
}

CaseOutputs run_encoder(const CheckedModel& model, const CaseFile& io) {
  const auto engine = MorphologyEncoder::load(model.folder, model.device, model.options);
  const auto rgb = io.values<std::uint8_t>("rgb", "U8", 4);
  const int n = io.extent("rgb", "U8", 4, 0);
  CaseOutput out =
      float_output(static_cast<std::size_t>(n) * static_cast<std::size_t>(engine->dim()), {n, engine->dim()});
  engine->encode(rgb, n, io.extent("rgb", "U8", 4, 1), out.floats);
  return {{"embedding", std::move(out)}};
}

CaseOutputs run_gene_encoder(const CheckedModel& model, const CaseFile& io) {
  const auto engine = GeneEncoder::load(model.folder, model.device, model.options);
  const auto values = io.floats("values", 2);
  const int n = io.extent("values", "F32", 2, 0);
  CaseOutput out =
      float_output(static_cast<std::size_t>(n) * static_cast<std::size_t>(engine->dim()), {n, engine->dim()});
  engine->encode(values, n, out.floats, {});
  return {{"cls", std::move(out)}};
}

CaseOutputs run_predictor(const CheckedModel& model, const CaseFile& io) {
  const auto engine = ExpressionPredictor::load(model.folder, model.device, model.options);
  const auto spot = io.floats("spot", 2);
  const auto sub = engine->uses_subtiles() ? io.floats("sub", 3) : std::vector<float>();
  const auto neighbors = engine->uses_neighbors() ? io.floats("neighbors", 3) : std::vector<float>();
  const auto counts =
      engine->uses_neighbors() ? io.values<std::int32_t>("n_neighbors", "I32", 1) : std::vector<std::int32_t>();
  const int n = io.extent("spot", "F32", 2, 0);
  CaseOutput out = float_output(static_cast<std::size_t>(n) * engine->genes().size(),
                                {n, static_cast<std::int64_t>(engine->genes().size())});
  engine->predict(spot, sub, neighbors, counts, n, out.floats);
  return {{"expression", std::move(out)}};
}

CaseOutputs run_denoiser(const CheckedModel& model, const CaseFile& io) {
  const auto engine = Denoiser::load(model.folder, model.device, model.options);
  const auto x = io.floats("x", 4);
  const auto t = io.floats("t", 0);
  const int n = io.extent("x", "F32", 4, 0);
  const auto condition = [&](const char* name) { return io.has(name) ? io.floats(name, 2) : std::vector<float>(); };
  const std::vector<float> morphology = condition("morphology"), gene = condition("gene");
  const std::vector<std::uint8_t> flags(static_cast<std::size_t>(n), 1);
  TileConditions conditions;
  if (!morphology.empty()) conditions.morphology = morphology, conditions.has_morphology = flags;
  if (!gene.empty()) conditions.gene = gene, conditions.has_gene = flags;
  CaseOutput out = float_output(x.size(), io.entry("x", "F32", 4).shape);
  engine->predict(x, n, static_cast<double>(t[0]), conditions, {.morphology = 1, .gene = 1}, out.floats);
  return {{"prediction", std::move(out)}};
}

CaseOutputs run_autoencoder(const CheckedModel& model, const CaseFile& io) {
  const auto engine = Autoencoder::load(model.folder, model.device, model.options);
  const int factor = engine->factor();
  CaseOutputs outputs;
  if (io.has("z")) {
    const auto z = io.floats("z", 4);
    const auto& shape = io.entry("z", "F32", 4).shape;
    const auto n = static_cast<int>(shape[0]), h = static_cast<int>(shape[2]), w = static_cast<int>(shape[3]);
    CaseOutput out{.shape = {n, factor * h, factor * w, 3}};
    out.bytes.resize(3 * static_cast<std::size_t>(n) * static_cast<std::size_t>(factor * h) *
                     static_cast<std::size_t>(factor * w));
    engine->decode(z, n, h, w, out.bytes);
    outputs.emplace("image", std::move(out));
  }
  if (io.has("rgb")) {
    const auto rgb = io.values<std::uint8_t>("rgb", "U8", 4);
    const auto& shape = io.entry("rgb", "U8", 4).shape;
    const auto n = static_cast<int>(shape[0]), h = static_cast<int>(shape[1]), w = static_cast<int>(shape[2]);
    const std::int64_t channels = engine->latent_channels();
    CaseOutput out = float_output(static_cast<std::size_t>(n * channels * (h / factor) * (w / factor)),
                                  {n, channels, h / factor, w / factor});
    engine->encode(rgb, n, h, w, out.floats);
    outputs.emplace("latent", std::move(out));
  }
  if (outputs.empty()) throw Error(ErrorCode::kModel, "{}: the case has neither 'z' nor 'rgb'", io.path().string());
  return outputs;
}

CaseOutputs run_case(const CheckedModel& model, const CaseFile& io) {
  const std::string architecture = ModelFolder::architecture(model.folder, model.options);
  if (architecture == "stmdit" || architecture == "pixcell" || architecture == "PixCellTransformer2DModel") {
    return run_denoiser(model, io);
  }
  if (architecture == "cancerfoundation") return run_gene_encoder(model, io);
  if (architecture == "deepspot") return run_predictor(model, io);
  // What an engine does not know it refuses, naming what it does.
  if (architecture.starts_with("vit") || architecture.starts_with("transformers ")) return run_encoder(model, io);
  return run_autoencoder(model, io);
}

CheckedOutput compare(const std::string& name, const CaseOutput& ours, const CaseFile& io, double tolerance) {
  const bool is_bytes = ours.floats.empty();
  std::vector<float> stored, made(ours.floats);
  if (is_bytes) {
    const auto bytes = io.values<std::uint8_t>(name, "U8", ours.shape.size());
    stored.assign(bytes.begin(), bytes.end());
    made.assign(ours.bytes.begin(), ours.bytes.end());
  } else {
    stored = io.floats(name, ours.shape.size());
  }
  if (stored.size() != made.size()) {
    throw Error(ErrorCode::kModel, "{}: '{}' has {} values, the model gives {}", io.path().string(), name,
                stored.size(), made.size());
  }
  CheckedOutput result{.name = name};
  bool finite = true;
  for (std::size_t i = 0; i < made.size(); ++i) {
    const double difference = std::abs(static_cast<double>(made[i]) - static_cast<double>(stored[i]));
    finite = finite && std::isfinite(difference);
    result.largest_difference = std::max(result.largest_difference, difference);
    result.largest_value = std::max(result.largest_value, std::abs(static_cast<double>(stored[i])));
  }
  result.agrees = finite && result.largest_difference <= tolerance * result.largest_value;
  return result;
}

}  // namespace

std::vector<CheckedOutput> check_model(const fs::path& folder, const fs::path& stored_case,
                                       const std::shared_ptr<Device>& device, double tolerance,
                                       const LoadOptions& options) {
  const CaseFile io(stored_case);
  std::vector<CheckedOutput> results;
  for (const auto& [name, output] : run_case({folder, device, options}, io)) {
    if (io.has(name)) results.push_back(compare(name, output, io, tolerance));
  }
  if (results.empty())
    throw Error(ErrorCode::kModel, "{}: the case has no output to compare with", stored_case.string());
  return results;
}

void store_case(const fs::path& folder, const fs::path& inputs, const fs::path& out,
                const std::shared_ptr<Device>& device, const LoadOptions& options) {
  const CaseFile io(inputs);
  const CaseOutputs made = run_case({folder, device, options}, io);
  std::vector<SafetensorsOutput> tensors;
  for (const SafetensorsEntry& entry : io.file().entries()) {
    if (!made.contains(entry.name)) tensors.push_back({entry.name, entry.dtype, entry.shape, entry.data});
  }
  for (const auto& [name, output] : made) {
    const bool is_bytes = output.floats.empty();
    tensors.push_back({name, is_bytes ? "U8" : "F32", output.shape,
                       is_bytes ? std::as_bytes(std::span(output.bytes)) : std::as_bytes(std::span(output.floats))});
  }
  write_safetensors(out, std::move(tensors));
}

}  // namespace vtissue::models
