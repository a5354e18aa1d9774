#include "io/geojson.h"

#include <array>
#include <cmath>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>

#include "core/error.h"
#include "io/gzip_stream.h"

namespace vtissue::io {
namespace {

constexpr double kFarthest = 1e8;                // pixels; no slide is a tenth as wide
constexpr std::size_t kMostPoints = 50'000'000;  // of one object
constexpr std::size_t kDeepest = 4;              // arrays of a MultiPolygon

/// The bytes of the file, with the words that JSON does not have (NaN, Infinity) as null.
class GeoBytes {
 public:
  explicit GeoBytes(const std::filesystem::path& path) : path_(path), stream_(path) {
    fill();
    look();
  }

  bool at_end() const { return word_at_ == word_.size() && at_end_; }
  char peek() const { return word_at_ < word_.size() ? word_[word_at_] : buffer_[next_]; }
  /// Of the file as it is, inflated.
  std::size_t position() const { return position_; }

  void advance() {
    if (word_at_ < word_.size()) {
      if (++word_at_ == word_.size()) look();
      return;
    }
    const char passed = buffer_[next_];
    if (!in_string_) {
      in_string_ = passed == '"';
    } else if (escaped_) {
      escaped_ = false;
    } else if (passed == '\\') {
      escaped_ = true;
    } else if (passed == '"') {
      in_string_ = false;
    }
    drop();
    look();
  }

 private:
  void fill() {
    size_ = stream_.read(buffer_.data(), static_cast<unsigned>(buffer_.size()));
    next_ = 0;
    at_end_ = size_ == 0;
  }

  void drop() {
    ++position_;
    if (++next_ == size_) fill();
  }

  /// Takes the word that begins at the next byte, if it may be one of those. It may go on in the next piece of the
  /// file.
  void look() {
    if (at_end_) return;
    const char first = buffer_[next_];
    if (first == '\0') {
      // The JSON library would take it for the end.
      throw Error(ErrorCode::kBadInput, "{}: not usable GeoJSON: it holds a NUL byte at {}", path_.string(), position_);
    }
    if (in_string_ || (first != 'N' && first != 'I' && first != '-')) return;
    word_.clear();
    word_at_ = 0;
    const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
    do {
      word_ += buffer_[next_];
      drop();
    } while (!at_end_ && word_.size() < 10 && is_letter(buffer_[next_]));
    if (word_ == "NaN" || word_ == "Infinity" || word_ == "-Infinity") word_ = "null";
  }

  std::filesystem::path path_;
  GzipStream stream_;
  std::array<char, 1 << 16> buffer_{};
  std::string word_;
  std::size_t word_at_ = 0, next_ = 0, size_ = 0, position_ = 0;
  bool at_end_ = false, in_string_ = false, escaped_ = false;
};

/// What the JSON library reads from.
struct ByteIterator {
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = char;

  GeoBytes* bytes = nullptr;  ///< null: the end

  char operator*() const { return bytes->peek(); }
  ByteIterator& operator++() {
    bytes->advance();
    return *this;
  }
  ByteIterator operator++(int) {
    bytes->advance();
    return *this;
  }
  bool operator==(const ByteIterator& other) const { return ended() == other.ended(); }
  bool operator!=(const ByteIterator& other) const { return !(*this == other); }

 private:
  bool ended() const { return bytes == nullptr || bytes->at_end(); }
};

/// Depth of the arrays of a geometry's coordinates, by type.
constexpr std::array<std::pair<std::string_view, std::size_t>, 6> kDepths = {
    {{"Point", 1}, {"MultiPoint", 2}, {"LineString", 2}, {"MultiLineString", 3}, {"Polygon", 3}, {"MultiPolygon", 4}}};

/// Object types of QuPath up to 0.2, as "id".
constexpr std::array<std::pair<std::string_view, std::string_view>, 5> kOldTypes = {
    {{"PathAnnotationObject", "annotation"},
     {"PathDetectionObject", "detection"},
     {"PathCellObject", "cell"},
     {"PathTileObject", "tile"},
     {"TMACoreObject", "tma_core"}}};

class GeoHandler : public nlohmann::json_sax<nlohmann::json> {
 public:
  GeoHandler(const std::filesystem::path& path, const GeoBytes& bytes, const std::function<void(GeoObject&&)>& take)
      : path_(path), bytes_(bytes), take_(take) {}

