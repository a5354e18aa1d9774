#!/bin/sh
# Puts what the tests of the viewer's page drive a browser with (playwright-core, which brings no browser of its own) into
# the cache folder, once, and says where it is. The browser is Debian's: apt-get install chromium.
# Usage: tools/get-page-test-tools.sh
set -eu

version=1.65.1
cache=${VTISSUE_CACHE:-$HOME/.cache/vtissue}
target=$cache/page-test-tools-$version
if [ ! -e "$target/complete" ]; then
  command -v npm > /dev/null && command -v chromium > /dev/null ||
    { echo "get-page-test-tools: npm or chromium is missing" >&2; exit 1; }
  rm -rf "$target"
  mkdir -p "$target"
  timeout 90 npm install --silent --fetch-retries=0 --ignore-scripts --no-audit --no-fund --prefix "$target" "playwright-core@$version" > /dev/null
  touch "$target/complete"
fi
echo "$target"
