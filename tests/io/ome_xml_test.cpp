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

TEST(OmeImages, AreNamedWithTheirDirectories) {
  const std::string xml =
      "<?xml version=\"1.0\"?><OME:OME xmlns:OME=\"x\"><OME:Image ID=\"Image:0\" Name=\"slide\"><OME:Pixels>"
      "<OME:TiffData IFD=\"0\" PlaneCount=\"1\"/></OME:Pixels></OME:Image><OME:ImageRef ID=\"Image:0\"/>"
      "<OME:Image\n Name='label image'><OME:Pixels><OME:TiffData PlaneCount=\"1\" IFD=\"2\"/></OME:Pixels></OME:Image>"
      "<OME:Image><OME:Pixels><OME:TiffData/></OME:Pixels></OME:Image>"
      "<OME:Image Name=\"elsewhere\"><OME:Pixels><OME:TiffData IFD=\"0\"><UUID FileName=\"b.tif\">u</UUID>"
      "</OME:TiffData></OME:Pixels></OME:Image>"
      "<OME:Image Name=\"wrong\"><OME:TiffData IFD=\"-7\"/></OME:Image></OME:OME>";
  const std::vector<OmeImage> images = ome_images(xml);
  ASSERT_EQ(images.size(), 3u);
  EXPECT_EQ(images[0].name, "slide");
  EXPECT_EQ(images[0].directory, 0);
  EXPECT_EQ(images[1].name, "label image");
  EXPECT_EQ(images[1].directory, 2);
  EXPECT_EQ(images[2].name, "");
  for (std::size_t cut = 0; cut < xml.size(); ++cut) EXPECT_LE(ome_images(xml.substr(0, cut)).size(), 4u);
  EXPECT_THAT(ome_images("<Image Name=\"a\"><TiffData/></Image>"), IsEmpty());
}

}  // namespace
}  // namespace vtissue::io