  std::size_t objects() const { return count_; }

  bool null() override {
    if (in_coordinates()) refuse("a coordinate is null (NaN or Infinity is written so too)");
    if (in(In::kList)) refuse_item("null");
    if (stack_.empty()) refuse("the file holds nothing but null");
    return true;
  }
  bool boolean(bool value) override { return other(value ? "true" : "false"); }
  bool number_integer(number_integer_t value) override { return number(static_cast<double>(value)); }
  bool number_unsigned(number_unsigned_t value) override { return number(static_cast<double>(value)); }
  bool number_float(number_float_t value, const string_t&) override { return number(value); }
  bool binary(binary_t&) override { return other("binary data"); }

  bool string(string_t& value) override {
    if (skipped_ > 0) return true;
    if (in_coordinates() || in(In::kList) || stack_.empty()) return other("a text");
    Frame& top = stack_.back();
    if (top.in == In::kObject && top.key == "type") top.type = value;
    if (top.in == In::kObject && top.key == "id") old_type(value);
    if (top.in == In::kProperties) {
      if (top.key == "classification") object_.class_name = value;
      if (top.key == "objectType" || top.key == "object_type") object_.object_type = value;
      if (top.key == "name") object_.name = value;
    }
    if (top.in == In::kClass && top.key == "name") object_.class_name = value;
    if (top.in == In::kNames) object_.class_name += (object_.class_name.empty() ? "" : ": ") + value;
    return true;
  }

  bool start_object(std::size_t) override {
    if (skipped_ > 0) return ++skipped_, true;
    if (in_coordinates()) refuse("the coordinates hold an object");
    if (stack_.empty() || in(In::kList)) {
      begin_object();
      stack_.push_back({In::kObject});
    } else if (in(In::kGeometries) || at(In::kObject, "geometry")) {
      stack_.push_back({In::kObject});
    } else if (at(In::kObject, "properties")) {
      stack_.push_back({In::kProperties});
    } else if (at(In::kProperties, "classification")) {
      stack_.push_back({In::kClass});
    } else {
      skipped_ = 1;
    }
    return true;
  }

  bool end_object() override {
    if (skipped_ > 0) return --skipped_, true;
    const Frame ended = stack_.back();
    stack_.pop_back();
    if (ended.in != In::kObject) return true;
    const bool outer = stack_.empty() || in(In::kList);
    if (ended.has_coordinates || ended.has_geometries || !outer) {
      end_geometry(ended);
    } else if (ended.type == "FeatureCollection") {
      if (!ended.has_list) refuse("a FeatureCollection without \"features\"");
      return true;
    } else if (ended.type != "Feature") {
      refuse(ended.type.empty()
                 ? "neither a Feature nor a geometry: it has no \"type\""
                 : fmt::format("of type '{}'; expected FeatureCollection, Feature or a geometry", ended.type));
    }
    if (outer) end_of_feature();
    return true;
  }

  bool start_array(std::size_t) override {
    if (skipped_ > 0) return ++skipped_, true;
    if (in_coordinates()) {
      if (depth_ > 0 && has_numbers_[depth_ - 1]) refuse("a position holds an array");
      if (++depth_ > kDeepest) refuse(fmt::format("coordinates are nested over {} deep", kDeepest));
      has_numbers_[depth_ - 1] = false;
      position_.clear();
      return true;
    }
    if (stack_.empty() || (stack_.size() == 1 && at(In::kObject, "features"))) {
      if (!stack_.empty()) {
        if (stack_.back().has_list) refuse("\"features\" occurs twice");
        stack_.back().has_list = true;
        count_ = 0;  // the collection itself is no object
      }
      stack_.push_back({In::kList});
    } else if (in(In::kList)) {
      refuse_item("an array");
    } else if (at(In::kObject, "geometries")) {
      stack_.back().has_geometries = true;
      stack_.push_back({In::kGeometries});
    } else if (at(In::kObject, "coordinates")) {
      if (stack_.back().has_coordinates) refuse("\"coordinates\" occurs twice in one geometry");
      stack_.back().has_coordinates = true;
      stack_.push_back({In::kCoordinates});
      begin_coordinates();
    } else if (at(In::kClass, "names")) {
      object_.class_name.clear();
      stack_.push_back({In::kNames});
    } else {
      skipped_ = 1;
    }
    return true;
  }

