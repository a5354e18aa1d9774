#include "io/sample_sheet.h"

#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <set>
#include <utility>

#include "core/edit_distance.h"
#include "core/error.h"
#include "io/delimited.h"

namespace vtissue::io {
namespace fs = std::filesystem;
namespace {

constexpr std::array<std::string_view, 10> kColumns = {"sample", "donor",     "slide",    "mpp",  "visium",
                                                       "h5ad",   "st_counts", "st_spots", "mask", "split"};

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

bool is_left_out(std::string_view line) { return trimmed(line).empty() || trimmed(line).front() == '#'; }

char separator_of(std::string_view header) {
  for (const char separator : {'\t', ';'}) {
    if (header.find(separator) != std::string_view::npos) return separator;
  }
  return ',';
}

/// The sheet while it is read.
class SheetReader {
 public:
  SheetReader(const fs::path& path, const fs::path& root)
      : path_(path), root_(root.empty() ? path.parent_path() : root), lines_(path) {}

  std::vector<Sample> read() {
    read_header();
    std::vector<Sample> samples;
    std::string_view line;
    while (lines_.next(line)) {
      if (is_left_out(line)) continue;
      split_fields(line, separator_, fields_);
      if (fields_.size() != columns_.size()) {
        fail(fmt::format("{} fields, the header has {} columns", fields_.size(), columns_.size()));
      }
      samples.push_back(sample());
    }
    if (samples.empty()) throw Error(ErrorCode::kUsage, "{}: has no samples", path_.string());
    return samples;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw Error(ErrorCode::kUsage, "{}, line {}: {}", path_.string(), lines_.line_number(), what);
  }

  void read_header() {
    std::string_view line;
    do {
      if (!lines_.next(line)) throw Error(ErrorCode::kUsage, "{}: is empty", path_.string());
    } while (is_left_out(line));
    separator_ = separator_of(line);
    split_fields(line, separator_, fields_);
    for (const std::string_view field : fields_) {
      const std::string name(trimmed(field));
      if (std::ranges::find(kColumns, name) == kColumns.end()) {
        const auto nearest =
            std::ranges::min_element(kColumns, {}, [&](std::string_view known) { return edit_distance(name, known); });
        fail(fmt::format("unknown column '{}'; the nearest known one is '{}' (known: {})", name, *nearest,
                         fmt::join(kColumns, ", ")));
      }
      if (std::ranges::find(columns_, name) != columns_.end()) fail(fmt::format("column '{}' is there twice", name));
      columns_.push_back(name);
    }
    for (const char* required : {"sample", "slide"}) {
      if (std::ranges::find(columns_, required) == columns_.end())
        fail(fmt::format("there is no column '{}'", required));
    }
  }

  /// Empty if the sheet has no such column.
  std::string value(std::string_view column) const {
    const auto found = std::ranges::find(columns_, column);
    return found == columns_.end() ? ""
                                   : std::string(trimmed(fields_[static_cast<std::size_t>(found - columns_.begin())]));
  }

  fs::path file(std::string_view column) const {
    const std::string text = value(column);
    return text.empty() ? fs::path() : root_ / text;
  }

  Sample sample() {
    Sample sample{.name = value("sample"),
                  .donor = value("donor"),
                  .slide = file("slide"),
                  .mpp = mpp(),
                  .visium = file("visium"),
                  .h5ad = file("h5ad"),
                  .st_counts = file("st_counts"),
                  .st_spots = file("st_spots"),
                  .mask = file("mask"),
                  .split = value("split"),
                  .line = lines_.line_number()};
    check_name(sample.name);
    if (sample.slide.empty()) fail(fmt::format("sample '{}' has no slide", sample.name));
    if (sample.st_counts.empty() != sample.st_spots.empty()) {
      fail(fmt::format("sample '{}': st_counts and st_spots belong together", sample.name));
    }
    if (!sample.visium.empty() + !sample.h5ad.empty() + !sample.st_counts.empty() > 1) {
      fail(fmt::format("sample '{}' has more than one source of expression; keep one of visium, h5ad, st_counts",
                       sample.name));
    }
    if (!sample.split.empty() && sample.split != "train" && sample.split != "val") {
      fail(fmt::format("sample '{}': split is '{}'; it must be train or val", sample.name, sample.split));
    }
    return sample;
  }

  void check_name(const std::string& name) {
    if (name.empty()) fail("a sample has no name");
    if (name.front() == '.' || name.find_first_of("/\\") != std::string::npos) {
      fail(fmt::format("sample '{}': names become folders, so they may not begin with a dot nor hold a slash", name));
    }
    const auto [earlier, is_new] = lines_of_names_.emplace(name, lines_.line_number());
    if (!is_new) fail(fmt::format("sample '{}' is in line {} already", name, earlier->second));
  }

  std::optional<double> mpp() const {
    const std::string text = value("mpp");
    if (text.empty()) return std::nullopt;
    const std::optional<double> number = parse_number(text);
    if (!number || !(*number > 0 && *number < 1000)) {
      fail(fmt::format("mpp is '{}'; it must be µm per pixel of level 0, such as 0.25", text));
    }
    return number;
  }

  fs::path path_, root_;
  LineReader lines_;
  char separator_ = ',';
  std::vector<std::string> columns_;
  std::vector<std::string_view> fields_;
  std::map<std::string, std::size_t> lines_of_names_;
};

}  // namespace

std::vector<Sample> read_sample_sheet(const fs::path& path, const fs::path& root) {
  try {
    return SheetReader(path, root).read();
  } catch (const Error& e) {
    throw Error(ErrorCode::kUsage, "{}", e.message());
  }
}

void require_split_by_donor(const fs::path& path, const std::vector<Sample>& samples) {
  std::map<std::string, const Sample*> first_of;
  for (const Sample& sample : samples) {
    for (const auto& [column, text] : {std::pair{"donor", &sample.donor}, {"split", &sample.split}}) {
      if (text->empty()) {
        throw Error(ErrorCode::kUsage, "{}, line {}: sample '{}' has no {}; training is split by donors", path.string(),
                    sample.line, sample.name, column);
      }
    }
    const Sample& first = *first_of.emplace(sample.donor, &sample).first->second;
    if (first.split != sample.split) {
      throw Error(ErrorCode::kUsage,
                  "{}: donor '{}' is in both splits, {} (sample '{}', line {}) and {} (sample '{}', line {}); a donor "
                  "is trained on or held out",
                  path.string(), sample.donor, first.split, first.name, first.line, sample.split, sample.name,
                  sample.line);
    }
  }
}

}  // namespace vtissue::io
