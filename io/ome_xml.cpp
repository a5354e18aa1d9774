#include "io/ome_xml.h"

#include <optional>
#include <string>
#include <utility>

#include "core/error.h"

namespace vtissue::io {
namespace {

/// The value of an attribute in a start tag, entities left as they are.
std::optional<std::string_view> attribute_of(std::string_view tag, std::string_view name) {
  for (std::size_t at = tag.find(name); at != std::string_view::npos; at = tag.find(name, at + 1)) {
    const bool is_whole = at > 0 && (tag[at - 1] == ' ' || tag[at - 1] == '\n' || tag[at - 1] == '\t') &&
                          at + name.size() < tag.size() && tag[at + name.size()] == '=';
    if (!is_whole || at + name.size() + 1 >= tag.size()) continue;
    const char quote = tag[at + name.size() + 1];
    if (quote != '"' && quote != '\'') continue;
    const std::size_t begin = at + name.size() + 2, end = tag.find(quote, begin);
    if (end == std::string_view::npos) return std::nullopt;
    return tag.substr(begin, end - begin);
  }
  return std::nullopt;
}

/// µm in a unit of OME's; 0 for a unit that is no length.
double micrometres(std::string_view unit) {
  constexpr std::pair<std::string_view, double> kUnits[] = {
      {"\u00b5m", 1}, {"\u03bcm", 1}, {"um", 1},      {"nm", 1e-3},   {"mm", 1e3},   {"cm", 1e4},
      {"m", 1e6},     {"in", 25400},  {"&#181;m", 1}, {"&#xB5;m", 1}, {"&#xb5;m", 1}};
  for (const auto& [name, value] : kUnits) {
    if (unit == name) return value;
  }
  return 0;
}

/// Start of the next tag of this name, with or without a namespace, at or after `at`.
std::size_t next_tag(std::string_view xml, std::string_view name, std::size_t at) {
  for (at = xml.find(name, at); at != std::string_view::npos; at = xml.find(name, at + 1)) {
    const std::size_t end = at + name.size();
    const bool begins = at > 0 && (xml[at - 1] == '<' || xml[at - 1] == ':');
    if (begins && end < xml.size() && std::string_view(" \n\t\r/>").find(xml[end]) != std::string_view::npos) return at;
  }
  return std::string_view::npos;
}

}  // namespace

std::vector<OmeImage> ome_images(std::string_view xml) {
  std::vector<OmeImage> images;
  if (xml.find("<OME") == std::string_view::npos && xml.find(":OME") == std::string_view::npos) return images;
  for (std::size_t at = next_tag(xml, "Image", 0); at != std::string_view::npos;) {
    // An end tag </Image> or </ome:Image> begins with a slash, which the name's neighbour shows.
    const std::size_t next = next_tag(xml, "Image", at + 1);
    const std::string_view image = xml.substr(at, next == std::string_view::npos ? next : next - at);
    at = next;
    const std::size_t bracket = xml.rfind('<', static_cast<std::size_t>(image.data() - xml.data()));
    if (bracket != std::string_view::npos && xml[bracket + 1] == '/') continue;
    const std::size_t data = next_tag(image, "TiffData", 0);
    if (data == std::string_view::npos) continue;
    const std::string_view tag = image.substr(data, image.find('>', data) - data);
    const std::string_view rest = image.substr(data);
    if (next_tag(rest.substr(0, rest.find("TiffData", 1)), "UUID", 0) != std::string_view::npos) continue;
    const auto directory = parse_property_number(attribute_of(tag, "IFD").value_or("0"));
    if (!directory || *directory < 0 || *directory > 65535) continue;
    const std::string_view head = image.substr(0, image.find('>'));
    images.push_back({std::string(attribute_of(head, "Name").value_or("")), static_cast<int>(*directory)});
  }
  return images;
}

SlideProperties ome_properties(std::string_view xml) {
  SlideProperties properties;
  if (xml.find("<OME") == std::string_view::npos && xml.find(":OME") == std::string_view::npos) return properties;
  std::size_t at = xml.find("Pixels ");
  while (at != std::string_view::npos && (at == 0 || (xml[at - 1] != '<' && xml[at - 1] != ':')))
    at = xml.find("Pixels ", at + 1);
  if (at == std::string_view::npos) return properties;
  const std::string_view tag = xml.substr(at, xml.find('>', at) - at);
  for (const std::string_view axis : {"PhysicalSizeX", "PhysicalSizeY"}) {
    const auto text = attribute_of(tag, axis);
    const auto value = text ? parse_property_number(*text) : std::nullopt;
    const double unit = micrometres(attribute_of(tag, std::string(axis) + "Unit").value_or("um"));
    if (value && unit > 0) properties["ome." + std::string(axis)] = fmt::format("{}", *value * unit);
  }
  return properties;
}

}  // namespace vtissue::io
