#include "models/state_dict.h"

#include <spdlog/fmt/ranges.h>

#include <algorithm>
#include <array>
#include <optional>
#include <set>

#include "core/error.h"
#include "core/safetensors.h"
#include "models/torch.h"

namespace vtissue::models {
namespace {

struct DtypeName {
  std::string_view name;
  at::ScalarType type;
};

constexpr std::array kDtypes = {DtypeName{"F64", at::kDouble},
                                DtypeName{"F32", at::kFloat},
                                DtypeName{"F16", at::kHalf},
                                DtypeName{"BF16", at::kBFloat16},
                                DtypeName{"I64", at::kLong},
                                DtypeName{"I32", at::kInt},
                                DtypeName{"I16", at::kShort},
                                DtypeName{"I8", at::kChar},
                                DtypeName{"U8", at::kByte},
                                DtypeName{"U16", at::kUInt16},
                                DtypeName{"U32", at::kUInt32},
                                DtypeName{"U64", at::kUInt64},
                                DtypeName{"BOOL", at::kBool},
                                DtypeName{"C64", at::kComplexFloat},
                                DtypeName{"F8_E4M3", at::kFloat8_e4m3fn},
                                DtypeName{"F8_E5M2", at::kFloat8_e5m2}};

std::optional<at::ScalarType> scalar_type(std::string_view name) {
  for (const DtypeName& dtype : kDtypes) {
    if (dtype.name == name) return dtype.type;
  }
  return std::nullopt;
}

std::string_view dtype_name(at::ScalarType type) {
  for (const DtypeName& dtype : kDtypes) {
    if (dtype.type == type) return dtype.name;
  }
  throw Error(ErrorCode::kOutput, "tensors of type {} cannot be written as safetensors", at::toString(type));
}

std::string shape_text(at::IntArrayRef shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

}  // namespace

struct StateDict::Impl {
  struct Source {
    std::size_t index;  ///< in the file
    std::function<at::Tensor(const at::Tensor&)> take;
  };

  explicit Impl(Checkpoint opened) : file(std::move(opened)) {
    for (const CheckpointTensor& tensor : file.tensors()) {
      sources.push_back({infos.size(), {}});
      infos.push_back({tensor.name, tensor.dtype, tensor.shape});
    }
  }

  Impl(const Impl& other, std::vector<TensorView> views, std::string added) : file(other.file), note(std::move(added)) {
    std::ranges::sort(views, {}, [](const TensorView& view) -> const std::string& { return view.info.name; });
    for (TensorView& view : views) {
      const std::size_t from = other.find(view.source);
      if (from == Checkpoint::kNone) {
        throw Error(ErrorCode::kModel, "{}: has no tensor '{}'", file.path().string(), view.source);
      }
      const Source& before = other.sources[from];
      auto take = std::move(view.take);
      if (before.take) {
        take = [first = before.take, then = std::move(take)](const at::Tensor& tensor) {
          return then ? then(first(tensor)) : first(tensor);
        };
      }
      sources.push_back({before.index, std::move(take)});
      infos.push_back(std::move(view.info));
    }
  }

  /// Place in infos, or kNone.
  std::size_t find(std::string_view name) const {
    const auto found =
        std::ranges::lower_bound(infos, name, {}, [](const TensorInfo& info) -> std::string_view { return info.name; });
    return found == infos.end() || found->name != name ? Checkpoint::kNone
                                                       : static_cast<std::size_t>(found - infos.begin());
  }

