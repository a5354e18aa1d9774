#include "viewer/run.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <system_error>

#include "core/error.h"
#include "core/file_digests.h"
#include "core/hash.h"
#include "io/feature_store.h"
#include "io/pyramid_metadata.h"
#include "viewer/run_files.h"

namespace vtissue::viewer {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

/// A JSON object, or null where there is none.
json read_object(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  json value = json::parse(file, nullptr, false);
  return value.is_object() ? value : json();
}

/// The name of the slide that run.json recorded; empty if it does not say.
std::string recorded_slide(const json& record) {
  const auto inputs = record.find("inputs");
  if (inputs == record.end() || !inputs->is_object()) return {};
  const auto slide = inputs->find("tile.slide");
  if (slide == inputs->end() || !slide->is_object()) return {};
  const auto name = slide->find("name");
  return name != slide->end() && name->is_string() ? fs::path(name->get<std::string>()).filename().string()
                                                   : std::string();
}

/// Paths that the run has hashed to that digest.
std::vector<fs::path> remembered_slides(const fs::path& digests, const std::string& sha256) {
  std::vector<fs::path> paths;
  const json cache = read_object(digests);
  const auto files = cache.find("files");
  if (files == cache.end() || !files->is_object()) return paths;
  for (const auto& [path, entry] : files->items()) {
    if (entry.is_array() && entry.size() >= 2 && entry[1] == sha256) paths.emplace_back(path);
  }
  return paths;
}

json describe_slide(const SlideTiles& slide) {
  json described = {{"width", slide.size().width},     {"height", slide.size().height}, {"mpp", slide.mpp()},
                    {"tile_px", slide.tile_px()},      {"levels", slide.levels()},      {"version", slide.version()},
                    {"origin_um", json::array({0, 0})}};
  if (slide.objective_power()) described["objective_power"] = *slide.objective_power();
  return described;
}

std::string label_of(const std::string& figure) {
  if (figure == "n_spots") return "Spots in the tile";
  if (figure == "has_expression") return "Has expression";
  std::string label = figure;
  std::ranges::replace(label, '_', ' ');
  if (!label.empty() && label[0] >= 'a' && label[0] <= 'z') label[0] = static_cast<char>(label[0] - 'a' + 'A');
  return label;
}

/// A message without folders: pages are shown to others.
std::string without_folders(std::string_view message) {
  std::string out;
  for (std::size_t i = 0; i < message.size();) {
    const std::size_t end = std::min(message.find(' ', i), message.size());
    std::string_view word = message.substr(i, end - i);
    if (word.starts_with('/')) word.remove_prefix(word.rfind('/') + 1);
    out += word;
    if (end < message.size()) out += ' ';
    i = end + 1;
  }
  return out;
}

/// A map that is the same everywhere tells nothing.
bool is_flat(const std::vector<float>& values) {
  const auto known = [](float value) { return !std::isnan(value); };
  const auto first = std::ranges::find_if(values, known);
  return std::none_of(first, values.end(), [&](float value) { return known(value) && value != *first; });
}

}  // namespace

Run::Run(RunPlace place, const fs::path& root, const SlideSearch& search)
    : place_(std::move(place)), root_(root), version_(version_of(place_.folder)) {
  record_ = has(run_files::kRun) ? read_object(checked(run_files::kRun)) : json();
  metrics_ = has(run_files::kMetrics) ? read_object(checked(run_files::kMetrics)) : json();
  const fs::path file = checked(run_files::kVirtual);
  virtual_ = std::make_unique<SlideTiles>(file);
  const std::string provenance = io::read_provenance(file);
  provenance_ = json::parse(provenance, nullptr, false);
  if (!provenance_.is_object()) {
    provenance_ = json();
    notes_.emplace_back("virtual.tiff does not say how it was made: it was not written by vtissue.");
  }
  open_tiles();
  open_real(search);
  open_maps();
}

std::string Run::version_of(const fs::path& folder) {
  std::string all;
  for (const char* name : {run_files::kVirtual, run_files::kTiles, run_files::kExpression, run_files::kFeatures,
                           run_files::kMetrics, run_files::kRun})
    all += file_version(folder / name) + ";";
  return sha256(all).substr(0, 16);
}

bool Run::has(const char* name) const {
  std::error_code ignored;
  return fs::exists(place_.folder / name, ignored);
}

fs::path Run::checked(const char* name) const {
  fs::path path = place_.folder / name;
  if (!lies_inside(root_, path)) {
    throw Error(ErrorCode::kBadInput,
                "{}: missing, or a link that leads out of the folder that was opened; open the folder it leads to",
                path.string());
  }
  return path;
}

void Run::open_tiles() {
  if (!has(run_files::kTiles)) {
    notes_.emplace_back("There is no tiles.h5: nothing can be laid over the slide.");
    return;
  }
  try {
    auto tiles = std::make_unique<io::TileSet>(io::read_tiles(checked(run_files::kTiles)));
    // A grid of another run would show the right numbers in the wrong places.
    const Size<LevelPx> size = virtual_->size();
    const bool fits = std::abs(tiles->target_mpp / virtual_->mpp() - 1) < 1e-3 &&
                      size.width >= tiles->target_size.width && size.height >= tiles->target_size.height;
    if (!fits) {
      notes_.emplace_back("tiles.h5 is of another run than virtual.tiff: it is not shown.");
      return;
    }
    tiles_ = std::move(tiles);
  } catch (const Error& e) {
    notes_.emplace_back(fmt::format("The tile grid is not shown: {}", without_folders(e.what())));
  }
}

