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

}  // namespace
}  // namespace vtissue::models