  bool end_array() override {
    if (skipped_ > 0) return --skipped_, true;
    if (!in_coordinates()) return stack_.pop_back(), true;
    if (has_numbers_[depth_ - 1]) {
      end_position();
    } else if (position_depth_ > 0 && depth_ + 1 == position_depth_) {
      end_ring();
    } else if (position_depth_ > 0 && depth_ + 2 == position_depth_) {
      end_polygon();
    }
    if (--depth_ == 0) stack_.pop_back();
    return true;
  }

  bool key(string_t& name) override {
    if (skipped_ == 0) stack_.back().key = name;
    return true;
  }

  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception& error) override {
    const std::string_view text = error.what();
    const auto says = [&](std::string_view what) { return text.find(what) != std::string_view::npos; };
    if (bytes_.at_end() && (says("unexpected end of input") || says("missing closing quote"))) {
      refuse(fmt::format("the file ends before the JSON does, after {} bytes; export or copy it again",
                         bytes_.position()));
    }
    refuse(fmt::format("not JSON near byte {} ({})", bytes_.position(), text.substr(text.find("] ") + 2)));
  }

 private:
  enum class In { kObject, kList, kGeometries, kCoordinates, kProperties, kClass, kNames };
  struct Frame {
    In in;
    std::string key = {}, type = {};
    bool has_coordinates = false, has_geometries = false, has_list = false;
  };

  bool in(In what) const { return skipped_ == 0 && !stack_.empty() && stack_.back().in == what; }
  bool at(In what, std::string_view key) const { return in(what) && stack_.back().key == key; }
  bool in_coordinates() const { return in(In::kCoordinates); }

  [[noreturn]] void refuse(std::string_view what) const {
    throw Error(ErrorCode::kBadInput, "{}: not usable GeoJSON: {}{}", path_.string(),
                count_ > 0 ? fmt::format("object {}: ", count_) : std::string(), what);
  }
  [[noreturn]] void refuse_item(std::string_view what) const {
    throw Error(ErrorCode::kBadInput, "{}: not usable GeoJSON: object {} is {}, expected a Feature", path_.string(),
                count_ + 1, what);
  }

  bool other(std::string_view what) {
    if (skipped_ > 0) return true;
    if (in_coordinates()) refuse(fmt::format("a coordinate is {}", what));
    if (in(In::kList)) refuse_item(what);
    if (stack_.empty()) refuse(fmt::format("the file holds nothing but {}", what));
    return true;
  }

  bool number(double value) {
    if (!in_coordinates()) return other("a number");
    if (!std::isfinite(value) || std::abs(value) > kFarthest) {
      refuse(fmt::format("the coordinate {} is beyond ±{:.0e} pixels, wider than any slide", value, kFarthest));
    }
    if (position_.empty() && !has_numbers_[depth_ - 1] && depth_ < position_depth_) refuse_mixed();
    has_numbers_[depth_ - 1] = true;
    if (position_.size() < 2) position_.push_back(value);  // a third is a height
    return true;
  }

  [[noreturn]] void refuse_mixed() const { refuse("coordinates are nested in different depths"); }

  void old_type(std::string_view id) {
    for (const auto& [old, type] : kOldTypes) {
      if (id == old && object_.object_type.empty()) object_.object_type = type;
    }
  }

  void begin_object() {
    object_ = {};
    object_.number = ++count_;
    points_ = 0;
  }

