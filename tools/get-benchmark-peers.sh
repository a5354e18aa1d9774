#!/bin/sh
# Puts the benchmarks' peers (PyTorch, diffusers, timm) into a virtual environment in the cache folder, once.
# Usage: tools/get-benchmark-peers.sh     $VTISSUE_CACHE (default ~/.cache/vtissue) chooses the folder.
set -eu

cache=${VTISSUE_CACHE:-$HOME/.cache/vtissue}
target=$cache/benchmark-peers
[ -e "$target/complete" ] && exit 0
echo "get-benchmark-peers: fetching PyTorch and the peers (3 GB, once)" >&2
rm -rf "$target"
mkdir -p "$cache"
python3 -m venv "$target"
"$target/bin/python" -m pip install --quiet --disable-pip-version-check \
  torch==2.11.0 numpy==2.4.6 safetensors==0.8.0 timm==1.0.31 diffusers==0.42.1 transformers==5.24.0
touch "$target/complete"
