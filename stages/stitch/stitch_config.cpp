#include "stages/stitch/stitch_config.h"

#include <string>

#include "core/error.h"
#include "io/icc_profile.h"
#include "stages/stitch/stitch_names.h"

namespace vtissue::stages {

namespace {

template <typename Value>
std::vector<std::string> words(const std::vector<std::pair<std::string_view, Value>>& named) {
  std::vector<std::string> names;
  names.reserve(named.size());
  for (const auto& [name, value] : named) names.emplace_back(name);
  return names;
}

/// The schema has refused other words already.
template <typename Value>
Value value_of(const std::vector<std::pair<std::string_view, Value>>& named, const std::string& word) {
  for (const auto& [name, value] : named) {
    if (name == word) return value;
  }
  throw Error(ErrorCode::kUsage, "section stitch: \"{}\" is not a choice", word);
}

}  // namespace

std::vector<pipeline::ConfigKey> stitch_config_keys() {
  using pipeline::ValueType;
  return {
      {.name = "stitch.profile",
       .type = ValueType::kString,
       .default_value = "svs",
       .description =
           "what readers take the virtual slide for: svs (OpenSlide and most viewers, with µm/px everywhere), "
           "generic (a plain pyramid), or ome (OME-TIFF, for Bio-Formats and QuPath)",
       .choices = words(pyramid_profiles())},
      {.name = "stitch.codec",
       .type = ValueType::kString,
       .default_value = "jpeg",
       .description =
           "compression of the virtual slide's tiles: jpeg, jpeg2000 (svs and ome alone; slow), or lossless, "
           "some ten times larger: lzw, deflate, zstd (not every reader has it)",
       .choices = words(pyramid_codecs())},
      {.name = "stitch.quality",
       .type = ValueType::kInteger,
       .default_value = 90,
       .description = "quality (1..100) of jpeg; of jpeg2000: 30 + quality / 5 dB, lossless at 100",
       .minimum = 1,
       .maximum = 100},
      {.name = "stitch.subsampling",
       .type = ValueType::kString,
       .default_value = "4:4:4",
       .description = "colour of jpeg: at every pixel (for measuring stains), or 4:2:0, some quarter smaller",
       .choices = words(chroma_samplings())},
      {.name = "stitch.icc_profile",
       .type = ValueType::kPath,
       .default_value = nullptr,
       .description = "colour profile that the virtual slide carries: an ICC file, or srgb; none by default",
       .or_name = true},
      {.name = "stitch.background",
       .type = ValueType::kNumberList,
       .default_value = nlohmann::json::array({244, 243, 245}),
       .description = "red, green and blue of the glass around the tissue (128..255 each)"},
  };
}

StitchOptions stitch_options(const pipeline::Config& config) {
  StitchOptions options;
  options.profile = value_of(pyramid_profiles(), config.get<std::string>("stitch.profile"));
  options.codec = value_of(pyramid_codecs(), config.get<std::string>("stitch.codec"));
  options.quality = config.get<int>("stitch.quality");
  options.sampling = value_of(chroma_samplings(), config.get<std::string>("stitch.subsampling"));
  if (const auto icc = config.get_optional<std::string>("stitch.icc_profile"))
    options.icc_profile = io::read_icc_profile(*icc);
  if (options.profile == io::PyramidProfile::kGeneric && options.codec == io::PyramidCodec::kJpeg2000) {
    throw Error(
        ErrorCode::kUsage,
        "stitch.codec jpeg2000 with stitch.profile generic is opened by hardly any viewer; choose the profile svs "
        "or ome, or another codec");
  }
  const auto background = config.get<std::vector<double>>("stitch.background");
  if (background.size() != options.background.size()) {
    throw Error(ErrorCode::kUsage, "stitch.background has {} numbers, expected red, green and blue", background.size());
  }
  for (std::size_t c = 0; c < background.size(); ++c) {
    // The mark on the glass is darker than the glass, so that a dark one would hide it.
    if (!(background[c] >= 128 && background[c] <= 255)) {
      throw Error(ErrorCode::kUsage, "stitch.background: {} is not in 128..255", background[c]);
    }
    options.background[c] = static_cast<std::uint8_t>(background[c]);
  }
  return options;
}

}  // namespace vtissue::stages
