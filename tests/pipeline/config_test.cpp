#include "pipeline/config.h"

#include <gmock/gmock.h>

#include "fixtures.h"

namespace vtissue::pipeline {
namespace {

namespace fs = std::filesystem;
using testing::expect_error;
using ::testing::HasSubstr;
using testing::ScratchFolder;
using testing::spill;
using ::testing::StartsWith;

ConfigSchema make_schema() {
  ConfigSchema schema;
  schema.add({{"seed", ValueType::kInteger, 0, "Seed of the noise", 0},
              {"tile.size_px", ValueType::kInteger, 128, "Side of a tile in px", 16, 1024},
              {"tile.mpp", ValueType::kNumber, 0.7, "µm per px", 0.01, 100},
              {"tile.mask", ValueType::kPath, nullptr, "Tissue mask"},
              {"tile.skip_blank", ValueType::kBool, true, "Leave blank tiles out"},
              {"synthesize.mode",
               ValueType::kString,
               "shifted",
               "How windows lie",
               {},
               {},
               {"shifted", "overlap", "independent"}},
              {"synthesize.weights", ValueType::kPath, "weights/demo", "Folder of the model"},
              {"synthesize.note", ValueType::kString, nullptr, "Free | text"},
              {"synthesize.guidance", ValueType::kNumberList, nlohmann::json::array({1.5, 2}), "Scales", 0},
              {"express.genes", ValueType::kStringList, nlohmann::json::array(), "Genes"}});
  return schema;
}

class ConfigTest : public ::testing::Test {
 protected:
  Config load(std::string_view yaml) const {
    spill(file_, yaml);
    return Config::load(file_, schema_);
  }
  /// The message after "<file>:".
  std::string refusal(std::string_view yaml) const {
    const Error error = expect_error([&] { load(yaml); });
    EXPECT_EQ(error.code(), ErrorCode::kUsage);
    EXPECT_THAT(error.what(), StartsWith(file_.string() + ":"));
    return std::string(error.what()).substr(file_.string().size() + 1);
  }

