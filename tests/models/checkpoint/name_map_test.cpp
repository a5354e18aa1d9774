#include "models/checkpoint/name_map.h"

#include "models/stmdit/checkpoint.h"
#include "tests/models/golden.h"

namespace vtissue::models {
namespace {

TEST(NameMap, RowsAreReadInBothDirections) {
  const NameMap map({{"b.*.q.", "a.*.qkv.", 0, 2}, {"b.*.k.", "a.*.qkv.", 1, 2}, {"x", "y"}}, {"head."});
  EXPECT_EQ(map.to_file("b.7.k.weight").file, "a.7.qkv.weight");
  EXPECT_EQ(map.to_file("b.7.k.weight").part, 1);
  EXPECT_EQ(map.to_file("x").file, "y");
  EXPECT_EQ(map.to_file("x.z").file, "x.z");      // no row
  EXPECT_EQ(map.to_file("b.q.w").file, "b.q.w");  // '*' is one part
  ASSERT_EQ(map.to_ours("a.7.qkv.bias").size(), 2u);
  EXPECT_EQ(map.to_ours("a.7.qkv.bias")[1].ours, "b.7.k.bias");
  EXPECT_TRUE(map.to_ours("head.weight").empty());
  EXPECT_TRUE(map.ignores("head.weight"));
  EXPECT_FALSE(map.ignores("header.weight"));
  EXPECT_FALSE(map.ignores("head."));
}

TEST(NameMap, WrongRowsAreRefused) {
  EXPECT_THROW(NameMap(std::vector<NameRule>{{"a.*", "b"}}), Error);
  EXPECT_THROW(NameMap(std::vector<NameRule>{{"a.", "b"}}), Error);
  EXPECT_THROW(NameMap(std::vector<NameRule>{{"", ""}}), Error);
  EXPECT_THROW(NameMap(std::vector<NameRule>{{"a", "b", 2, 2}}), Error);
  EXPECT_THROW(NameMap(std::vector<NameRule>{{"a", "b", 0, 0}}), Error);
}

TEST(NameMap, RowsThatCannotBeDividedAreNamed) {
  const auto [code, text] = error_of([] { NameMap::take(at::zeros({5}), {"ours", "theirs", 0, 2}); });
  EXPECT_EQ(code, ErrorCode::kModel);
  EXPECT_THAT(text, testing::HasSubstr("'theirs'"));
}

TEST(NameMap, PixCellLayoutsGoOverIntoEachOther) {
  const StateDict original = golden("pixcell_256/original.pth");
  const auto ours = stmdit_original_names().from_file(original);
  EXPECT_EQ(ours.size(), golden("pixcell_256/weights.safetensors").tensors().size());
  for (const auto& [name, tensor] : stmdit_original_names().as_file(ours)) {
    ASSERT_TRUE(original.contains(name)) << name;
    EXPECT_TRUE(at::equal(tensor, original.get(name))) << name;
  }
}

TEST(NameMap, A1x1ConvolutionIsALinearLayer) {
  const NameMap map(std::vector<NameRule>{{"q.", "q_conv.", 0, 1, true}});
  const std::map<std::string, at::Tensor> ours = {{"q.weight", at::ones({3, 2})}, {"q.bias", at::ones({3})}};
  const auto file = map.as_file(ours);
  EXPECT_EQ(file.at("q_conv.weight").sizes().vec(), (std::vector<std::int64_t>{3, 2, 1, 1}));
  EXPECT_EQ(NameMap::take(file.at("q_conv.weight"), map.to_file("q.weight")).sizes().vec(),
            (std::vector<std::int64_t>{3, 2}));
  EXPECT_THROW(NameMap(std::vector<NameRule>{{"q", "qkv", 0, 2}}).as_file({{"q", at::ones({3})}}), Error);
}

TEST(NameMap, ThePrefixStandsBeforeWhateverTheRowsSay) {
  const NameMap map(std::vector<NameRule>{{"b.", "a."}}, {"step"}, "net.");
  EXPECT_EQ(map.to_file("b.w").file, "net.a.w");
  EXPECT_EQ(map.to_file("c").file, "net.c");
  EXPECT_EQ(map.to_ours("net.a.w")[0].ours, "b.w");
  EXPECT_EQ(map.to_ours("net.c")[0].ours, "c");
  EXPECT_EQ(map.to_ours("a.w")[0].ours, "b.w");
  EXPECT_TRUE(map.ignores("net.step"));
  EXPECT_TRUE(map.ignores("step"));
}

TEST(NameMap, ACheckpointIsSeenUnderOurNames) {
  const StateDict file = golden("pickles/views.pth");
  const NameMap map({{"left", "whole", 0, 2}, {"right", "whole", 1, 2}, {"z", "never"}}, {"f64"});
  const StateDict ours = map.applied_to(file, "map.yaml");
  EXPECT_FALSE(ours.contains("whole"));
  EXPECT_FALSE(ours.contains("f64"));
  EXPECT_TRUE(at::equal(ours.get("right"), file.get("whole").slice(0, 2, 4)));
  EXPECT_TRUE(at::equal(ours.get("i64"), file.get("i64")));
  EXPECT_THAT(ours.note(), testing::HasSubstr("map.yaml has rules for never"));
  for (const TensorInfo& info : ours.tensors()) {
    EXPECT_EQ(ours.get(info.name).sizes().vec(), info.shape) << info.name;
  }
  // A map may be put on top of another.
  const StateDict twice = NameMap({{"quarter", "right", 1, 2}, {"other", "right", 0, 2}}).applied_to(ours);
  EXPECT_TRUE(at::equal(twice.get("quarter"), file.get("whole").slice(0, 3, 4)));
  EXPECT_EQ(error_of([&] { (void)ours.get("whole"); }).first, ErrorCode::kModel);
}

TEST(NameMap, TwoTensorsUnderOneNameAreNamed) {
  const StateDict file = golden("pickles/views.pth");
  const auto refused = [&](const NameMap& map) {
    const auto [code, text] = error_of([&] { (void)map.applied_to(file, "map.yaml"); });
    EXPECT_EQ(code, ErrorCode::kUsage);
    EXPECT_THAT(text, testing::StartsWith("map.yaml: "));
    return text;
  };
  EXPECT_THAT(
      refused(NameMap(std::vector<NameRule>{{"i64", "whole"}})),
      testing::HasSubstr("'i64' and 'whole' of " + golden_path("pickles/views.pth").string() + " both become 'i64'"));
  const std::string nothing = refused(NameMap(std::vector<NameRule>{{"a.", "absent."}}, {"gone"}));
  EXPECT_THAT(nothing, testing::HasSubstr("absent., gone"));
  EXPECT_THAT(nothing, testing::HasSubstr("the file has "));
  EXPECT_THAT(refused(NameMap({}, {}, "absent.")), testing::HasSubstr("it is for absent."));
  EXPECT_NO_THROW((void)NameMap(std::vector<NameRule>{}).applied_to(file));
}

TEST(NameMap, AFileIsReadOrRefused) {
  const NameMap map = parse_name_map({{"prefix", "net."},
                                      {"rules",
                                       {{{"ours", "k"}, {"file", "kv"}, {"part", 1}, {"parts", 2}},
                                        {{"ours", "v"}, {"file", "kv"}, {"part", 2}, {"parts", 2}}}},
                                      {"ignored", {"step"}},
                                      {"config", {{"depth", 3}}}});
  EXPECT_EQ(map.to_file("v").file, "net.kv");
  EXPECT_EQ(map.to_file("v").part, 1);
  const auto refused = [](const nlohmann::json& file) {
    const auto [code, text] = error_of([&] { (void)parse_name_map(file); });
    EXPECT_EQ(code, ErrorCode::kUsage);
    return text;
  };
  EXPECT_THAT(refused({{"rule", nlohmann::json::array()}}), testing::HasSubstr("'rule'"));
  EXPECT_THAT(refused({{"rules", {3}}}), testing::HasSubstr("a list of"));
  EXPECT_THAT(refused({{"rules", {{{"ours", "k"}, {"file", "kv"}, {"pats", 2}}}}}), testing::HasSubstr("'pats'"));
  EXPECT_THAT(refused({{"rules", {{{"ours", "k"}}}}}), testing::HasSubstr("a list of"));
  EXPECT_THAT(refused({{"ignored", "step"}}), testing::HasSubstr("a list of"));
  EXPECT_THAT(refused({{"config", 3}}), testing::HasSubstr("config.json"));
  EXPECT_THAT(refused(3), testing::HasSubstr("not an object"));
}

}  // namespace
}  // namespace vtissue::models
