#include "io/ome_xml.h"

#include <gmock/gmock.h>

namespace vtissue::io {
namespace {

using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

std::string ome(const std::string& pixels) {
  return "<?xml version=\"1.0\"?><OME><Instrument/><Image ID=\"Image:0\"><Pixels " + pixels +
         "/></Image><Image><Pixels PhysicalSizeX=\"9\"/></Image></OME>";
}

TEST(OmeProperties, AreOfTheFirstImageInMicrometres) {
  EXPECT_THAT(ome_properties(ome("PhysicalSizeX=\"0.25\" PhysicalSizeY=\"0.5\"")),
              UnorderedElementsAre(Pair("ome.PhysicalSizeX", "0.25"), Pair("ome.PhysicalSizeY", "0.5")));
  for (const char* unit : {"\u00b5m", "\u03bcm", "um", "&#181;m"}) {
    EXPECT_THAT(ome_properties(ome("PhysicalSizeXUnit=\"" + std::string(unit) + "\" PhysicalSizeX='0.25'")),
                UnorderedElementsAre(Pair("ome.PhysicalSizeX", "0.25")));
  }
  EXPECT_THAT(ome_properties(ome("PhysicalSizeX=\"500\" PhysicalSizeXUnit=\"nm\"")),
              UnorderedElementsAre(Pair("ome.PhysicalSizeX", "0.5")));
  EXPECT_THAT(ome_properties(ome("PhysicalSizeX=\"0.0005\" PhysicalSizeXUnit=\"mm\"")),
              UnorderedElementsAre(Pair("ome.PhysicalSizeX", "0.5")));
}

TEST(OmeProperties, OfOtherTextsAreNone) {
  for (const char* text :
       {"", "<OME", "Aperio Image Library", "<OME><Pixels", "<OME><Pixels PhysicalSizeX",
        "<OME><Pixels PhysicalSizeX=", "<OME><Pixels PhysicalSizeX=\"", "<OME><Pixels PhysicalSizeX=\"x\">",
        "<OME><Image/></OME>", "<Pixels PhysicalSizeX=\"1\"/>"}) {
    EXPECT_THAT(ome_properties(text), IsEmpty()) << text;
  }
  EXPECT_THAT(ome_properties(ome("PhysicalSizeX=\"3\" PhysicalSizeXUnit=\"pixel\"")), IsEmpty());
  EXPECT_THAT(ome_properties(ome("NotPhysicalSizeX=\"3\"")), IsEmpty());
}

}  // namespace
}  // namespace vtissue::io
