"""Opens a slide with one library and prints what it sees as JSON: open_slide.py openslide|tifffile FILE."""

import json
import sys


def with_openslide(path):
    import openslide

    slide = openslide.OpenSlide(path)
    for level in range(slide.level_count):
        slide.read_region((0, 0), level, (64, 64))
    return {
        "version": openslide.__library_version__,
        "levels": [{"width": w, "height": h} for w, h in slide.level_dimensions],
        "mpp": float(slide.properties[openslide.PROPERTY_NAME_MPP_X]),
        "associated": sorted(slide.associated_images),
    }


def with_tifffile(path):
    import tifffile

    with tifffile.TiffFile(path) as tiff:
        base = tiff.series[0]
        numerator, denominator = tiff.pages[0].tags["XResolution"].value
        return {
            "version": tifffile.__version__,
            "levels": [{"width": level.shape[1], "height": level.shape[0]} for level in base.levels],
            "mpp": 10000 * denominator / numerator,
            "associated": sorted(series.name for series in tiff.series[1:]),
        }


if __name__ == "__main__":
    library, path = sys.argv[1:]
    print(json.dumps({"openslide": with_openslide, "tifffile": with_tifffile}[library](path)))
