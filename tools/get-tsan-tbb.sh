#!/bin/sh
# Builds Debian's oneTBB with ThreadSanitizer, once, and prints its prefix: without that the sanitizer does not see how
# tasks follow each other and reports hundreds of races that are none.
# Usage: cmake --preset tsan -DTBB_ROOT=$(tools/get-tsan-tbb.sh)     $VTISSUE_CACHE (default ~/.cache/vtissue) is the folder.
set -eu

target=${VTISSUE_CACHE:-$HOME/.cache/vtissue}/tsan-tbb
if [ ! -e "$target/complete" ]; then
  rm -rf "$target"
  mkdir -p "$target/lists/partial" "$target/sources"
  cd "$target"
  sed 's/^Types: deb$/Types: deb-src/' /etc/apt/sources.list.d/debian.sources > sources/source.sources
  apt="apt-get -qq -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts=$target/sources -o Dir::State::lists=$target/lists"
  {
    $apt update
    $apt source --download-only onetbb
    mkdir source
    tar xf onetbb_*.orig.tar.xz -C source --strip-components=1
    cmake -S source -B build -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DTBB_TEST=OFF -DTBB_STRICT=OFF -DTBB_SANITIZE=thread \
      -DCMAKE_INSTALL_PREFIX="$target"
    cmake --build build
    cmake --install build
  } >&2
  rm -rf build source sources lists onetbb_*
  touch complete
fi
echo "$target"
