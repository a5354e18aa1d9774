#include "io/geojson_export.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string_view>
#include <unordered_map>

#include "core/atomic_file.h"
#include "core/error.h"
#include "io/anndata.h"

namespace vtissue::io {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kRowsAtOnce = 1024;
constexpr std::size_t kBufferBytes = 1 << 20;

/// Text to a file, plain or as gzip without times; removed again unless finish() is reached.
class TextSink {
 public:
  TextSink(fs::path path, bool packed) : path_(std::move(path)), packed_(packed) {
    errno = 0;
    file_.open(path_, std::ios::binary | std::ios::trunc);
    if (!file_) throw_output_error(path_, "create", errno);
    constexpr int kGzip = 15 + 16;  // zlib's largest window, and gzip's frame
    if (packed_) deflateInit2(&stream_, 6, Z_DEFLATED, kGzip, 8, Z_DEFAULT_STRATEGY);
  }
  ~TextSink() {
    if (packed_) deflateEnd(&stream_);
    if (finished_) return;
    file_.close();
    std::error_code ignored;
    fs::remove(path_, ignored);
  }
  TextSink(const TextSink&) = delete;
  TextSink& operator=(const TextSink&) = delete;

  void write(std::string_view text) {
    buffer_ += text;
    if (buffer_.size() >= kBufferBytes) flush(Z_NO_FLUSH);
  }
  void finish() {
    flush(Z_FINISH);
    errno = 0;
    file_.close();
    if (!file_) throw_output_error(path_, "write", errno);
    finished_ = true;
  }

 private:
  void put(const char* data, std::size_t bytes) {
    errno = 0;
    if (!file_.write(data, static_cast<std::streamsize>(bytes))) throw_output_error(path_, "write", errno);
  }
  void flush(int mode) {
    if (!packed_) {
      put(buffer_.data(), buffer_.size());
    } else {
      std::array<char, 1 << 16> out{};
      stream_.next_in = reinterpret_cast<Bytef*>(buffer_.data());
      stream_.avail_in = static_cast<uInt>(buffer_.size());
      do {
        stream_.next_out = reinterpret_cast<Bytef*>(out.data());
        stream_.avail_out = static_cast<uInt>(out.size());
        deflate(&stream_, mode);
        put(out.data(), out.size() - stream_.avail_out);
      } while (stream_.avail_out == 0);
    }
    buffer_.clear();
  }