  Checkpoint file;
  std::vector<TensorInfo> infos;  ///< sorted by name
  std::vector<Source> sources;    ///< of each of infos
  std::string note;
};

namespace {

constexpr std::array<std::string_view, 5> kGroups = {"state_dict", "state_dict_ema", "ema", "model_ema", "model"};
constexpr std::string_view kDataParallel = "module";

constexpr std::array<std::string_view, 7> kWeightsFiles = {"model.safetensors",
                                                           "diffusion_pytorch_model.safetensors",
                                                           "model.safetensors.index.json",
                                                           "diffusion_pytorch_model.safetensors.index.json",
                                                           "pytorch_model.bin",
                                                           "model.pth",
                                                           "model.pt"};

Checkpoint open_file_or_folder(const std::filesystem::path& path) {
  if (!std::filesystem::is_directory(path)) return Checkpoint::open(path);
  const std::filesystem::path file = weights_file(path);
  if (file.empty()) {
    throw Error(ErrorCode::kModel, "{}: the folder has no weights; looked for {}", path.string(),
                fmt::join(kWeightsFiles, ", "));
  }
  return Checkpoint::open(file);
}

bool all_begin_with(const Checkpoint& file, std::string_view group) {
  const std::string prefix = std::string(group) + ".";
  return !file.tensors().empty() && std::all_of(file.tensors().begin(), file.tensors().end(),
                                                [&](const auto& tensor) { return tensor.name.starts_with(prefix); });
}

}  // namespace

std::filesystem::path weights_file(const std::filesystem::path& folder) {
  for (const std::string_view name : kWeightsFiles) {
    if (std::filesystem::exists(folder / name)) return folder / name;
  }
  return {};
}

StateDict::StateDict(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}

StateDict StateDict::open(const std::filesystem::path& path) {
  Checkpoint file = open_file_or_folder(path);
  for (const std::string_view group : kGroups) {
    if (std::find(file.groups().begin(), file.groups().end(), group) == file.groups().end()) continue;
    Checkpoint selected = file.select(group);
    if (selected.tensors().empty()) continue;
    file = std::move(selected);
    break;
  }
  // PyTorch's data-parallel wrapper puts it there.
  if (all_begin_with(file, kDataParallel)) file = file.select(kDataParallel);
  return from(std::move(file));
}

StateDict StateDict::open(const std::filesystem::path& path, std::string_view group) {
  const Checkpoint file = open_file_or_folder(path);
  if (group.empty()) return from(file);
  Checkpoint selected = file.select(group);
  if (selected.tensors().empty()) {
    throw Error(ErrorCode::kModel, "{}: has no tensors in a group '{}'; its groups are {}", path.string(), group,
                fmt::join(file.groups(), ", "));
  }
  return from(std::move(selected));
}

StateDict StateDict::from(Checkpoint checkpoint) { return StateDict(std::make_shared<Impl>(std::move(checkpoint))); }

std::span<const TensorInfo> StateDict::tensors() const { return impl_->infos; }
bool StateDict::contains(std::string_view name) const { return impl_->find(name) != Checkpoint::kNone; }
const std::filesystem::path& StateDict::path() const { return impl_->file.path(); }
const Checkpoint& StateDict::checkpoint() const { return impl_->file; }
const std::string& StateDict::note() const { return impl_->note; }

StateDict StateDict::seen_as(std::vector<TensorView> views, std::string note) const {
  return StateDict(std::make_shared<Impl>(*impl_, std::move(views), std::move(note)));
}

namespace {

/// Names that get() hands out while load() runs on this thread; load() cannot otherwise know what a
/// name map has read.
thread_local std::set<std::string, std::less<>>* names_in_use = nullptr;

class UseRecorder {
 public:
  UseRecorder() : outer_(names_in_use) { names_in_use = &names; }
  ~UseRecorder() { names_in_use = outer_; }
  UseRecorder(const UseRecorder&) = delete;
  UseRecorder& operator=(const UseRecorder&) = delete;

  std::set<std::string, std::less<>> names;

 private:
  std::set<std::string, std::less<>>* outer_;
};

at::Tensor same_name(const StateDict& weights, const std::string& name) {
  return weights.contains(name) ? weights.get(name) : at::Tensor();
}

struct Findings {
  std::vector<std::string> missing;
  std::vector<std::string> unknown;
  std::vector<std::string> misshaped;
  std::vector<std::string> mistyped;
  std::vector<std::string> not_finite;

