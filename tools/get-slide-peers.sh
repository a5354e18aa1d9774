#!/bin/sh
# Puts the slide benchmarks' peers (openslide-python with OpenSlide 4, libvips) into a virtual environment in the cache
# folder, once. Usage: tools/get-slide-peers.sh     $VTISSUE_CACHE (default ~/.cache/vtissue) chooses the folder.
set -eu

cache=${VTISSUE_CACHE:-$HOME/.cache/vtissue}
target=$cache/slide-peers
[ -e "$target/complete" ] && exit 0
rm -rf "$target"
mkdir -p "$cache"
python3 -m venv "$target"
"$target/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary=:all: \
  openslide-bin==4.0.0.8 openslide-python==1.4.2 numpy==2.2.6 pillow==11.2.1 cffi==2.1.1 setuptools pkgconfig wheel
# Where pyvips finds a libvips to compile against, it uses that one and not the wheel's.
PKG_CONFIG_LIBDIR=/nonexistent "$target/bin/python" -m pip install --quiet --disable-pip-version-check --no-cache-dir \
  --no-build-isolation pyvips==3.2.0
"$target/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --only-binary=:all: pyvips-binary==8.18.7
touch "$target/complete"
