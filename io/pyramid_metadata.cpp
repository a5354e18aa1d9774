#include "io/pyramid_metadata.h"

#include <tiffio.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>
#include <vector>

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

/// For XML's attributes.
std::string xml_attribute(std::string_view text) {
  std::string out;
  for (const char c : escaped(text)) out += c == '"' ? std::string("&quot;") : std::string(1, c);
  return out;
}

/// One line: a line break would change how readers split the description.
std::string one_line(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < ' '; }, ' ');
  return text;
}

std::string codec_words(const PyramidOptions& options) {
  switch (options.codec) {
    case PyramidCodec::kJpeg:
      return fmt::format("JPEG/YCC Q={}", options.quality);
    case PyramidCodec::kJpeg2000:
      return fmt::format("J2K/RGB Q={}", options.quality);
    case PyramidCodec::kLzw:
      return "LZW/RGB";
    case PyramidCodec::kDeflate:
      return "Deflate/RGB";
    case PyramidCodec::kZstd:
      break;
  }
  return "Zstd/RGB";
}

/// What every profile says of the slide, in this order.
std::vector<std::pair<std::string, std::string>> description_items(const PyramidOptions& options) {
  std::vector<std::pair<std::string, std::string>> items = {{"Generator", one_line(options.software)},
                                                            {"Virtual", "1"},
                                                            {"ContentWidth", fmt::format("{}", options.size.width)},
                                                            {"ContentHeight", fmt::format("{}", options.size.height)}};
  constexpr std::string_view kIs = " = ";
  const std::string further = one_line(options.description);
  for (std::size_t begin = 0; begin < further.size();) {
    const std::size_t end = std::min(further.find('|', begin), further.size());
    const std::string piece = further.substr(begin, end - begin);
    const std::size_t is = piece.find(kIs);
    if (is != std::string::npos) items.emplace_back(piece.substr(0, is), piece.substr(is + kIs.size()));
    begin = end + 1;
  }
  return items;
}

/// `mpp` 0: without a scale.
std::string ome_image(std::size_t index, std::string_view name, Size<TargetPx> size, double mpp) {
  const std::string scale = mpp == 0 ? ""
                                     : fmt::format(
                                           " PhysicalSizeX=\"{0}\" PhysicalSizeXUnit=\"\u00b5m\" PhysicalSizeY=\"{0}\" "
                                           "PhysicalSizeYUnit=\"\u00b5m\"",
                                           mpp);
  return fmt::format(
      " <Image ID=\"Image:{0}\" Name=\"{1}\">\n"
      "  <Description>Synthetic image, not for diagnosis</Description>\n"
      "  <Pixels ID=\"Pixels:{0}\" DimensionOrder=\"XYCZT\" Type=\"uint8\" SizeX=\"{2}\" SizeY=\"{3}\" SizeZ=\"1\" "
      "SizeC=\"3\" SizeT=\"1\"{4} Interleaved=\"true\" BigEndian=\"false\">\n"
      "   <Channel ID=\"Channel:{0}:0\" SamplesPerPixel=\"3\"/>\n"
      "   <TiffData IFD=\"{0}\" PlaneCount=\"1\"/>\n"
      "  </Pixels>\n{5} </Image>\n",
      index, xml_attribute(name), size.width, size.height, scale,
      index == 0 ? "  <AnnotationRef ID=\"Annotation:0\"/>\n" : "");
}

}  // namespace

std::string pyramid_description(const PyramidOptions& options) {
  const Size<TargetPx> size = layout_of(options).padded_size;
  std::string text = fmt::format(
      "Aperio Image Library v0 layout, synthetic image\n{0}x{1} [0,0 {0}x{1}] ({2}x{2}) {3}"
      "|AppMag = {4}|MPP = {5}",
      size.width, size.height, options.tile_px, codec_words(options), std::max(1L, std::lround(10.0 / options.mpp)),
      options.mpp);
  for (const auto& [key, value] : description_items(options)) text += fmt::format("|{} = {}", key, value);
  return text;
}

std::string generic_description(const PyramidOptions& options) {
  nlohmann::ordered_json text;
  for (const auto& [key, value] : description_items(options)) text[key] = value;
  text["MPP"] = options.mpp;
  if (!options.provenance_json.empty()) {
    const auto provenance = nlohmann::ordered_json::parse(options.provenance_json, nullptr, /*allow_exceptions=*/false);
    text["Provenance"] = provenance.is_discarded() ? nlohmann::ordered_json(options.provenance_json) : provenance;
  }
  return text.dump();
}

std::string ome_xml(const PyramidOptions& options, std::span<const OmePicture> pictures) {
  const Size<TargetPx> size = layout_of(options).padded_size;
  std::string text =
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
      "<OME xmlns=\"http://www.openmicroscopy.org/Schemas/OME/2016-06\" "
      "xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" "
      "xsi:schemaLocation=\"http://www.openmicroscopy.org/Schemas/OME/2016-06 "
      "http://www.openmicroscopy.org/Schemas/OME/2016-06/ome.xsd\"";
  text += fmt::format(" Creator=\"{}\">\n", xml_attribute(one_line(options.software)));
  text += ome_image(0, "synthetic slide", size, options.mpp);
  for (std::size_t i = 0; i < pictures.size(); ++i) text += ome_image(i + 1, pictures[i].name, pictures[i].size, 0);
  text +=
      " <StructuredAnnotations>\n  <MapAnnotation ID=\"Annotation:0\" Namespace=\"urn:vtissue:provenance:1\">\n"
      "   <Value>\n";
  const auto item = [&](std::string_view key, std::string_view value) {
    text += fmt::format("    <M K=\"{}\">{}</M>\n", xml_attribute(key), escaped(value));
  };
  for (const auto& [key, value] : description_items(options)) item(key, value);
  if (!options.provenance_json.empty()) item("Provenance", options.provenance_json);
  return text + "   </Value>\n  </MapAnnotation>\n </StructuredAnnotations>\n</OME>\n";
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
