#include "io/pyramid_metadata.h"

#include <gmock/gmock.h>

#include <fstream>

#include "core/error.h"
#include "tests/support/temp_folder.h"

namespace vtissue::io {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;
using testing::TempFolder;

TEST(PyramidMetadata, TheDescriptionSaysWhatTheFileIs) {
  PyramidOptions options;
  options.size = {3001, 2000};
  options.mpp = 0.25269999999999998;
  options.software = "vtissue 1.2";
  options.description = "Seed = 7|Note = two\nlines";
  const std::string text = pyramid_description(options);
  EXPECT_THAT(text, StartsWith("Aperio Image Library v0"));
  EXPECT_THAT(text, HasSubstr("\n3008x2000 [0,0 3008x2000] (256x256) JPEG/YCC Q=90|AppMag = 40|MPP = 0.2527|Generator "
                              "= vtissue 1.2|Virtual = 1|"));
  EXPECT_THAT(text, HasSubstr("|ContentWidth = 3001|ContentHeight = 2000|Seed = 7|Note = two lines"));
  EXPECT_THAT(text, Not(HasSubstr("ScanScope")));
}

TEST(PyramidMetadata, FilesWithoutProvenance) {
  const TempFolder folder;
  std::ofstream(folder / "a.txt") << "no TIFF";
  EXPECT_EQ(read_provenance(folder / "a.txt"), "");
  try {
    read_provenance(folder / "missing.tiff");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kBadInput);
  }
}

}  // namespace
}  // namespace vtissue::io
