#!/bin/sh
# Configures and builds a preset, quietly: a line of progress on a terminal, the log only when it fails.
# Usage: tools/build.sh PRESET [TARGET...]
set -eu

preset=${1:?usage: build.sh PRESET [TARGET...]}
shift
cd "$(dirname "$0")/.."
mkdir -p "build/$preset"
log=build/$preset/build.log

if ! cmake --preset "$preset" > "$log" 2>&1; then
  tail -n 30 "$log" >&2
  exit 1
fi
echo "build: compiling build/$preset (first time: some minutes)" >&2
if [ -t 2 ]; then
  cmake --build "build/$preset" ${1:+--target "$@"} >&2
elif ! NINJA_STATUS='[%f/%t] ' cmake --build "build/$preset" ${1:+--target "$@"} >> "$log" 2>&1; then
  grep -E -A 12 'error|FAILED' "$log" | tail -n 60 >&2
  echo "build: failed; the whole log is in $log" >&2
  exit 1
fi
