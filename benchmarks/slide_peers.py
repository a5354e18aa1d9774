"""The peers of the slide benchmarks, as people use them today.

usage: slide_peers.py read SLIDE LEVEL TILE_PX THREADS OUTPUT      openslide-python with a thread pool
       slide_peers.py pyramid PIXELS WIDTH HEIGHT QUALITY THREADS OUTPUT      libvips from pixels in memory

A benchmark starts this beside itself and speaks with it by lines: "run" does the work once and answers with its
seconds, and those that the processor worked,
"save" answers once OUTPUT holds the last result, "version" names the library."""

import os
import sys
import time


def reading(slide_path, level, tile_px, threads, output):
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np
    import openslide

    level, tile_px = int(level), int(tile_px)
    tiles = []

    def run():
        nonlocal tiles
        slide = openslide.OpenSlide(slide_path)  # anew each time: what it has cached would not be read
        downsample = round(slide.level_downsamples[level])
        width, height = slide.level_dimensions[level]

        def read(origin):
            region = slide.read_region((origin[0] * downsample, origin[1] * downsample), level, (tile_px, tile_px))
            return np.asarray(region.convert("RGB"))

        origins = [(x, y) for y in range(0, height - tile_px + 1, tile_px) for x in range(0, width - tile_px + 1, tile_px)]
        with ThreadPoolExecutor(int(threads)) as pool:
            tiles = list(pool.map(read, origins))
        slide.close()

    def save():
        with open(output, "wb") as file:
            for tile in tiles:
                file.write(tile.tobytes())

    return run, save, f"openslide-python {openslide.__version__}, OpenSlide {openslide.__library_version__}"


def pyramid(pixels, width, height, quality, threads, output):
    os.environ["VIPS_CONCURRENCY"] = threads
    import pyvips

    with open(pixels, "rb") as file:
        image = pyvips.Image.new_from_memory(file.read(), int(width), int(height), 3, "uchar")
    pyvips.cache_set_max(0)

    def run():
        # The quality decides the subsampling: 4:2:0 below 90.
        image.tiffsave(output, tile=True, tile_width=256, tile_height=256, pyramid=True, compression="jpeg",
                       Q=int(quality), bigtiff=True)

    version = ".".join(str(pyvips.version(i)) for i in range(3))
    return run, lambda: None, f"libvips {version}"


def main():
    run, save, version = {"read": reading, "pyramid": pyramid}[sys.argv[1]](*sys.argv[2:])
    print("ready", flush=True)
    for line in sys.stdin:
        command = line.strip()
        if command == "run":
            start, cpu = time.perf_counter(), time.process_time()
            run()
            print(time.perf_counter() - start, time.process_time() - cpu, flush=True)
        elif command == "save":
            save()
            print("saved", flush=True)
        elif command == "version":
            print(version, flush=True)


if __name__ == "__main__":
    main()
