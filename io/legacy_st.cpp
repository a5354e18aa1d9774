#include <cmath>
#include <map>
#include <set>

#include "core/error.h"
#include "io/delimited.h"
#include "io/expression.h"

namespace vtissue::io {
namespace fs = std::filesystem;

namespace {

constexpr double kPitchUm = 200;           // centre to centre
constexpr double kDiameterPerPitch = 0.5;  // 100 µm spots

struct Centre {
  double x, y;
};

/// Array position of a spot: "10x21" in the counts, columns x and y in the selection.
using ArrayPosition = std::pair<std::int64_t, std::int64_t>;

std::optional<ArrayPosition> parse_name(std::string_view name) {
  const auto cross = name.find('x');
  if (cross == std::string_view::npos) return std::nullopt;
  const auto x = parse_integer(name.substr(0, cross)), y = parse_integer(name.substr(cross + 1));
  if (!x || !y) return std::nullopt;
  return ArrayPosition{*x, *y};
}

char separator_of(std::string_view header) { return header.find('\t') != std::string_view::npos ? '\t' : ','; }

std::map<ArrayPosition, Centre> read_selection(const fs::path& path) {
  LineReader reader(path);
  std::string_view line;
  if (!reader.next(line)) throw Error(ErrorCode::kBadInput, "{}: is empty", path.string());
  const char separator = separator_of(line);
  std::vector<std::string_view> fields;
  split_fields(line, separator, fields);
  const std::vector<std::string> header(fields.begin(), fields.end());
  const auto column = [&](std::string_view name) -> std::optional<std::size_t> {
    for (std::size_t i = 0; i < header.size(); ++i) {
      if (header[i] == name) return i;
    }
    return std::nullopt;
  };
  const auto required = [&](std::string_view name) {
    const auto found = column(name);
    if (!found) reader.fail(fmt::format("has no column '{}' (it has: {})", name, fmt::join(header, ", ")));
    return *found;
  };
  const std::size_t x = required("x"), y = required("y"), pixel_x = required("pixel_x"), pixel_y = required("pixel_y");
  const auto selected = column("selected");

  std::map<ArrayPosition, Centre> centres;
  std::set<ArrayPosition> seen;
  while (reader.next(line)) {
    if (line.empty()) continue;
    split_fields(line, separator, fields);
    if (fields.size() != header.size()) {
      reader.fail(fmt::format("has {} columns, the header {}", fields.size(), header.size()));
    }
    const auto array_x = parse_integer(fields[x]), array_y = parse_integer(fields[y]);
    const auto centre_x = parse_number(fields[pixel_x]), centre_y = parse_number(fields[pixel_y]);
    if (!array_x || !array_y || !centre_x || !centre_y || !std::isfinite(*centre_x) || !std::isfinite(*centre_y)) {
      reader.fail("expected whole numbers x and y and numbers pixel_x and pixel_y");
    }
    if (!seen.emplace(*array_x, *array_y).second)
      reader.fail(fmt::format("spot {}x{} is there twice", *array_x, *array_y));
    if (selected) {
      const auto flag = parse_number(fields[*selected]);
      if (!flag || (*flag != 0 && *flag != 1))
        reader.fail(fmt::format("selected is '{}', expected 0 or 1", fields[*selected]));
      if (*flag == 0) continue;
    }
    centres.emplace(ArrayPosition{*array_x, *array_y}, Centre{*centre_x, *centre_y});
  }
  if (centres.empty()) throw Error(ErrorCode::kBadInput, "{}: no spot is selected", path.string());
  return centres;
}

}  // namespace

SpotTable read_legacy_st(const fs::path& counts_path, const fs::path& selection_path) {
  const std::map<ArrayPosition, Centre> centres = read_selection(selection_path);
  LineReader reader(counts_path);
  std::string_view line;
  if (!reader.next(line)) throw Error(ErrorCode::kBadInput, "{}: is empty", counts_path.string());
  const char separator = separator_of(line);
  std::vector<std::string_view> fields;
  split_fields(line, separator, fields);
  const std::vector<std::string> header(fields.begin(), fields.end());

  SpotTable table;
  table.source = "st";
  ExpressionMatrix& counts = table.counts;
  counts.indptr.push_back(0);
  std::set<ArrayPosition> seen;
  std::vector<std::int64_t> array_x, array_y;  // of the table's spots
  std::size_t rows = 0;
  while (reader.next(line)) {
    if (line.empty()) continue;
    split_fields(line, separator, fields);
    if (rows++ == 0) {
      // The cell over the row names is empty; R leaves it out altogether.
      const bool left_out = header.size() + 1 == fields.size();
      if (!left_out && header.size() != fields.size()) {
        reader.fail(fmt::format("has {} columns, the header {}", fields.size(), header.size()));
      }
      counts.genes.assign(header.begin() + (left_out ? 0 : 1), header.end());
    }
    if (fields.size() != counts.genes.size() + 1) {
      reader.fail(
          fmt::format("has {} counts for {} genes; the file may be cut off", fields.size() - 1, counts.genes.size()));
    }
    const auto position = parse_name(fields[0]);
    if (!position) reader.fail(fmt::format("row name '{}' is not of the form 10x21", fields[0]));
    if (!seen.insert(*position).second) reader.fail(fmt::format("spot {} is there twice", fields[0]));
    const auto centre = centres.find(*position);
    if (centre == centres.end()) continue;
    table.barcodes.emplace_back(fields[0]);
    array_x.push_back(position->first);
    array_y.push_back(position->second);
    table.x.push_back(centre->second.x);
    table.y.push_back(centre->second.y);
    for (std::size_t gene = 0; gene + 1 < fields.size(); ++gene) {
      if (fields[gene + 1] == "0") continue;
      const auto count = parse_number(fields[gene + 1]);
      if (!count || !std::isfinite(*count) || *count < 0) {
        reader.fail(fmt::format("count '{}' of {}", fields[gene + 1], counts.genes[gene]));
      }
      if (*count == 0) continue;
      counts.indices.push_back(static_cast<std::int32_t>(gene));
      counts.values.push_back(static_cast<float>(*count));
    }
    counts.indptr.push_back(static_cast<std::int64_t>(counts.values.size()));
  }
  counts.rows = table.barcodes.size();
  if (2 * table.barcodes.size() < centres.size() || table.barcodes.empty()) {
    throw Error(ErrorCode::kBadInput,
                "{}: has counts for {} of the {} spots selected in {}; do the two files belong to the same section?",
                counts_path.string(), table.barcodes.size(), centres.size(), selection_path.string());
  }
  table.pitch_px = square_pitch(array_y, array_x, table.x, table.y);
  if (table.pitch_px) {
    table.pitch_um = kPitchUm;
    table.spot_diameter_px = kDiameterPerPitch * *table.pitch_px;
  }
  return table;
}

}  // namespace vtissue::io
