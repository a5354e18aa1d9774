#include "io/pyramid_metadata.h"

#include <tiffio.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <system_error>
#include <utility>

#include "core/error.h"
#include "io/vips_runtime.h"

namespace vtissue::io {
namespace {

constexpr std::string_view kOpen = "<vt:provenance>", kClose = "</vt:provenance>";
constexpr std::pair<char, std::string_view> kEscapes[] = {{'&', "&amp;"}, {'<', "&lt;"}, {'>', "&gt;"}};

std::string escaped(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    const auto* const found =
        std::find_if(std::begin(kEscapes), std::end(kEscapes), [&](const auto& e) { return e.first == c; });
    if (found == std::end(kEscapes)) {
      out += c;
    } else {
      out += found->second;
    }
  }
  return out;
}

std::string unescaped(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const auto* const found = std::find_if(std::begin(kEscapes), std::end(kEscapes),
                                           [&](const auto& e) { return text.starts_with(e.second); });
    out += found == std::end(kEscapes) ? text.front() : found->first;
    text.remove_prefix(found == std::end(kEscapes) ? 1 : found->second.size());
  }
  return out;
}

/// One line: a line break would change how readers split the description.
std::string one_line(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < ' '; }, ' ');
  return text;
}

}  // namespace

std::string pyramid_description(const PyramidOptions& options) {
  const Size<TargetPx> size = layout_of(options).padded_size;
  const std::string codec =
      options.codec == PyramidCodec::kJpeg ? fmt::format("JPEG/YCC Q={}", options.jpeg_quality) : "Deflate/RGB";
  const auto magnification = std::max(1L, std::lround(10.0 / options.mpp));
  std::string text = fmt::format(
      "Aperio Image Library v0 layout, synthetic image\n{0}x{1} [0,0 {0}x{1}] ({2}x{2}) {3}"
      "|AppMag = {4}|MPP = {5}|Generator = {6}|Virtual = 1"
      "|ContentWidth = {7}|ContentHeight = {8}",
      size.width, size.height, options.tile_px, codec, magnification, options.mpp, one_line(options.software),
      options.size.width, options.size.height);
  if (!options.description.empty()) text += "|" + one_line(options.description);
  return text;
}

std::string associated_description(std::string_view name, Size<TargetPx> size) {
  return fmt::format("Aperio Image Library v0 layout, synthetic image\n{} {}x{}", name, size.width, size.height);
}

std::string provenance_packet(std::string_view json) {
  return fmt::format(
      "<?xpacket begin=\"\xef\xbb\xbf\" id=\"W5M0MpCehiHzreSzNTczkc9d\"?>\n"
      "<x:xmpmeta xmlns:x=\"adobe:ns:meta/\"><rdf:RDF xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\">"
      "<rdf:Description rdf:about=\"\" "
      "xmlns:vt=\"urn:vtissue:provenance:1\">{}{}{}</rdf:Description></rdf:RDF></x:xmpmeta>\n"
      "<?xpacket end=\"r\"?>",
      kOpen, escaped(json), kClose);
}

std::string read_provenance(const std::filesystem::path& path) {
  ensure_image_libraries();
  std::error_code error;
  if (!std::filesystem::exists(path, error)) throw Error(ErrorCode::kBadInput, "{}: no such file", path.string());
  const std::unique_ptr<TIFF, void (*)(TIFF*)> tiff(TIFFOpen(path.c_str(), "rm"), TIFFClose);
  if (tiff == nullptr) return {};
  std::uint32_t bytes = 0;
  const char* packet = nullptr;
  if (TIFFGetField(tiff.get(), TIFFTAG_XMLPACKET, &bytes, &packet) != 1) return {};
  const std::string_view text(packet, bytes);
  const auto begin = text.find(kOpen), end = text.rfind(kClose);
  if (begin == std::string_view::npos || end == std::string_view::npos || end < begin + kOpen.size()) return {};
  return unescaped(text.substr(begin + kOpen.size(), end - begin - kOpen.size()));
}

}  // namespace vtissue::io
