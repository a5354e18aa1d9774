// Annotations: the reader of GeoJSON, plain or gzip, and the filling of what it gives.

#include "io/geojson.h"

#include <cmath>
#include <cstdlib>

#include "stages/tile/polygon_fill.h"
#include "tests/fuzz/fuzz_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace vtissue;
  const FuzzFile file({data, size});
  stages::BinaryImage mask{{64, 48}, std::vector<std::uint8_t>(64 * 48)};
  std::size_t number = 0;
  fuzz_input([&] {
    io::read_geojson(file.path(), [&](io::GeoObject&& object) {
      if (object.number != ++number) std::abort();
      for (const io::GeoPolygon& polygon : object.polygons) {
        for (const io::GeoRing& ring : polygon) {
          if (ring.size() < 3) std::abort();
          for (const io::GeoPoint& point : ring) {
            if (!std::isfinite(point.x) || !std::isfinite(point.y)) std::abort();
          }
        }
        stages::fill_polygon(mask, polygon, {.downsample = 3, .origin_x = -7, .origin_y = 0});
      }
    });
  });
  for (const std::uint8_t pixel : mask.pixels) {
    if (pixel > 1) std::abort();
  }
  return 0;
}
