"""A slide of 100,000 x 80,000 px with a pyramid, of copies of one section: large_slide.py PICTURE OUT.tiff (pyvips)."""

import sys

import pyvips

WIDTH, HEIGHT, MPP = 100_000, 80_000, 0.25


def main(picture, out):
    section = pyvips.Image.new_from_file(picture).extract_band(0, n=3).copy_memory()
    whole = section.replicate(WIDTH // section.width + 1, HEIGHT // section.height + 1).crop(0, 0, WIDTH, HEIGHT)
    whole.copy(xres=1000 / MPP, yres=1000 / MPP).tiffsave(out, tile=True, tile_width=256, tile_height=256, pyramid=True,
                                                          compression="jpeg", Q=75, bigtiff=True, resunit="cm")


if __name__ == "__main__":
    main(*sys.argv[1:])
