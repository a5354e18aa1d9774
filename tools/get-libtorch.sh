#!/bin/sh
# Puts the pinned LibTorch into the cache folder, once. Usage: tools/get-libtorch.sh
# $VTISSUE_CACHE (default ~/.cache/vtissue) chooses the folder.
set -eu

version=2.11.0
cache=${VTISSUE_CACHE:-$HOME/.cache/vtissue}
target=$cache/libtorch-$version
[ -e "$target/complete" ] && exit 0

# name==version sha256; the CUDA runtime and CUPTI are needed to load the CPU library of this wheel.
wheels='torch==2.11.0 7aa2f9bbc6d4595ba72138026b2074be1233186150e9292865e04b7a63b8c67a
nvidia-cuda-runtime==13.0.96 7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548
nvidia-cuda-cupti==13.0.85 4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8'

case $(uname -m) in
  x86_64) ;;
  *) echo "get-libtorch: the pinned wheel is for x86-64; set LIBTORCH_ROOT to a LibTorch 2.x for $(uname -m)" >&2; exit 1 ;;
esac

mkdir -p "$cache"
work=$(mktemp -d "$cache/libtorch.XXXXXX")
trap 'rm -rf "$work"' EXIT INT TERM
mkdir "$work/wheels" "$work/tree"

echo "get-libtorch: fetching LibTorch $version (540 MB, once)" >&2
echo "$wheels" | while read -r package digest; do
  echo "$package --hash=sha256:$digest"
done > "$work/requirements.txt"
python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --require-hashes \
  --python-version 3.11 --implementation cp --abi cp311 --abi abi3 --abi none \
  --platform manylinux_2_28_x86_64 --platform manylinux_2_25_x86_64 --platform manylinux_2_17_x86_64 \
  --platform manylinux2014_x86_64 \
  --dest "$work/wheels" --requirement "$work/requirements.txt"

echo "get-libtorch: unpacking" >&2
for wheel in "$work"/wheels/*.whl; do
  unzip -q -o "$wheel" -d "$work/tree"
done
# Half a gigabyte that a machine without a GPU never loads.
rm -f "$work"/tree/torch/lib/libtorch_cuda*.so "$work"/tree/torch/lib/libtorch_nvshmem.so
touch "$work/tree/complete"
rm -rf "$target"
mv "$work/tree" "$target"
