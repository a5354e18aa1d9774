#include "io/geojson.h"

#include <gmock/gmock.h>
#include <zlib.h>

#include <fstream>

#include "core/error.h"
#include "store_test_support.h"

namespace vtissue::io {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

constexpr const char* kSquare = R"([[[0,0],[10,0],[10,10],[0,10],[0,0]]])";

class GeoJsonTest : public testing::Test {
 protected:
  std::vector<GeoObject> read(const std::string& text) {
    const std::filesystem::path path = folder_ / "a.geojson";
    std::ofstream(path, std::ios::binary) << text;
    std::vector<GeoObject> objects;
    count_ = read_geojson(path, [&](GeoObject&& object) { objects.push_back(std::move(object)); });
    return objects;
  }

  std::string refusal(const std::string& text) {
    try {
      read(text);
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::kBadInput);
      EXPECT_THAT(e.what(), HasSubstr("a.geojson"));
      return e.what();
    }
    return "no error";
  }

  TemporaryFolder folder_;
  std::size_t count_ = 0;
};

std::string feature(const std::string& properties, const std::string& geometry = "") {
  return R"({"type":"Feature","properties":)" + properties + R"(,"geometry":)" +
         (geometry.empty() ? R"({"type":"Polygon","coordinates":)" + std::string(kSquare) + "}" : geometry) + "}";
}

TEST_F(GeoJsonTest, ReadsEveryOuterForm) {
  const std::string one = feature(R"({"objectType":"annotation","name":"left","classification":{"name":"Tumor"}})");
  const std::string geometry = R"({"coordinates":)" + std::string(kSquare) + R"(,"type":"Polygon"})";
  for (const std::string& text :
       {one, "[" + one + "]", R"({"features":[)" + one + R"(],"type":"FeatureCollection"})", "\xEF\xBB\xBF " + one}) {
    const auto objects = read(text);
    ASSERT_THAT(objects, SizeIs(1)) << text;
    EXPECT_EQ(count_, 1u);
    EXPECT_EQ(objects[0].number, 1u);
    EXPECT_EQ(objects[0].class_name, "Tumor");
    EXPECT_EQ(objects[0].name, "left");
    EXPECT_EQ(objects[0].object_type, "annotation");
    ASSERT_THAT(objects[0].polygons, SizeIs(1));
    EXPECT_THAT(objects[0].polygons[0],
                ElementsAre(ElementsAre(GeoPoint{0, 0}, GeoPoint{10, 0}, GeoPoint{10, 10}, GeoPoint{0, 10})));
    EXPECT_EQ(objects[0].open_rings + objects[0].thin_rings + objects[0].without_area, 0u);
  }
  EXPECT_THAT(read(geometry), SizeIs(1));
  EXPECT_THAT(read("[" + geometry + "," + geometry + "]"), SizeIs(2));
  EXPECT_THAT(read("[]"), SizeIs(0));
}

TEST_F(GeoJsonTest, ReadsEveryGeometry) {
  const std::string square = kSquare;
  const std::string with_hole = R"([[[0,0],[10,0],[10,10],[0,10],[0,0]],[[2,2],[2,4],[4,4],[2,2]]])";
  auto objects = read(feature("{}", R"({"type":"Polygon","coordinates":)" + with_hole + "}"));
  ASSERT_THAT(objects[0].polygons, SizeIs(1));
  EXPECT_THAT(objects[0].polygons[0], ElementsAre(SizeIs(4), SizeIs(3)));
  objects = read(feature("{}", R"({"type":"MultiPolygon","coordinates":[)" + with_hole + "," + square + "]}"));
  EXPECT_THAT(objects[0].polygons, ElementsAre(SizeIs(2), SizeIs(1)));
  objects = read(feature("null", R"({"type":"GeometryCollection","geometries":[{"type":"Point","coordinates":[1,2]},
    {"type":"Polygon","coordinates":)" +
                                     square + R"(},{"type":"LineString","coordinates":[[0,0],[5,5]]}]})"));
  EXPECT_THAT(objects[0].polygons, SizeIs(1));
  EXPECT_EQ(objects[0].without_area, 2u);
  objects = read(R"({"type":"GeometryCollection","geometries":[{"type":"Polygon","coordinates":)" + square + "}]}");
  EXPECT_THAT(objects[0].polygons, SizeIs(1));
  for (const char* none :
       {R"({"type":"Point","coordinates":[1,2]})", R"({"type":"MultiPoint","coordinates":[[1,2],[3,4]]})",
        R"({"type":"MultiLineString","coordinates":[[[1,2],[3,4]]]})", "null",
        R"({"type":"Polygon","coordinates":[]})"}) {
    objects = read(feature("{}", none));
    EXPECT_THAT(objects[0].polygons, SizeIs(0)) << none;
    EXPECT_EQ(objects[0].without_area, 1u) << none;
  }
  // Heights are passed over; so are a cell's nucleus and the plane.
  objects =
      read(R"({"type":"Feature","nucleusGeometry":{"type":"Polygon","coordinates":[[1]]},"geometry":{"type":"Polygon",
    "plane":{"c":-1,"z":0,"t":0},"coordinates":[[[0,0,7],[4,0,7],[4,4,7]]]}})");
  EXPECT_THAT(objects[0].polygons, ElementsAre(ElementsAre(SizeIs(3))));
  EXPECT_EQ(objects[0].open_rings, 1u);
}