  fs::path path_;
  bool packed_, finished_ = false;
  std::ofstream file_;
  std::string buffer_;
  z_stream stream_{};
};

std::string quoted(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

/// The table beside the tiles, and which of its columns are written.
class ChosenGenes {
 public:
  ChosenGenes(const fs::path& path, const TileSet& tiles, const std::vector<std::string>& genes)
      : table_(path), chosen_(genes.size()) {
    const AnnData& table = table_.table();
    const auto columns = table.obs.numbers("cell_column"), rows = table.obs.numbers("cell_row");
    const auto grid = table.strings.find("grid");
    bool same = columns && rows && columns->size() == tiles.cells.size() && rows->size() == tiles.cells.size() &&
                (grid == table.strings.end() ? "" : grid->second) == tiles.grid();
    for (std::size_t i = 0; same && i < tiles.cells.size(); ++i) {
      same = (*columns)[i] == tiles.cells[i].column && (*rows)[i] == tiles.cells[i].row;
    }
    const auto slide = table.strings.find("slide_sha256");
    if (!same || (slide != table.strings.end() && slide->second != tiles.slide_sha256)) {
      throw Error(ErrorCode::kBadInput, "{}: made for other tiles; run express on these", path.string());
    }
    std::unordered_map<std::string, std::size_t> places;
    for (std::size_t i = 0; i < table.x.genes.size(); ++i) places.emplace(table.x.genes[i], i);
    for (std::size_t i = 0; i < genes.size(); ++i) {
      const auto found = places.find(genes[i]);
      if (found == places.end()) {
        const std::span<const std::string> some(table.x.genes.data(), std::min<std::size_t>(5, table.x.genes.size()));
        throw Error(ErrorCode::kUsage, "{}: has no gene '{}' among its {} ({} …)", path.string(), genes[i],
                    table.x.genes.size(), fmt::join(some, ", "));
      }
      wanted_.emplace(static_cast<std::int32_t>(found->second), i);
    }
    spots_ = table.obs.numbers("n_spots");
    valid_ = table.obs.numbers("has_expression");
    sources_ = table.obs.strings("source");
  }

  bool valid(std::size_t tile) const { return !valid_ || (*valid_)[tile] != 0; }
  std::optional<double> spots(std::size_t tile) const { return spots_ ? std::optional((*spots_)[tile]) : std::nullopt; }
  std::string source(std::size_t tile) const { return sources_ != nullptr ? (*sources_)[tile] : ""; }

  /// Values of the chosen genes, in their order. Tiles are asked for one after another.
  std::span<const float> values(std::size_t tile) {
    if (wanted_.empty()) return {};
    if (tile < first_ || tile >= first_ + block_.rows) {
      first_ = tile;
      block_ = table_.read(tile, std::min(kRowsAtOnce, table_.rows() - tile));
    }
    std::ranges::fill(chosen_, 0.0f);
    const std::size_t row = tile - first_;
    for (std::int64_t at = block_.indptr[row]; at < block_.indptr[row + 1]; ++at) {
      const auto [begin, end] = wanted_.equal_range(block_.indices[static_cast<std::size_t>(at)]);
      for (auto place = begin; place != end; ++place)
        chosen_[place->second] = block_.values[static_cast<std::size_t>(at)];
    }
    return chosen_;
  }

 private:
  H5adRows table_;
  std::unordered_multimap<std::int32_t, std::size_t> wanted_;  // column → place among the genes
  std::optional<std::vector<double>> spots_, valid_;
  const std::vector<std::string>* sources_ = nullptr;
  ExpressionMatrix block_;
  std::size_t first_ = 0;
  std::vector<float> chosen_;
};

/// A ring around a tile, cut at the slide's edge.
std::string polygon(const TileSet& tiles, TileCell cell, const GeoJsonOptions& options) {
  const Point<TargetPx> origin = tiles.origin(cell);
  const bool of_slide = options.space == GeoJsonSpace::kSlide;
  const auto place = [&](std::int64_t target, std::int64_t slide_extent, std::int64_t target_extent,
                         std::int64_t offset) {
    if (!of_slide) return std::clamp<std::int64_t>(target, 0, target_extent);
    const auto at = std::llround(static_cast<double>(target) * tiles.scale());
    return std::clamp<std::int64_t>(at, 0, slide_extent) - offset;
  };
  // Rows of the file, whose pixels need not be square.
  const auto file_row = [&](std::int64_t y) {
    return of_slide && tiles.pixel_aspect != 1 ? std::llround(static_cast<double>(y) / tiles.pixel_aspect) : y;
  };
  const auto x = [&](std::int64_t at) {
    return place(at, tiles.slide_size.width, tiles.target_size.width, options.offset.x);
  };
  const auto y = [&](std::int64_t at) {
    return file_row(place(at, tiles.slide_size.height, tiles.target_size.height, options.offset.y));
  };
  const std::int64_t left = x(origin.x), right = x(origin.x + tiles.tile_px);
  const std::int64_t top = y(origin.y), bottom = y(origin.y + tiles.tile_px);
  return fmt::format("[[[{0},{1}],[{2},{1}],[{2},{3}],[{0},{3}],[{0},{1}]]]", left, top, right, bottom);
}

struct TileClass {
  std::string_view name;
  std::array<int, 3> rgb;
};

TileClass class_of(const ChosenGenes* expression, std::size_t tile) {
  if (expression == nullptr) return {"Tissue", {150, 150, 150}};
  if (!expression->valid(tile)) return {"No expression", {200, 200, 200}};
  if (expression->source(tile) == "predicted") return {"Predicted expression", {86, 130, 190}};
  return {"Measured expression", {122, 47, 99}};
}

}  // namespace

std::size_t export_geojson(const fs::path& tiles_path, const fs::path& expression_path, const fs::path& out,
                           const GeoJsonOptions& options, const std::function<bool()>& stopped) {
  const TileSet tiles = read_tiles(tiles_path);
  std::optional<ChosenGenes> expression;
  if (!expression_path.empty()) expression.emplace(expression_path, tiles, options.genes);
  if (expression_path.empty() && !options.genes.empty()) {
    throw Error(ErrorCode::kUsage, "genes are asked for, but there is no expression.h5ad beside {}",
                tiles_path.string());
  }
  std::vector<std::string> gene_keys, measure_keys;
  for (const std::string& gene : options.genes) gene_keys.push_back(quoted(gene));
  if (options.measures) {
    for (const std::string& name : options.measures->names) measure_keys.push_back(quoted(name));
  }

  const fs::path temporary = temporary_name(out);
  TextSink sink(temporary, out.extension() == ".gz");
  sink.write("{\"type\":\"FeatureCollection\",\"features\":[");
  for (std::size_t i = 0; i < tiles.cells.size(); ++i) {
    if (i % kRowsAtOnce == 0 && stopped()) {
      throw Error(ErrorCode::kInterrupted, "{}: stopped while it was written", out.string());
    }
    const TileCell cell = tiles.cells[i];
    const TileClass kind = class_of(expression ? &*expression : nullptr, i);
    std::string measurements = fmt::format("\"Tissue fraction\":{}", tiles.tissue_fraction[i]);
    if (expression) {
      if (const auto spots = expression->spots(i)) measurements += fmt::format(",\"Spots\":{}", *spots);
      if (expression->valid(i)) {
        const std::span<const float> values = expression->values(i);
        for (std::size_t k = 0; k < values.size(); ++k) measurements += fmt::format(",{}:{}", gene_keys[k], values[k]);
      }
    }
    if (options.measures) {
      const std::vector<double> values = options.measures->measure(i);
      for (std::size_t k = 0; k < values.size(); ++k) {
        if (std::isfinite(values[k])) measurements += fmt::format(",{}:{:.6g}", measure_keys[k], values[k]);
      }
    }
    sink.write(fmt::format(
        "{}\n{{\"type\":\"Feature\",\"geometry\":{{\"type\":\"Polygon\",\"coordinates\":{}}},\"properties\":{{"
        "\"objectType\":\"{}\",\"name\":\"tile-{}-{}\",\"classification\":{{\"name\":\"{}\",\"color\":[{},{},{}]}},"
        "\"measurements\":{{{}}}}}}}",
        i == 0 ? "" : ",", polygon(tiles, cell, options), options.detections ? "detection" : "tile", cell.column,
        cell.row, kind.name, kind.rgb[0], kind.rgb[1], kind.rgb[2], measurements));
  }
  sink.write("\n]}\n");
  sink.finish();
  publish(temporary, out);
  return tiles.cells.size();
}

}  // namespace vtissue::io
