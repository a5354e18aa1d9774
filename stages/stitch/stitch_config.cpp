#include "stages/stitch/stitch_config.h"

#include <string>

#include "core/error.h"

namespace vtissue::stages {

std::vector<pipeline::ConfigKey> stitch_config_keys() {
  using pipeline::ValueType;
  return {
      {.name = "stitch.codec",
       .type = ValueType::kString,
       .default_value = "jpeg",
       .description = "compression of the virtual slide's tiles: jpeg, or deflate (lossless, some ten times larger)",
       .choices = {"jpeg", "deflate"}},
      {.name = "stitch.jpeg_quality",
       .type = ValueType::kInteger,
       .default_value = 90,
       .description = "JPEG quality (1..100), 4:4:4",
       .minimum = 1,
       .maximum = 100},
      {.name = "stitch.background",
       .type = ValueType::kNumberList,
       .default_value = nlohmann::json::array({244, 243, 245}),
       .description = "red, green and blue of the glass around the tissue (128..255 each)"},
  };
}

StitchOptions stitch_options(const pipeline::Config& config) {
  StitchOptions options;
  options.codec =
      config.get<std::string>("stitch.codec") == "deflate" ? io::PyramidCodec::kDeflate : io::PyramidCodec::kJpeg;
  options.jpeg_quality = config.get<int>("stitch.jpeg_quality");
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
