#include "io/delimited.h"

#include <gmock/gmock.h>

#include "store_test_support.h"

namespace vtissue::io {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::string> lines_of(const std::filesystem::path& path) {
  LineReader reader(path);
  std::vector<std::string> lines;
  for (std::string_view line; reader.next(line);) lines.emplace_back(line);
  return lines;
}

TEST(LineReader, TakesLineEndsAndByteOrderMarksOff) {
  const TemporaryFolder folder;
  EXPECT_THAT(lines_of(write_text(folder / "a", "\xEF\xBB\xBFx,y\r\n1,2\n\nlast")),
              ElementsAre("x,y", "1,2", "", "last"));
  EXPECT_THAT(lines_of(write_text(folder / "b", "a\n")), ElementsAre("a"));
  EXPECT_TRUE(lines_of(write_text(folder / "c", "")).empty());
}

TEST(LineReader, ReadsGzipWhateverItsName) {
  const TemporaryFolder folder;
  const std::string long_line(600000, 'z');
  EXPECT_THAT(lines_of(write_gzip(folder / "a.tsv", "1\n" + long_line + "\n2")), ElementsAre("1", long_line, "2"));
  EXPECT_THAT(lines_of(write_text(folder / "b.tsv.gz", "plain")), ElementsAre("plain"));
}

TEST(LineReader, RefusesMissingAndCutFiles) {
  const TemporaryFolder folder;
  EXPECT_THAT(error_of([&] { lines_of(folder / "none"); }).what(), HasSubstr("no such file"));
  EXPECT_THAT(error_of([&] { lines_of(folder.path()); }).what(), HasSubstr("is a folder"));
  std::string text;
  for (int i = 0; i < 20000; ++i) text += std::to_string(i * 7919) + "\n";
  const auto path = write_gzip(folder / "cut.gz", text);
  std::filesystem::resize_file(path, std::filesystem::file_size(path) / 2);
  const Error error = error_of([&] { lines_of(path); });
  EXPECT_EQ(error.code(), ErrorCode::kBadInput);
  EXPECT_THAT(error.what(), HasSubstr("cut.gz"));
}

TEST(SplitFields, KnowsQuotes) {
  std::vector<std::string_view> fields;
  split_fields("a,\"b,c\",,\"d\"", ',', fields);
  EXPECT_THAT(fields, ElementsAre("a", "b,c", "", "d"));
  split_fields("", ',', fields);
  EXPECT_THAT(fields, ElementsAre(""));
  split_fields("a\t", '\t', fields);
  EXPECT_THAT(fields, ElementsAre("a", ""));
  split_fields("\"open,b", ',', fields);
  EXPECT_THAT(fields, ElementsAre("\"open", "b"));
}

TEST(ParseNumber, TakesWholeFieldsOnly) {
  EXPECT_EQ(parse_number(" -1.5e2 "), -150.0);
  EXPECT_FALSE(parse_number("1,5"));
  EXPECT_FALSE(parse_number("1x"));
  EXPECT_FALSE(parse_number(""));
  EXPECT_EQ(parse_integer("-7"), -7);
  EXPECT_FALSE(parse_integer("7.5"));
}

}  // namespace
}  // namespace vtissue::io