  std::string text() const {
    std::string result;
    const auto add = [&](std::string_view what, const std::vector<std::string>& names) {
      if (names.empty()) return;
      if (!result.empty()) result += "; ";
      result += fmt::format("{} {}: {}", names.size(), what, fmt::join(names, ", "));
    };
    add("missing", missing);
    add("unknown", unknown);
    add("misshaped", misshaped);
    add("of a type that cannot be weights", mistyped);
    add("with values that are not finite", not_finite);
    return result;
  }
};

}  // namespace

at::Tensor StateDict::get(std::string_view name) const {
  const std::size_t place = impl_->find(name);
  if (place == Checkpoint::kNone) throw Error(ErrorCode::kModel, "{}: has no tensor '{}'", path().string(), name);
  const auto& [index, take] = impl_->sources[place];
  const CheckpointTensor& entry = impl_->file.tensors()[index];
  const auto type = scalar_type(entry.dtype);
  if (!type) {
    throw Error(ErrorCode::kModel, "{}: tensor '{}' has dtype {}, which is not supported; convert it to F32 or F16",
                path().string(), name, entry.dtype);
  }
  if (names_in_use != nullptr) names_in_use->insert(std::string(name));
  // A copy: the map may be unaligned, and weights are read once.
  at::Tensor tensor = at::empty(entry.shape, at::TensorOptions().dtype(*type));
  impl_->file.read(index, {static_cast<std::byte*>(tensor.data_ptr()), entry.bytes});
  return take ? take(tensor).contiguous() : tensor;
}

void load(torch::nn::Module& module, const StateDict& weights, const LoadRules& rules) {
  const at::NoGradGuard no_grad;
  const UseRecorder recorder;
  const TensorSource source = rules.source ? rules.source : TensorSource(same_name);
  Findings findings;

  const auto fill = [&](const std::string& name, at::Tensor target) {
    const at::Tensor tensor = source(weights, name);
    if (!tensor.defined()) {
      if (!rules.may_miss || !rules.may_miss(name)) {
        findings.missing.push_back(fmt::format("{} {}", name, shape_text(target.sizes())));
      }
    } else if (tensor.sizes() != target.sizes()) {
      findings.misshaped.push_back(
          fmt::format("{} is {}, not {}", name, shape_text(tensor.sizes()), shape_text(target.sizes())));
    } else if (target.is_floating_point() && !tensor.is_floating_point()) {
      // Quantised weights need their scales, complex ones their other half: converted they would be noise.
      findings.mistyped.push_back(fmt::format("{} is {}", name, at::toString(tensor.scalar_type())));
    } else {
      target.copy_(tensor);
      if (target.is_floating_point() && !at::isfinite(target).all().item<bool>()) findings.not_finite.push_back(name);
    }
  };
  for (const auto& item : module.named_parameters()) fill(item.key(), item.value());
  for (const auto& item : module.named_buffers()) fill(item.key(), item.value());

  for (const TensorInfo& info : weights.tensors()) {
    if (recorder.names.contains(info.name) || (rules.may_ignore && rules.may_ignore(info.name))) continue;
    findings.unknown.push_back(fmt::format("{} {}", info.name, shape_text(info.shape)));
  }
  if (const std::string text = findings.text(); !text.empty()) {
    throw Error(ErrorCode::kModel,
                "{}: the tensors are not those of this network or damaged ({}); check config.json beside it "
                "and fetch the file again{}",
                weights.path().string(), text, weights.note().empty() ? "" : "; " + weights.note());
  }
}

std::string_view safetensors_dtype(const at::Tensor& tensor) { return dtype_name(tensor.scalar_type()); }

void save(const torch::nn::Module& module, const std::filesystem::path& path, std::string_view dtype) {
  const auto type = scalar_type(dtype);
  if (!type || !at::isFloatingType(*type)) throw Error(ErrorCode::kOutput, "weights cannot be saved as '{}'", dtype);
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> kept;
  std::vector<SafetensorsOutput> outputs;
  const auto add = [&](const std::string& name, const at::Tensor& value) {
    at::Tensor tensor = value.detach().cpu();
    if (tensor.is_floating_point()) tensor = tensor.to(*type);
    tensor = tensor.contiguous();
    outputs.push_back({.name = name,
                       .dtype = std::string(dtype_name(tensor.scalar_type())),
                       .shape = tensor.sizes().vec(),
                       .data = std::span(static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes())});
    kept.push_back(std::move(tensor));
  };
  for (const auto& item : module.named_parameters()) add(item.key(), item.value());
  for (const auto& item : module.named_buffers()) add(item.key(), item.value());
  write_safetensors(path, std::move(outputs));
}

}  // namespace vtissue::models
