"""Goldens of the tissue presets: make_tissue_goldens.py OUT (opencv-python-headless, scikit-image, numpy).

A picture of blobs of several tints with holes and islands, and what OpenCV makes of it by the steps of CLAM (saturation,
median, threshold, closing, contours of two levels, areas), and scikit-image by those of the HEST group's Otsu segmenter."""

import pathlib
import sys

import cv2
import numpy as np
import skimage.filters
import skimage.morphology

CLAM = {  # sthresh, mthresh, close, use_otsu, a_t, a_h, max_n_holes; at 64 level-0 pixels a pixel
    "published": (8, 7, 4, False, 1, 0.25, 8),
    "biopsy": (15, 11, 2, False, 1, 1, 2),
    "otsu": (8, 7, 4, True, 0.2, 0.1, 8),
    "bare": (20, 1, 0, False, 0, 0, 3),
    "one_hole": (8, 3, 3, False, 0.5, 0, 1),
}
DOWNSAMPLE = 64


def picture(seed=3, width=160, height=120):
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    amount = np.zeros((height, width))
    for _ in range(14):
        cx, cy, r = random.uniform(0, width), random.uniform(0, height), random.uniform(5, 28)
        amount = np.maximum(amount, (np.hypot(x - cx, y - cy) < r) * random.uniform(0.1, 1))
    for _ in range(22):
        cx, cy, r = random.uniform(0, width), random.uniform(0, height), random.uniform(1, 7)
        amount[np.hypot(x - cx, y - cy) < r] = 0
    for _ in range(10):  # islands
        cx, cy, r = random.uniform(0, width), random.uniform(0, height), random.uniform(0.5, 2.5)
        amount[np.hypot(x - cx, y - cy) < r] = 0.8
    amount = np.clip(amount + random.normal(0, 0.06, amount.shape), 0, 1)
    tint = np.array([90, 150, 60])
    rgb = 240 - amount[..., None] * tint + random.normal(0, 3, (height, width, 3))
    rgb[:8, :30] = 0
    return np.clip(rgb, 0, 255).astype(np.uint8)


def clam(rgb, sthresh, mthresh, close, use_otsu, a_t, a_h, max_n_holes):
    saturation = cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV)[:, :, 1]
    saturation = cv2.medianBlur(saturation, mthresh) if mthresh > 1 else saturation
    kind = cv2.THRESH_BINARY + (cv2.THRESH_OTSU if use_otsu else 0)
    _, binary = cv2.threshold(saturation, 0 if use_otsu else sthresh, 255, kind)
    if close:
        binary = cv2.morphologyEx(binary, cv2.MORPH_CLOSE, np.ones((close, close), np.uint8))
    unit = int(512**2 / DOWNSAMPLE**2)
    contours, hierarchy = cv2.findContours(binary, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    mask = np.zeros_like(binary)
    for index, contour in enumerate(contours):
        if hierarchy[0, index, 3] != -1:
            continue
        holes = [c for c, h in zip(contours, hierarchy[0]) if h[3] == index]
        if not cv2.contourArea(contour) - sum(map(cv2.contourArea, holes)) > a_t * unit:
            continue
        kept = [h for h in sorted(holes, key=cv2.contourArea, reverse=True)[:max_n_holes] if cv2.contourArea(h) > a_h * unit]
        piece = np.zeros_like(binary)
        cv2.drawContours(piece, [contour], -1, 1, cv2.FILLED)
        for hole in kept:  # a hole's contour runs over the piece's own pixels
            inside = np.zeros_like(binary)
            cv2.drawContours(inside, [hole], -1, 1, cv2.FILLED)
            cv2.drawContours(inside, [hole], -1, 0, 1)
            piece[inside > 0] = 0
        mask |= piece
    return mask


def hest(rgb):
    hsv = cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV)
    white = rgb.copy()
    white[np.all(rgb == 0, axis=-1)] = 255
    grey_or_dark = cv2.inRange(hsv, (0, 0, 70), (180, 10, 255)) | cv2.inRange(hsv, (0, 0, 0), (180, 255, 85))
    white[grey_or_dark > 0] = 255

    def grey(image):
        return image @ np.array([0.2125, 0.7154, 0.0721])

    first = grey(white) < skimage.filters.threshold_otsu(grey(white))
    first = skimage.morphology.remove_small_objects(first, max_size=60)
    left = np.where(first[..., None], rgb, 255)
    second = grey(left) < skimage.filters.threshold_otsu(grey(left))
    return skimage.morphology.remove_small_holes(second, max_size=400).astype(np.uint8)


def main(out):
    rgb = picture()
    cv2.imwrite(str(out / "picture.png"), rgb[..., ::-1])
    for name, options in CLAM.items():
        cv2.imwrite(str(out / f"clam_{name}.png"), clam(rgb, *options) * 255)
    cv2.imwrite(str(out / "hest.png"), hest(rgb) * 255)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
