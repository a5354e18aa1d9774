#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace vtissue::io {

/// A position as the file has it: QuPath's x, y in level-0 pixels.
struct GeoPoint {
  double x = 0;
  double y = 0;
  bool operator==(const GeoPoint&) const = default;
};

/// Closed: the last point is connected to the first and does not repeat it. At least three points.
using GeoRing = std::vector<GeoPoint>;

/// The first ring is the outline, the others are holes.
using GeoPolygon = std::vector<GeoRing>;

/// One object of a file: a QuPath annotation, a Feature of any other program, or a bare geometry.
struct GeoObject {
  std::size_t number = 0;  ///< in the file, from 1
  std::string name;        ///< properties.name
  /// classification: its "name", its "names" joined by ": " (QuPath 0.4 and later), or itself where it is a text.
  /// Empty: unclassified.
  std::string class_name;
  /// "annotation", "detection", "cell", "tile", "tma_core", …: properties.objectType, or what the object's "id" said up
  /// to QuPath 0.2 (PathAnnotationObject). Empty where the file does not say.
  std::string object_type;
  std::vector<GeoPolygon> polygons;
  std::size_t without_area = 0;  ///< points, lines and empty geometries, which have no area
  std::size_t open_rings = 0;    ///< whose last point was not the first; taken as closed
  std::size_t thin_rings = 0;    ///< of fewer than three points; left out
};

/// Hands the objects of a GeoJSON file to `take`, one after the other: a FeatureCollection, a Feature, a geometry, or
/// the bare array of Features that QuPath exports; Polygon, MultiPolygon and GeometryCollection. Plain or gzip by its
/// content. Holds one object at a time, whatever the size of the file. NaN and Infinity, which QuPath writes among
/// measurements, are passed over there. Returns how many objects there were.
///
/// Throws Error kBadInput that names the file, the object and the remedy: cut off, not JSON, not GeoJSON, a geometry of
/// an unknown type or nested otherwise than its type, a coordinate that is no number or beyond ±10^8.
std::size_t read_geojson(const std::filesystem::path& path, const std::function<void(GeoObject&&)>& take);

}  // namespace vtissue::io