  ScratchFolder scratch_;
  fs::path file_ = scratch_ / "run.yaml";
  ConfigSchema schema_ = make_schema();
};

TEST_F(ConfigTest, ReadsEveryTypeAndKeepsDefaults) {
  const Config config = load(R"(
# a comment
seed: 7
tile:
  size_px: 256
  mpp: 1
  skip_blank: false
synthesize:
  mode: overlap
  note: "3"
  guidance: [1, 2.5]
express: {genes: [MITF, CD8A]}
)");
  EXPECT_EQ(config.get<int>("seed"), 7);
  EXPECT_EQ(config.get<int>("tile.size_px"), 256);
  EXPECT_EQ(config.get<double>("tile.mpp"), 1.0);
  EXPECT_FALSE(config.get<bool>("tile.skip_blank"));
  EXPECT_EQ(config.get<std::string>("synthesize.mode"), "overlap");
  EXPECT_EQ(config.get<std::string>("synthesize.note"), "3");
  EXPECT_EQ(config.get<std::vector<double>>("synthesize.guidance"), (std::vector<double>{1, 2.5}));
  EXPECT_EQ(config.get<std::vector<std::string>>("express.genes"), (std::vector<std::string>{"MITF", "CD8A"}));
  EXPECT_EQ(config.get<fs::path>("synthesize.weights"), "weights/demo");
  EXPECT_FALSE(config.has("tile.mask"));
  EXPECT_EQ(config.get_optional<std::string>("tile.mask"), std::nullopt);
}

TEST_F(ConfigTest, EmptyFilesAndSectionsMeanDefaults) {
  for (const std::string_view yaml : {"", "# nothing\n", "tile:\n", "---\n"}) {
    EXPECT_EQ(load(yaml).resolved(), Config::defaults(schema_).resolved()) << yaml;
  }
}

TEST_F(ConfigTest, PathsAreRelativeToTheFile) {
  Config config = load("tile: {mask: masks/../m.png}\nsynthesize: {weights: /abs/w}\n");
  EXPECT_EQ(config.get<std::string>("tile.mask"), (scratch_ / "m.png").string());
  EXPECT_EQ(config.get<std::string>("synthesize.weights"), "/abs/w");
  EXPECT_EQ(load("synthesize: {weights: \"\"}\n").get<std::string>("synthesize.weights"), "");
  EXPECT_FALSE(load("synthesize: {weights: null}\n").has("synthesize.weights"));
  EXPECT_FALSE(load("synthesize:\n  weights:\n").has("synthesize.weights"));
  config.set("tile.mask=here: #1.png");
  EXPECT_EQ(config.get<std::string>("tile.mask"), "here: #1.png");
  config.set("tile.mask=null");
  EXPECT_FALSE(config.has("tile.mask"));
}

TEST_F(ConfigTest, NamesFileLineKeyValueAndWhatIsExpected) {
  EXPECT_EQ(refusal("tile:\n  size_px: big\n"),
            "2: tile.size_px: 'big' is not usable; expected an integer from 16 to 1024");
  EXPECT_EQ(refusal("tile:\n\n  size_px: 1.5\n"),
            "3: tile.size_px: '1.5' is not usable; expected an integer from 16 to 1024");
  EXPECT_EQ(refusal("tile: {size_px: \"128\"}"),
            "1: tile.size_px: '128' is not usable; expected an integer from 16 to 1024");
  EXPECT_EQ(refusal("seed: 99999999999999999999"),
            "1: seed: '99999999999999999999' is not usable; expected an integer of at least 0");
  EXPECT_EQ(refusal("tile: {size_px: }"),
            "1: tile.size_px: nothing is not usable; expected an integer from 16 to 1024");
  EXPECT_EQ(refusal("tile: {mpp: .nan}"), "1: tile.mpp: '.nan' is not usable; expected a number from 0.01 to 100");
  EXPECT_EQ(refusal("tile: {mpp: [1]}"), "1: tile.mpp: a list is not usable; expected a number from 0.01 to 100");
  EXPECT_EQ(refusal("tile: {skip_blank: 1}"), "1: tile.skip_blank: '1' is not usable; expected true or false");
  EXPECT_EQ(refusal("synthesize: {note: {a: b}}"),
            "1: synthesize.note: a section is not usable; expected a text, or null");
  EXPECT_EQ(refusal("synthesize: {guidance: 3}"),
            "1: synthesize.guidance: '3' is not usable; expected a list of numbers of at least 0");
  EXPECT_EQ(refusal("synthesize: {guidance: [1, x]}"),
            "1: synthesize.guidance: 'x' is not usable; expected a list of numbers of at least 0");
}

TEST_F(ConfigTest, ChecksRangesAndChoices) {
  EXPECT_EQ(refusal("tile:\n  size_px: 8\n"),
            "2: tile.size_px: 8 is out of range; expected an integer from 16 to 1024");
  EXPECT_EQ(refusal("tile:\n  size_px: 1025\n"),
            "2: tile.size_px: 1025 is out of range; expected an integer from 16 to 1024");
  EXPECT_EQ(refusal("synthesize: {guidance: [-1]}"),
            "1: synthesize.guidance: -1.0 is out of range; expected a list of numbers of at least 0");
  EXPECT_EQ(refusal("synthesize: {mode: shiftd}"),
            "1: synthesize.mode: 'shiftd' is not a choice; did you mean 'shifted'? Expected one of: shifted, overlap, "
            "independent");
  EXPECT_NO_THROW(load("tile: {size_px: 16}"));
  EXPECT_NO_THROW(load("tile: {size_px: 1024}"));
}

TEST_F(ConfigTest, SuggestsTheNearestKnownKey) {
  EXPECT_EQ(refusal("tile:\n  sizepx: 8\n"), "2: unknown key 'tile.sizepx'; did you mean 'tile.size_px'?");
  EXPECT_EQ(refusal("size_px: 8\n"), "1: unknown key 'size_px'; did you mean 'tile.size_px'?");
  EXPECT_EQ(refusal("tiles:\n  mpp: 1\n"), "1: unknown section 'tiles'; did you mean 'tile.mpp'?");
  EXPECT_EQ(refusal("sead: 1"), "1: unknown key 'sead'; did you mean 'seed'?");
}

TEST_F(ConfigTest, RefusesWhatIsGivenTwice) {
  EXPECT_EQ(refusal("seed: 1\ntile: {}\nseed: 1\n"), "3: 'seed' is already in line 1; keep one");
  EXPECT_EQ(refusal("tile: {mpp: 1}\ntile: {size_px: 64}\n"), "2: 'tile' is already in line 1; keep one");
  EXPECT_EQ(refusal("tile: {mpp: 1}\ntile.mpp: 2\n"), "2: 'tile.mpp' is given twice; keep one");
}

TEST_F(ConfigTest, RefusesWhatIsNoConfiguration) {
  EXPECT_THAT(refusal("tile: [1\nseed: 2\n"), HasSubstr("not YAML"));
  EXPECT_EQ(refusal("- 1\n- 2\n"), "1: expected sections of 'key: value' lines");
  EXPECT_EQ(refusal("tile: 3\n"), "1: 'tile' is a section; expected keys below it");
  EXPECT_EQ(refusal("[a]: 3\n"), "1: a key must be a text");
  EXPECT_THAT(expect_error([&] { Config::load(scratch_ / "none.yaml", schema_); }).what(),
              HasSubstr("none.yaml: cannot be read: No such file"));
  EXPECT_THAT(expect_error([&] { Config::load(scratch_.path(), schema_); }).what(), HasSubstr("cannot be read"));
}

TEST_F(ConfigTest, SetsFromTheCommandLine) {
  Config config = Config::defaults(schema_);
  config.set("tile.size_px=64");
  config.set("synthesize.guidance=[0, 3]");
  config.set("synthesize.note=a=b");
  config.set("express.genes=[MITF]");
  EXPECT_EQ(config.get<int>("tile.size_px"), 64);
  EXPECT_EQ(config.get<std::string>("synthesize.note"), "a=b");
  EXPECT_EQ(config.get<std::vector<std::string>>("express.genes"), (std::vector<std::string>{"MITF"}));
  const auto refused = [&](std::string_view assignment) {
    const Error error = expect_error([&] { config.set(assignment); });
    EXPECT_EQ(error.code(), ErrorCode::kUsage);
    return std::string(error.what());
  };
  EXPECT_EQ(refused("tile.size_px"), "--set tile.size_px: expected KEY=VALUE, as in --set tile.size_px=256");
  EXPECT_EQ(refused("tile.sise_px=3"),
            "--set tile.sise_px=3: unknown key 'tile.sise_px'; did you mean 'tile.size_px'?");
  EXPECT_EQ(refused("tile.size_px=x"),
            "--set tile.size_px=x: tile.size_px: 'x' is not usable; expected an integer from 16 to 1024");
  EXPECT_THAT(refused("express.genes=[a"), HasSubstr("not YAML"));
}

TEST_F(ConfigTest, SetsValuesOfTheRightType) {
  Config config = Config::defaults(schema_);
  config.set_value("tile.mpp", 2);
  EXPECT_EQ(config.resolved().at("tile").at("mpp").dump(), "2.0");  // one spelling, one fingerprint
  EXPECT_EQ(load("tile: {mpp: 2}").resolved(), config.resolved());
  EXPECT_EQ(expect_error([&] { config.set_value("tile.mpp", "2"); }).code(), ErrorCode::kUsage);
  EXPECT_EQ(expect_error([&] { config.set_value("tile.size_px", 1); }).code(), ErrorCode::kUsage);
  EXPECT_EQ(expect_error([&] { config.set_value("tile.x", 1); }).code(), ErrorCode::kUsage);
  EXPECT_THROW(config.get<int>("tile.x"), std::logic_error);
}

TEST_F(ConfigTest, ResolvedIsNestedAndComplete) {
  const nlohmann::json resolved = load("tile: {size_px: 64}").resolved();
  EXPECT_EQ(resolved.at("tile").at("size_px"), 64);
  EXPECT_EQ(resolved.at("tile").at("mask"), nullptr);
  EXPECT_EQ(resolved.at("seed"), 0);
  EXPECT_EQ(resolved.size(), 4u);
}

TEST(ConfigSchema, RefusesContradictoryDeclarations) {
  ConfigSchema schema;
  schema.add({"tile.size_px", ValueType::kInteger, 128, "", 16});
  EXPECT_THROW(schema.add({"tile.size_px", ValueType::kInteger, 128, ""}), std::logic_error);
  EXPECT_THROW(schema.add({"tile", ValueType::kInteger, 128, ""}), std::logic_error);
  EXPECT_THROW(schema.add({"tile.size_px.x", ValueType::kInteger, 128, ""}), std::logic_error);
  EXPECT_THROW(schema.add({"tile.a", ValueType::kInteger, "x", ""}), std::logic_error);
  EXPECT_THROW(schema.add({"tile.a", ValueType::kInteger, 1, "", 16}), std::logic_error);
  EXPECT_THROW(schema.add({"tile.a", ValueType::kString, "x", "", {}, {}, {"y"}}), std::logic_error);
}

TEST(ConfigSchema, DocumentsItselfBySection) {
  EXPECT_EQ(make_schema().to_markdown(), R"(## General

| key | type | default | range | description |
|---|---|---|---|---|
| `seed` | integer | `0` | at least 0 | Seed of the noise |

## tile

| key | type | default | range | description |
|---|---|---|---|---|
| `tile.size_px` | integer | `128` | 16 to 1024 | Side of a tile in px |
| `tile.mpp` | number | `0.7` | 0.01 to 100 | µm per px |
| `tile.mask` | path | not set |  | Tissue mask |
| `tile.skip_blank` | bool | `true` |  | Leave blank tiles out |

## synthesize

| key | type | default | range | description |
|---|---|---|---|---|
| `synthesize.mode` | text | `shifted` | shifted, overlap, independent | How windows lie |
| `synthesize.weights` | path | `weights/demo` |  | Folder of the model |
| `synthesize.note` | text | not set |  | Free \| text |
| `synthesize.guidance` | list of numbers | `[1.5,2.0]` | at least 0 | Scales |

## express

| key | type | default | range | description |
|---|---|---|---|---|
| `express.genes` | list of texts | `[]` |  | Genes |
)");
}

}  // namespace
}  // namespace vtissue::pipeline
