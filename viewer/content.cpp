#include "viewer/content.h"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <fstream>
#include <optional>
#include <span>
#include <system_error>

#include "core/error.h"

namespace vtissue::viewer {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::size_t kLongestPath = 512;
constexpr const char* kLibrary = "openseadragon.min.js";

Response text(int status, std::string message) {
  return {.status = status, .body = std::make_shared<const std::string>(std::move(message))};
}

Response not_found() { return text(404, "There is nothing here.\n"); }

Response as_json(const json& value, bool versioned) {
  // File names need not be UTF-8.
  return {.type = "application/json",
          .body = std::make_shared<const std::string>(value.dump(-1, ' ', false, json::error_handler_t::replace)),
          .versioned = versioned};
}

template <typename T>
Response as_binary(std::span<const T> values) {
  static_assert(std::endian::native == std::endian::little, "the page reads little-endian numbers");
  return {
      .type = "application/octet-stream",
      .body = std::make_shared<const std::string>(reinterpret_cast<const char*>(values.data()), values.size_bytes()),
      .versioned = true};
}

/// Parts of a path made of letters, digits, '_', '-' and '.', none of them beginning with a dot; nothing for another.
std::optional<std::vector<std::string_view>> parts_of(std::string_view path) {
  if (path.size() > kLongestPath) return std::nullopt;
  std::vector<std::string_view> parts;
  while (true) {
    const std::size_t slash = path.find('/');
    const std::string_view part = path.substr(0, slash);
    if (part.empty() || part.front() == '.') return std::nullopt;
    for (const char c : part) {
      const bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
                            c == '-' || c == '.';
      if (!is_plain) return std::nullopt;
    }
    parts.push_back(part);
    if (slash == std::string_view::npos) return parts;
    path.remove_prefix(slash + 1);
  }
}

/// A number in decimal digits that is all of the text, at most 2^31.
std::optional<std::int64_t> number(std::string_view digits) {
  std::int32_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc() || end != digits.data() + digits.size() || value < 0) return std::nullopt;
  if (digits.size() > 1 && digits.front() == '0') return std::nullopt;
  return value;
}

std::optional<std::string_view> without_end(std::string_view name, std::string_view end) {
  if (!name.ends_with(end)) return std::nullopt;
  return name.substr(0, name.size() - end.size());
}

std::string type_of(const fs::path& file) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 6> kTypes = {{
      {".html", "text/html; charset=utf-8"},
      {".js", "text/javascript; charset=utf-8"},
      {".css", "text/css; charset=utf-8"},
      {".svg", "image/svg+xml"},
      {".txt", "text/plain; charset=utf-8"},
      {".json", "application/json"},
  }};
  const std::string extension = file.extension().string();
  for (const auto& [end, type] : kTypes) {
    if (end == extension) return std::string(type);
  }
  return "application/octet-stream";
}

}  // namespace

Content::Content(ContentOptions options) : options_(std::move(options)) {
  const std::vector<RunPlace> found = runs();
  if (found.empty()) {
    throw Error(ErrorCode::kBadInput,
                "{}: no run in it (a folder with virtual.tiff, at most three levels down); make one with 'vtissue run'",
                options_.root.string());
  }
  if (!options_.search.slide.empty() && found.size() > 1) {
    throw Error(ErrorCode::kUsage, "--slide is for one run, and {} holds {}; name the slides' folder with --slides",
                options_.root.string(), found.size());
  }
  for (const auto& entry : fs::recursive_directory_iterator(options_.page)) {
    if (entry.is_regular_file()) page_files_.push_back(fs::relative(entry.path(), options_.page).generic_string());
  }
  std::ranges::sort(page_files_);
}

Content::~Content() = default;

std::vector<RunPlace> Content::runs() const { return find_runs(options_.root); }

std::shared_ptr<Run> Content::open(std::string_view id) {
  const auto matches = [&](const std::shared_ptr<Run>& run) { return run->place().id == id; };
  const std::lock_guard lock(mutex_);
  const auto kept = std::ranges::find_if(open_, matches);
  if (kept != open_.end()) {
    std::shared_ptr<Run> run = *kept;
    open_.erase(kept);
    if (Run::version_of(run->place().folder) == run->version()) {
      open_.push_front(run);
      return run;
    }
  }
  for (RunPlace& place : runs()) {
    if (place.id != id) continue;
    open_.push_front(std::make_shared<Run>(std::move(place), options_.root, options_.search));
    if (open_.size() > kOpenRuns) open_.pop_back();
    return open_.front();
  }
  return nullptr;
}

Response Content::get(std::string_view path) {
  try {
    if (path.empty()) path = "index.html";
    const auto parts = parts_of(path);
    if (!parts) return not_found();
    if (parts->front() != "data") return page_file(path);
    if (parts->size() == 2 && parts->at(1) == "runs.json") return runs_list();
    if (parts->size() < 4 || parts->at(1) != "r") return not_found();
    const std::shared_ptr<Run> run = open(parts->at(2));
    return run == nullptr ? not_found() : of_run(*run, {parts->begin() + 3, parts->end()});
  } catch (const std::exception& e) {
    return text(500, std::string(e.what()) + "\n");
  }
}

