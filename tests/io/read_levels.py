"""Reads every level of slides with one library and prints, as JSON by file name, sizes, µm/px, the names of the other
pictures, and how far each level's pixels are from the expected ones: read_levels.py openslide|tifffile FOLDER FILE...

FOLDER holds the expected pixels of level n as n.rgb, [height, width, 3]."""

import json
import os
import sys

import numpy as np


def with_openslide(path):
    import openslide

    slide = openslide.OpenSlide(path)
    levels = [np.asarray(slide.read_region((0, 0), level, size).convert("RGB"))
              for level, size in enumerate(slide.level_dimensions)]
    return levels, float(slide.properties[openslide.PROPERTY_NAME_MPP_X]), sorted(slide.associated_images)


def with_tifffile(path):
    import tifffile

    with tifffile.TiffFile(path) as tiff:
        base = tiff.series[0]
        levels = [level.asarray() for level in base.levels]
        if tiff.is_ome:
            from xml.etree import ElementTree

            pixels = ElementTree.fromstring(tiff.ome_metadata).find(".//{*}Pixels")
            assert pixels.get("PhysicalSizeXUnit") == "\u00b5m"
            mpp = float(pixels.get("PhysicalSizeX"))
        else:
            numerator, denominator = tiff.pages[0].tags["XResolution"].value
            mpp = 10000 * denominator / numerator
        return levels, mpp, sorted(series.name for series in tiff.series[1:])


def main():
    library, folder, *files = sys.argv[1:]
    read = {"openslide": with_openslide, "tifffile": with_tifffile}[library]
    seen = {}
    for path in files:
        levels, mpp, others = read(path)
        rows = []
        for index, pixels in enumerate(levels):
            expected = np.fromfile(os.path.join(folder, f"{index}.rgb"), np.uint8)
            difference = None
            if expected.size == pixels.size:
                difference = float(np.abs(pixels.reshape(-1).astype(int) - expected).mean())
            rows.append({"width": pixels.shape[1], "height": pixels.shape[0], "difference": difference})
        seen[os.path.basename(path)] = {"levels": rows, "mpp": mpp, "others": others}
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