  void begin_coordinates() {
    depth_ = 1;
    has_numbers_[0] = false;
    position_depth_ = 0;
    position_.clear();
    ring_.clear();
    polygon_.clear();
    polygons_.clear();
  }

  void end_position() {
    if (position_depth_ == 0) position_depth_ = depth_;
    if (position_depth_ != depth_) refuse_mixed();
    if (position_.size() < 2) refuse("a position has one number; expected x and y");
    if (++points_ > kMostPoints) refuse(fmt::format("more than {} points in one object", kMostPoints));
    ring_.push_back({position_[0], position_[1]});
    position_.clear();
  }

  void end_ring() {
    GeoRing ring = std::move(ring_);
    ring_.clear();
    const bool open = ring.size() >= 2 && ring.front() != ring.back();
    if (ring.size() >= 2 && !open) ring.pop_back();
    if (ring.size() < 3) {
      ++thin_;
      // Without an outline its holes are of nothing.
      if (polygon_.empty()) polygon_.emplace_back();
      return;
    }
    open_ += open;
    polygon_.push_back(std::move(ring));
  }

  void end_polygon() {
    if (!polygon_.empty() && !polygon_.front().empty()) polygons_.push_back(std::move(polygon_));
    polygon_.clear();
  }

  void end_geometry(const Frame& ended) {
    if (ended.type == "GeometryCollection") return;
    if (ended.type == "Feature" && !ended.has_coordinates) return;
    std::size_t expected = 0;
    for (const auto& [type, depth] : kDepths) {
      if (type == ended.type) expected = depth;
    }
    if (expected == 0) {
      refuse(ended.type.empty() ? std::string("a geometry without \"type\"")
                                : fmt::format("a geometry of type '{}'; expected Polygon, MultiPolygon, "
                                              "GeometryCollection, a point or a line",
                                              ended.type));
    }
    if (!ended.has_coordinates) refuse(fmt::format("a {} without \"coordinates\"", ended.type));
    if (position_depth_ != 0 && position_depth_ != expected) {
      refuse(fmt::format("the coordinates of a {} are nested {} deep, expected {}", ended.type, position_depth_,
                         expected));
    }
    const bool area = ended.type == "Polygon" || ended.type == "MultiPolygon";
    if (!area || (polygons_.empty() && thin_ == 0)) ++object_.without_area;
    if (area) {
      object_.open_rings += open_;
      object_.thin_rings += thin_;
      for (GeoPolygon& polygon : polygons_) object_.polygons.push_back(std::move(polygon));
    }
    open_ = thin_ = 0;
    polygons_.clear();
  }

  void end_of_feature() {
    if (object_.polygons.empty() && object_.without_area == 0 && object_.thin_rings == 0) object_.without_area = 1;
    take_(std::move(object_));
    object_ = {};
  }

  const std::filesystem::path& path_;
  const GeoBytes& bytes_;
  const std::function<void(GeoObject&&)>& take_;
  std::vector<Frame> stack_;
  std::size_t skipped_ = 0;  ///< open arrays and objects of a value that is passed over
  std::size_t count_ = 0, points_ = 0;
  GeoObject object_;

  // Of the geometry that is read.
  std::size_t depth_ = 0, position_depth_ = 0, open_ = 0, thin_ = 0;
  std::array<bool, kDeepest> has_numbers_{};
  std::vector<double> position_;
  GeoRing ring_;
  GeoPolygon polygon_;
  std::vector<GeoPolygon> polygons_;
};

}  // namespace

std::size_t read_geojson(const std::filesystem::path& path, const std::function<void(GeoObject&&)>& take) {
  GeoBytes bytes(path);
  if (bytes.at_end()) throw Error(ErrorCode::kBadInput, "{}: not usable GeoJSON: the file is empty", path.string());
  GeoHandler handler(path, bytes, take);
  nlohmann::json::sax_parse(ByteIterator{&bytes}, ByteIterator{}, &handler);
  return handler.objects();
}

}  // namespace vtissue::io