TEST_F(GeoJsonTest, ReadsClassesOfEveryVersion) {
  const auto class_of = [&](const std::string& properties) { return read(feature(properties))[0].class_name; };
  EXPECT_EQ(class_of(R"({"classification":{"name":"Tumor: Positive","colorRGB":-3670016}})"), "Tumor: Positive");
  EXPECT_EQ(class_of(R"({"classification":{"names":["Tumor","Positive"],"color":[200,0,0]}})"), "Tumor: Positive");
  EXPECT_EQ(class_of(R"({"classification":"Stroma"})"), "Stroma");
  EXPECT_EQ(class_of(R"({"classification":null})"), "");
  EXPECT_EQ(class_of(R"({"measurements":[{"name":"Area","value":3}],"other":{"classification":{"name":"x"}}})"), "");
  EXPECT_EQ(read(R"({"type":"Feature","id":"PathDetectionObject","geometry":null})")[0].object_type, "detection");
  EXPECT_EQ(read(R"({"type":"Feature","id":"PathAnnotationObject","geometry":null})")[0].object_type, "annotation");
  EXPECT_EQ(read(feature(R"({"object_type":"tile"})"))[0].object_type, "tile");
  // The order of the keys and each object on its own.
  const auto objects = read("[" + feature(R"({"classification":{"name":"A"}})") + "," + feature("{}") + "]");
  EXPECT_EQ(objects[0].class_name, "A");
  EXPECT_EQ(objects[1].class_name, "");
  EXPECT_EQ(objects[1].number, 2u);
}

TEST_F(GeoJsonTest, PassesOverNaNAmongMeasurementsButNotInTexts) {
  const auto objects = read(
      "[" + feature(R"({"measurements":{"a":NaN,"b":-Infinity,"c":Infinity,"d":-3.5},"name":"NaN \" -Infinity"})") +
      "]");
  EXPECT_EQ(objects[0].name, "NaN \" -Infinity");
  EXPECT_THAT(objects[0].polygons, SizeIs(1));
}

TEST_F(GeoJsonTest, ReadsGzipAndFilesLargerThanItsBuffer) {
  std::string text = "[";
  for (int i = 0; i < 4000; ++i) {
    text += (i ? "," : "") +
            feature(R"({"measurements":{"x":NaN},"classification":{"name":"c)" + std::to_string(i % 7) + "\"}}");
  }
  text += "]";
  const std::filesystem::path path = folder_ / "a.geojson.gz";
  gzFile file = gzopen(path.c_str(), "wb");
  gzwrite(file, text.data(), static_cast<unsigned>(text.size()));
  gzclose(file);
  std::size_t areas = 0;
  EXPECT_EQ(read_geojson(path, [&](GeoObject&& object) { areas += object.polygons.size(); }), 4000u);
  EXPECT_EQ(areas, 4000u);
  EXPECT_THAT(read(text), SizeIs(4000));

  std::filesystem::resize_file(path, std::filesystem::file_size(path) / 2);
  EXPECT_THROW(read_geojson(path, [](GeoObject&&) {}), Error);
}

TEST_F(GeoJsonTest, RepairsAreCounted) {
  auto objects = read(feature("{}", R"({"type":"Polygon","coordinates":[[[0,0],[10,0],[10,10]]]})"));
  EXPECT_EQ(objects[0].open_rings, 1u);
  EXPECT_THAT(objects[0].polygons, ElementsAre(ElementsAre(SizeIs(3))));
  objects = read(feature("{}", R"({"type":"Polygon","coordinates":[[[0,0],[10,0],[0,0]]]})"));
  EXPECT_EQ(objects[0].thin_rings, 1u);
  EXPECT_THAT(objects[0].polygons, SizeIs(0));
  // A hole that is thin goes alone.
  objects = read(feature("{}", R"({"type":"Polygon","coordinates":[[[0,0],[9,0],[9,9],[0,0]],[[1,1],[2,2],[1,1]]]})"));
  EXPECT_EQ(objects[0].thin_rings, 1u);
  EXPECT_THAT(objects[0].polygons, ElementsAre(SizeIs(1)));
}

struct BrokenGeoJson {
  const char* name;
  std::string text;
  const char* message;
};

class BrokenGeoJsonTest : public GeoJsonTest, public testing::WithParamInterface<BrokenGeoJson> {};

TEST_P(BrokenGeoJsonTest, IsRefusedWithItsReason) {
  EXPECT_THAT(refusal(GetParam().text), HasSubstr(GetParam().message));
}

