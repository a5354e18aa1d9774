#include <nlohmann/json.hpp>

#include "core/checkpoint.h"
#include "core/error.h"

namespace vtissue {

namespace {

constexpr std::string_view kMap = "weight_map";

[[noreturn]] void refuse_index(const std::filesystem::path& path, std::string_view reason) {
  throw Error(ErrorCode::kModel, "{}: not a usable index of shards: {}", path.string(), reason);
}

bool leaves_folder(std::string_view file) {
  return file.empty() || file == "." || file == ".." || file.find('/') != std::string_view::npos ||
         file.find('\\') != std::string_view::npos || file.find('\0') != std::string_view::npos;
}

/// Takes the members of weight_map and passes over everything else; a parsed document would have lost duplicate keys
/// and could be nested at will.
class IndexHandler : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit IndexHandler(const std::filesystem::path& path) : path_(path) {}

  std::map<std::string, std::string> take() {
    if (!found_) refuse_index(path_, fmt::format("it has no object \"{}\"", kMap));
    return std::move(files_);
  }

  bool null() override { return other(); }
  bool boolean(bool) override { return other(); }
  bool number_integer(number_integer_t) override { return other(); }
  bool number_unsigned(number_unsigned_t) override { return other(); }
  bool number_float(number_float_t, const string_t&) override { return other(); }
  bool binary(binary_t&) override { return other(); }

  bool string(string_t& value) override {
    if (!in_map()) return other();
    if (leaves_folder(value)) {
      refuse_index(path_, fmt::format("the shard '{}' of '{}' is not a file of the index's own folder", value, key_));
    }
    files_.at(key_) = std::move(value);
    return true;
  }

  bool start_object(std::size_t) override {
    if (in_map()) return other();
    if (++depth_ == 2 && key_ == kMap && !in_array_) {
      if (found_) refuse_index(path_, fmt::format("\"{}\" occurs twice", kMap));
      found_ = in_map_ = true;
    }
    return true;
  }

  bool end_object() override {
    if (depth_-- == 2) in_map_ = false;
    return true;
  }

  bool start_array(std::size_t) override {
    if (in_map() || depth_ == 0) return other();
    in_array_ = in_array_ || depth_ == 1;
    ++depth_;
    return true;
  }

  bool end_array() override {
    if (--depth_ == 1) in_array_ = false;
    return true;
  }

  bool key(string_t& name) override {
    if (in_map() && !files_.emplace(name, "").second)
      refuse_index(path_, fmt::format("the tensor '{}' occurs twice", name));
    if (depth_ == 1 || in_map()) key_ = name;
    return true;
  }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception& error) override {
    refuse_index(path_, fmt::format("not valid JSON near byte {} ({})", position, error.what()));
  }

 private:
  bool in_map() const { return in_map_; }

  bool other() {
    if (depth_ == 0) refuse_index(path_, "it is not a JSON object");
    if (in_map()) refuse_index(path_, fmt::format("the shard of '{}' is not a file name", key_));
    if (depth_ == 1 && key_ == kMap) refuse_index(path_, fmt::format("\"{}\" is not an object", kMap));
    return true;
  }

  const std::filesystem::path& path_;
  std::size_t depth_ = 0;
  bool in_map_ = false;
  bool in_array_ = false;
  bool found_ = false;
  std::string key_;
  std::map<std::string, std::string> files_;
};

}  // namespace

std::map<std::string, std::string> parse_shard_index(std::string_view json, const std::filesystem::path& path) {
  // The JSON library takes a NUL for the end of the text.
  if (json.find('\0') != std::string_view::npos) refuse_index(path, "it holds a NUL byte");
  IndexHandler handler(path);
  nlohmann::json::sax_parse(json.begin(), json.end(), &handler);
  return handler.take();
}

}  // namespace vtissue