void Run::open_real(const SlideSearch& search) {
  if (search.without) return;
  const std::string name = recorded_slide(record_);
  const std::string digest = tiles_ != nullptr ? tiles_->slide_sha256 : "";
  if (digest.empty()) {
    notes_.emplace_back("The real slide is not shown: without tiles.h5 it is not known which one it is.");
    return;
  }
  std::vector<fs::path> places;
  if (!search.slide.empty()) places.push_back(search.slide);
  for (fs::path& path : remembered_slides(place_.folder / run_files::kDigests, digest))
    places.push_back(std::move(path));
  if (!name.empty()) {
    for (const fs::path& folder : {search.folder, place_.folder, place_.folder.parent_path()})
      if (!folder.empty()) places.push_back(folder / name);
  }
  FileDigests digests(place_.folder / run_files::kDigests);
  std::string wrong;
  for (const fs::path& path : places) {
    std::error_code ignored;
    if (!fs::is_regular_file(path, ignored)) continue;
    try {
      if (digests.sha256(path) != digest) {
        wrong = path.filename().string();
        continue;
      }
      real_ = std::make_unique<SlideTiles>(path, tiles_->source_mpp);
      real_name_ = path.filename().string();
      return;
    } catch (const Error& e) {
      notes_.emplace_back(fmt::format("The real slide cannot be shown: {}", without_folders(e.what())));
    }
  }
  notes_.emplace_back(fmt::format(
      "The real slide{}{} was not found{}: start the viewer with --slide FILE, or --slides FOLDER for many runs.",
      name.empty() ? "" : " ", name,
      wrong.empty() ? "" : fmt::format(" ({} is another slide than the one this was made from)", wrong)));
}

void Run::open_maps() {
  if (tiles_ == nullptr) return;
  figures_.push_back({"tissue_fraction", "Share of tissue", tiles_->tissue_fraction});
  if (has(run_files::kFeatures)) {
    try {
      const io::FeatureReader features(checked(run_files::kFeatures));
      std::vector<float> values, skipped(tiles_->cells.size(), std::numeric_limits<float>::quiet_NaN());
      std::vector<std::uint8_t> valid;
      bool any = false;
      constexpr std::size_t kRows = 1024;
      for (std::size_t first = 0; first < features.cells().size(); first += kRows) {
        const std::size_t n = std::min(kRows, features.cells().size() - first);
        features.read("morphology", first, n, values, valid);
        for (std::size_t i = 0; i < n; ++i) {
          const auto tile = std::ranges::lower_bound(tiles_->cells, features.cells()[first + i]);
          if (tile == tiles_->cells.end() || *tile != features.cells()[first + i]) continue;
          skipped[static_cast<std::size_t>(tile - tiles_->cells.begin())] = valid[i] == 0 ? 1.0F : 0.0F;
          any = any || valid[i] == 0;
        }
      }
      if (any) figures_.push_back({"skipped", "Skipped: the slide cannot be read there", std::move(skipped)});
    } catch (const Error& e) {
      notes_.emplace_back(fmt::format("Skipped tiles are not shown: {}", without_folders(e.what())));
    }
  }
  if (!has(run_files::kExpression)) return;
  try {
    genes_ = std::make_unique<GeneTable>(checked(run_files::kExpression), tiles_->cells);
    for (const GeneTable::Figure& figure : genes_->figures()) {
      if (!is_flat(figure.values)) figures_.push_back({figure.name, label_of(figure.name), figure.values});
    }
  } catch (const Error& e) {
    notes_.emplace_back(fmt::format("Expression is not shown: {}", without_folders(e.what())));
  }
}

json Run::description() const {
  json out = {{"id", place_.id}, {"name", place_.name}, {"version", version_}, {"notes", notes_}};
  out["virtual"] = describe_slide(*virtual_);
  if (real_ != nullptr) {
    out["real"] = describe_slide(*real_);
    out["real"]["name"] = real_name_;
  }
  if (tiles_ != nullptr) {
    out["tiles"] = {
        {"count", tiles_->cells.size()},
        {"tile_px", tiles_->tile_px},
        {"mpp", tiles_->target_mpp},
        {"mask",
         {{"width", tiles_->mask_size.width}, {"height", tiles_->mask_size.height}, {"mpp", tiles_->mask_mpp}}}};
  }
  out["figures"] = json::array();
  for (const Figure& figure : figures_) out["figures"].push_back({{"name", figure.name}, {"label", figure.label}});
  if (genes_ != nullptr) {
    out["genes"] = {{"count", genes_->genes().size()},
                    {"source", genes_->source()},
                    {"unit", genes_->unit()},
                    {"top_block", GeneTable::kTopTiles}};
  }
  if (!metrics_.is_null()) out["metrics"] = metrics_;
  json facts = json::object();
  for (const char* key : {"seed", "numerics_class", "software"}) {
    if (provenance_.contains(key) && !provenance_[key].is_structured()) facts[key] = provenance_[key];
  }
  out["facts"] = facts;
  return out;
}

}  // namespace vtissue::viewer
