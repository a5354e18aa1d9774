#include <yaml-cpp/yaml.h>

#include <set>

#include "core/error.h"
#include "io/sample_sheet.h"
#include "stages/training_set/training_set.h"

namespace vtissue::stages {
namespace fs = std::filesystem;

namespace {

/// A mapping of the manifest; every key must be asked for, so that a misspelt one is found.
class Mapping {
 public:
  Mapping(const fs::path& file, YAML::Node node, std::string name)
      : file_(file), node_(std::move(node)), name_(std::move(name)) {
    if (!node_.IsMap()) fail(node_, "expected a mapping of keys to values");
  }

  template <typename T>
  std::optional<T> find(const std::string& key) {
    known_.insert(key);
    const YAML::Node value = node_[key];
    if (!value) return std::nullopt;
    try {
      return value.as<T>();
    } catch (const YAML::Exception&) {
      fail(value, "'" + key + "' has a value of the wrong type");
    }
  }

  template <typename T>
  T get(const std::string& key) {
    std::optional<T> value = find<T>(key);
    if (!value) fail(node_, "'" + key + "' is missing");
    return *std::move(value);
  }

  YAML::Node sequence(const std::string& key) {
    known_.insert(key);
    const YAML::Node value = node_[key];
    if (!value || !value.IsSequence()) fail(node_, "'" + key + "' must be a list");
    return value;
  }

  void refuse_unknown_keys() const {
    for (const auto& item : node_) {
      const auto key = item.first.as<std::string>();
      if (!known_.contains(key)) {
        fail(item.first, "unknown key '" + key + "'; known are: " + fmt::format("{}", fmt::join(known_, ", ")));
      }
    }
  }

  [[noreturn]] void fail(const YAML::Node& at, const std::string& problem) const {
    throw Error(ErrorCode::kUsage, "{}:{}: {}: {}", file_.string(), at.Mark().line + 1, name_, problem);
  }

 private:
  const fs::path& file_;
  YAML::Node node_;
  std::string name_;
  std::set<std::string> known_;
};

TrainingSection read_section(const fs::path& file, const YAML::Node& node, const fs::path& root) {
  Mapping map(file, node, "section");
  const auto path = [&](const std::string& key) {
    const auto relative = map.find<std::string>(key);
    return relative ? root / *relative : fs::path();
  };
  TrainingSection section;
  section.name = map.get<std::string>("name");
  section.slide = root / map.get<std::string>("slide");
  section.slide_mpp = map.find<double>("slide_mpp");
  section.region = map.find<std::array<std::int64_t, 4>>("region");
  section.st_counts = path("st_counts");
  section.st_spots = path("st_spots");
  section.visium = path("visium");
  section.h5ad = path("h5ad");
  section.split = map.get<std::string>("split");
  section.licence = map.find<std::string>("licence").value_or("");
  section.source = map.find<std::string>("source").value_or("");
  map.refuse_unknown_keys();

  if (section.split != "train" && section.split != "val") {
    map.fail(node, fmt::format("'split' is '{}'; it must be train or val", section.split));
  }
  if (section.st_counts.empty() != section.st_spots.empty()) {
    map.fail(node, "'st_counts' and 'st_spots' belong together");
  }
  const int sources = !section.st_counts.empty() + !section.visium.empty() + !section.h5ad.empty();
  if (sources > 1) map.fail(node, "more than one source of expression; keep one of st_counts, visium, h5ad");
  return section;
}

}  // namespace

TrainingManifest read_training_manifest(const fs::path& yaml, const fs::path& data_root) {
  YAML::Node document;
  try {
    document = YAML::LoadFile(yaml.string());
  } catch (const YAML::BadFile&) {
    throw Error(ErrorCode::kUsage, "{}: no such manifest", yaml.string());
  } catch (const YAML::Exception& e) {
    throw Error(ErrorCode::kUsage, "{}:{}: not YAML: {}", yaml.string(), e.mark.line + 1, e.msg);
  }
  Mapping map(yaml, document, "manifest");
  TrainingManifest manifest;
  manifest.mpp = map.find<double>("mpp").value_or(manifest.mpp);
  manifest.panel_genes = map.find<int>("panel_genes").value_or(manifest.panel_genes);
  for (const YAML::Node& node : map.sequence("sections")) {
    manifest.sections.push_back(read_section(yaml, node, data_root));
  }
  map.refuse_unknown_keys();
  if (manifest.sections.empty()) map.fail(document, "'sections' is empty");
  return manifest;
}

TrainingManifest training_manifest_of_sheet(const fs::path& csv, const fs::path& data_root) {
  const std::vector<io::Sample> samples = io::read_sample_sheet(csv, data_root);
  io::require_split_by_donor(csv, samples);
  TrainingManifest manifest;
  for (const io::Sample& sample : samples) {
    if (!sample.mask.empty()) {
      throw Error(ErrorCode::kUsage, "{}, line {}: sample '{}' has a mask; training sets find the tissue themselves",
                  csv.string(), sample.line, sample.name);
    }
    manifest.sections.push_back({.name = sample.name,
                                 .slide = sample.slide,
                                 .slide_mpp = sample.mpp,
                                 .region = std::nullopt,
                                 .st_counts = sample.st_counts,
                                 .st_spots = sample.st_spots,
                                 .visium = sample.visium,
                                 .h5ad = sample.h5ad,
                                 .split = sample.split,
                                 .licence = "",
                                 .source = "donor " + sample.donor});
  }
  return manifest;
}

}  // namespace vtissue::stages
