#!/bin/sh
# A Python environment with the readers that the tests open a virtual slide with besides Debian's:
# OpenSlide 4, and tifffile with its codecs. Usage: tools/get-test-readers.sh
set -eu

cache=${VTISSUE_CACHE:-$HOME/.cache/vtissue}
venv=$cache/test-readers-2
[ -e "$venv/complete" ] && exit 0
rm -rf "$venv"
mkdir -p "$cache"
python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check --only-binary=:all: \
  openslide-bin==4.0.0.8 openslide-python==1.4.2 tifffile==2025.5.10 numpy==2.2.6 pillow==11.2.1 imagecodecs==2026.3.6 anndata==0.12.2
touch "$venv/complete"