Response Content::page_file(std::string_view path) const {
  // Only what was there at the start: a name is looked up, never followed.
  if (!std::ranges::binary_search(page_files_, path)) return not_found();
  const fs::path file = options_.page / path;
  std::ifstream stream(file, std::ios::binary);
  std::string body{std::istreambuf_iterator<char>(stream), {}};
  if (!stream) return text(500, "A file of the page cannot be read.\n");
  return {.type = type_of(file), .body = std::make_shared<const std::string>(std::move(body))};
}

Response Content::runs_list() const {
  json list = json::array();
  for (const RunPlace& place : runs()) list.push_back({{"id", place.id}, {"name", place.name}});
  return as_json({{"software", options_.software}, {"static", options_.is_static}, {"runs", list}}, false);
}

Response Content::tile_of(SlideTiles* slide, const std::vector<std::string_view>& rest) {
  if (slide == nullptr || rest.size() != 3) return not_found();
  const auto name = without_end(rest[2], ".jpg");
  if (!name) return not_found();
  const std::size_t between = name->find('_');
  if (between == std::string_view::npos) return not_found();
  const auto level = number(rest[1]), x = number(name->substr(0, between)), y = number(name->substr(between + 1));
  if (!level || !x || !y || *level >= slide->levels()) return not_found();
  SlideTiles::Bytes bytes = slide->tile(static_cast<int>(*level), *x, *y);
  if (bytes == nullptr) return not_found();
  return {.type = "image/jpeg", .body = std::move(bytes), .versioned = true};
}

Response Content::of_run(Run& run, const std::vector<std::string_view>& rest) {
  const std::string_view what = rest[0];
  if (what == "virtual") return tile_of(&run.virtual_slide(), rest);
  if (what == "real") return tile_of(run.real_slide(), rest);
  if (rest.size() == 1) {
    if (what == "run.json") {
      json description = run.description();
      // A slide's name may be a patient's.
      if (options_.is_static && description.contains("real")) description["real"].erase("name");
      return as_json(description, false);
    }
    if (const io::TileSet* tiles = run.tiles()) {
      if (what == "tiles.bin") {
        std::vector<std::int32_t> cells;
        cells.reserve(tiles->cells.size() * 2);
        for (const TileCell cell : tiles->cells) cells.insert(cells.end(), {cell.column, cell.row});
        return as_binary(std::span<const std::int32_t>(cells));
      }
      if (what == "mask.bin") return as_binary(std::span<const std::uint8_t>(tiles->mask));
    }
    if (what == "genes.json" && run.genes() != nullptr) return as_json(run.genes()->genes(), true);
    return not_found();
  }
  if (rest.size() != 2) return not_found();
  if (what == "figures") {
    const auto index = without_end(rest[1], ".bin");
    const auto at = index ? number(*index) : std::nullopt;
    if (!at || static_cast<std::size_t>(*at) >= run.figures().size()) return not_found();
    return as_binary(std::span<const float>(run.figures()[static_cast<std::size_t>(*at)].values));
  }
  if (what == "genes" && run.genes() != nullptr) {
    const auto index = without_end(rest[1], ".bin");
    const auto at = index ? number(*index) : std::nullopt;
    if (!at || static_cast<std::size_t>(*at) >= run.genes()->genes().size()) return not_found();
    return as_binary(run.genes()->column(static_cast<std::size_t>(*at)));
  }
  if (what == "top" && run.genes() != nullptr) {
    const auto block = without_end(rest[1], ".json");
    const auto at = block ? number(*block) : std::nullopt;
    if (!at || static_cast<std::size_t>(*at) * GeneTable::kTopTiles >= run.genes()->tiles()) return not_found();
    json list = json::array();
    for (const auto& tile : run.genes()->top(static_cast<std::size_t>(*at))) {
      json genes = json::array();
      for (const GeneTable::Top& top : tile) genes.push_back({top.gene, top.value, top.z});
      list.push_back(std::move(genes));
    }
    return as_json(list, true);
  }
  return not_found();
}

fs::path find_page() {
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error).parent_path();
  for (const fs::path& folder : {program / "share/vtissue/viewer", program / "../share/vtissue/viewer",
                                 program / "../../share/vtissue/viewer"}) {
    if (!fs::exists(folder / "index.html", error)) continue;
    if (!fs::exists(folder / kLibrary, error)) {
      throw Error(ErrorCode::kUsage,
                  "{}: OpenSeadragon, which the page needs, is missing; with npm installed run "
                  "tools/get-openseadragon.sh and build again",
                  folder.lexically_normal().string());
    }
    return folder.lexically_normal();
  }
  throw Error(ErrorCode::kUsage,
              "{}: the viewer's page (share/vtissue/viewer) is not beside the program; build or "
              "install it again",
              program.string());
}

}  // namespace vtissue::viewer
