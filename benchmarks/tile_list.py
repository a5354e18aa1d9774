"""From a slide to its list of tiles, as people do it today.

usage: tile_list.py clam SLIDE TILE_PX OUTPUT       OpenCV by the steps of CLAM's create_patches_fp
       tile_list.py histolab SLIDE TILE_PX OUTPUT   histolab's GridTiler over its TissueMask

tile_list.cpp starts this beside itself and speaks with it by lines as with slide_peers.py. A list is int64 pairs: x, y of
tiles of TILE_PX level-0 pixels. histolab's own list would read every tile to see how much tissue it has; here it gives its
grid's coordinates alone."""

import sys
import time
from concurrent.futures import ThreadPoolExecutor

STHRESH, MTHRESH, CLOSE, A_T, A_H, MAX_HOLES = 8, 7, 4, 16, 4, 8  # CLAM's preset tcga


def clam(slide_path, tile_px):
    import cv2
    import numpy as np
    import openslide

    cv2.setNumThreads(2)

    def tissue(slide):
        level = slide.get_best_level_for_downsample(64)
        size = slide.level_dimensions[level]
        rgb = np.asarray(slide.read_region((0, 0), level, size).convert("RGB"))
        saturation = cv2.medianBlur(cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV)[:, :, 1], MTHRESH)
        _, binary = cv2.threshold(saturation, STHRESH, 255, cv2.THRESH_BINARY)
        binary = cv2.morphologyEx(binary, cv2.MORPH_CLOSE, np.ones((CLOSE, CLOSE), np.uint8))
        scale = np.array(slide.level_dimensions[0]) / np.array(size)
        unit = int(512 * 512 / (scale[0] * scale[1]))
        contours, hierarchy = cv2.findContours(binary, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        to_level0 = lambda contour: (contour * scale).astype(np.int32)
        for index, contour in enumerate(contours):
            if hierarchy[0, index, 3] != -1:
                continue
            holes, child = [], hierarchy[0, index, 2]
            while child != -1:
                holes.append(contours[child])
                child = hierarchy[0, child, 0]
            areas = [cv2.contourArea(hole) for hole in holes]
            if cv2.contourArea(contour) - sum(areas) <= A_T * unit:
                continue
            largest = sorted(zip(areas, range(len(holes))), reverse=True)[:MAX_HOLES]
            yield to_level0(contour), [to_level0(holes[i]) for area, i in largest if area > A_H * unit]

    def run():
        slide = openslide.OpenSlide(slide_path)
        tiles = []
        shift = int(tile_px // 2 * 0.5)

        def keeps(candidate):
            (x, y), contour, holes = candidate
            centre = (x + tile_px // 2, y + tile_px // 2)
            corners = [(centre[0] + sx * shift, centre[1] + sy * shift) for sx, sy in ((-1, -1), (1, 1), (1, -1), (-1, 1))]
            if not any(cv2.pointPolygonTest(contour, tuple(map(float, p)), False) >= 0 for p in corners):
                return None
            if any(cv2.pointPolygonTest(hole, tuple(map(float, centre)), False) > 0 for hole in holes):
                return None
            return x, y

        with ThreadPoolExecutor(2) as pool:
            for contour, holes in tissue(slide):
                left, top, width, height = cv2.boundingRect(contour)
                # On one grid of the slide, so that the lists can be compared.
                left, top, right, bottom = left // tile_px * tile_px, top // tile_px * tile_px, left + width, top + height
                grid = [((x, y), contour, holes) for y in range(top, bottom, tile_px) for x in range(left, right, tile_px)]
                tiles += [tile for tile in pool.map(keeps, grid, chunksize=256) if tile is not None]
        slide.close()
        return tiles

    import openslide as library

    return run, f"OpenCV {cv2.__version__} by CLAM's steps, OpenSlide {library.__library_version__}"


def histolab(slide_path, tile_px):
    import histolab
    from histolab.masks import TissueMask
    from histolab.slide import Slide
    from histolab.tiler import GridTiler

    def run():
        slide = Slide(slide_path, processed_path="/tmp")
        tiler = GridTiler(tile_size=(tile_px, tile_px), level=0, check_tissue=False)
        return [(c.x_ul, c.y_ul) for c in tiler._grid_coordinates_generator(slide, TissueMask())]

    return run, f"histolab {histolab.__version__}"


def main():
    import numpy as np

    kind, slide_path, tile_px, output = sys.argv[1:]
    run, version = {"clam": clam, "histolab": histolab}[kind](slide_path, int(tile_px))
    tiles = []
    print("ready", flush=True)
    for line in sys.stdin:
        command = line.strip()
        if command == "run":
            start, cpu = time.perf_counter(), time.process_time()
            tiles = run()
            print(time.perf_counter() - start, time.process_time() - cpu, flush=True)
        elif command == "save":
            np.asarray(tiles, dtype=np.int64).reshape(-1, 2).tofile(output)
            print("saved", flush=True)
        elif command == "version":
            print(version, flush=True)


if __name__ == "__main__":
    main()