std::string polygon(const std::string& coordinates) {
  return R"({"type":"Polygon","coordinates":)" + coordinates + "}";
}

INSTANTIATE_TEST_SUITE_P(
    Files, BrokenGeoJsonTest,
    testing::Values(
        BrokenGeoJson{"Empty", "", "the file is empty"}, BrokenGeoJson{"Blank", " \n", "ends before the JSON does"},
        BrokenGeoJson{"Cut", "[" + feature("{}") + R"(,{"type":"Fea)", "object 2: the file ends before the JSON does"},
        BrokenGeoJson{"CutInText", R"([{"type":"Fea)", "object 1: the file ends before the JSON does"},
        BrokenGeoJson{"NotJson", "Tumor,1,2", "not JSON near byte"},
        BrokenGeoJson{"TrailingText", feature("{}") + "x", "not JSON near byte"},
        BrokenGeoJson{"Nul", feature("{}") + std::string(1, '\0'), "a NUL byte"},
        BrokenGeoJson{"Number", "17", "nothing but a number"}, BrokenGeoJson{"Null", "null", "nothing but null"},
        BrokenGeoJson{"AnotherObject", R"({"images":[]})", "it has no \"type\""},
        BrokenGeoJson{"Topology", R"({"type":"Topology"})", "of type 'Topology'"},
        BrokenGeoJson{"NoFeatures", R"({"type":"FeatureCollection"})", "without \"features\""},
        BrokenGeoJson{"FeaturesTwice", R"({"type":"FeatureCollection","features":[],"features":[]})", "occurs twice"},
        BrokenGeoJson{"ItemIsNumber", "[" + feature("{}") + ",3]", "object 2 is a number"},
        BrokenGeoJson{"ItemIsList", "[[1,2]]", "object 1 is an array"},
        BrokenGeoJson{"UnknownGeometry", R"({"type":"Feature","geometry":{"type":"Circle","coordinates":[1,2]}})",
                      "object 1: a geometry of type 'Circle'"},
        BrokenGeoJson{"NoGeometryType", R"({"type":"Feature","geometry":{"coordinates":[1,2]}})", "without \"type\""},
        BrokenGeoJson{"NoCoordinates", R"({"type":"Polygon"})", "of type 'Polygon'"},
        BrokenGeoJson{"CoordinatesText", R"({"type":"Feature","geometry":{"type":"Polygon","coordinates":"0 0"}})",
                      "a Polygon without \"coordinates\""},
        BrokenGeoJson{"CoordinatesTwice", R"({"type":"Polygon","coordinates":[],"coordinates":[]})", "occurs twice"},
        BrokenGeoJson{"TooFlat", polygon("[[0,0],[1,0],[1,1]]"), "nested 2 deep, expected 3"},
        BrokenGeoJson{"TooDeep", polygon("[[[[0,0],[1,0],[1,1]]]]"), "nested 4 deep, expected 3"},
        BrokenGeoJson{"FarTooDeep", polygon("[[[[[0]]]]]"), "over 4 deep"},
        BrokenGeoJson{"MixedDepth", polygon("[[[0,0],[1,0],[[1,1]]]]"), "different depths"},
        BrokenGeoJson{"MixedDepthBack", polygon("[[[0,0],[1,0],3]]"), "different depths"},
        BrokenGeoJson{"ArrayInPosition", polygon("[[[0,[1]]]]"), "a position holds an array"},
        BrokenGeoJson{"OneNumber", polygon("[[[0],[1,2]]]"), "a position has one number"},
        BrokenGeoJson{"TextCoordinate", polygon(R"([[[0,"1"]]])"), "a coordinate is a text"},
        BrokenGeoJson{"ObjectCoordinate", polygon(R"([[{"x":0}]])"), "the coordinates hold an object"},
        BrokenGeoJson{"NaN", polygon("[[[0,NaN],[1,1],[2,2]]]"), "a coordinate is null (NaN"},
        BrokenGeoJson{"Infinity", polygon("[[[0,-Infinity],[1,1],[2,2]]]"), "a coordinate is null (NaN"},
        BrokenGeoJson{"Huge", polygon("[[[0,1e300],[1,1],[2,2]]]"), "wider than any slide"},
        BrokenGeoJson{"Overflow", polygon("[[[0,1e999],[1,1],[2,2]]]"), "number overflow"},
        BrokenGeoJson{"HugeInteger", polygon("[[[0,123456789012345678901234567890],[1,1],[2,2]]]"), "wider than any"}),
    [](const auto& test) { return test.param.name; });

TEST_F(GeoJsonTest, DeepNestingCostsNoStack) {
  const std::string open(200000, '['), close(200000, ']');
  EXPECT_THAT(read(R"({"type":"Feature","properties":{"a":)" + open + close + R"(},"geometry":null})"), SizeIs(1));
  EXPECT_THAT(refusal(open), HasSubstr("object 1 is an array"));
}

}  // namespace
}  // namespace vtissue::io
