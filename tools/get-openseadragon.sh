#!/bin/sh
# Puts the pinned OpenSeadragon (BSD-3-Clause), which the viewer's page needs, into the cache folder, once, and says
# where it is. Usage: tools/get-openseadragon.sh     $VTISSUE_CACHE (default ~/.cache/vtissue) chooses the folder.
# Needs npm the first time; afterwards nothing is fetched.
set -eu

version=6.1.1
digest=b4ab2942f33b90e0448e4d20fc5ed14cee049f1f3ae49d70afd4b05e9a2f92d0
cache=${VTISSUE_CACHE:-$HOME/.cache/vtissue}
target=$cache/openseadragon-$version
if [ ! -e "$target/complete" ]; then
  command -v npm > /dev/null || { echo "get-openseadragon: npm is missing (apt-get install npm)" >&2; exit 1; }
  mkdir -p "$cache"
  work=$(mktemp -d "$cache/openseadragon.XXXXXX")
  trap 'rm -rf "$work"' EXIT INT TERM
  archive=$work/openseadragon-$version.tgz
  (cd "$work" && timeout 60 npm pack --silent --fetch-retries=0 "openseadragon@$version" > /dev/null) ||
    { echo "get-openseadragon: npm could not fetch openseadragon@$version" >&2; exit 1; }
  echo "$digest  $archive" | sha256sum --check --status ||
    { echo "get-openseadragon: the package's checksum is not the expected one; nothing was kept" >&2; exit 1; }
  mkdir "$work/tree"
  tar -xzf "$archive" -C "$work/tree" --strip-components=1 package/LICENSE.txt
  tar -xzf "$archive" -C "$work/tree" --strip-components=3 package/build/openseadragon/openseadragon.min.js
  # Without its source map, which is not kept, a browser's developer tools would ask for it.
  sed -i '/^\/\/# sourceMappingURL=/d' "$work/tree/openseadragon.min.js"
  touch "$work/tree/complete"
  rm -rf "$target"
  mv "$work/tree" "$target"
fi
echo "$target"
