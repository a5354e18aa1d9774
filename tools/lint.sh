#!/bin/sh
# Formatting, grep rules, and clang-tidy over the files that changed since the given revision (default:
# all). Usage: tools/lint.sh [REVISION]
set -eu

cd "$(dirname "$0")/.."
status=0

tools/for-each-source.sh clang-format --dry-run --Werror || status=1
tools/grep-rules.sh || status=1

if command -v clang-tidy > /dev/null; then
  # A configuration of its own: ungrouped, so that every file has its command. Nothing is built.
  cmake -S . -B build/lint -G Ninja -DVTISSUE_TESTS=OFF -DVTISSUE_PCH=OFF > /dev/null
  if [ $# -gt 0 ]; then
    files=$(git diff --name-only --diff-filter=d "$1" -- '*.cpp' ':!tests' ':!benchmarks')
  else
    files=$(git ls-files 'core/*.cpp' 'io/*.cpp' 'pipeline/*.cpp' 'stages/*.cpp' 'viewer/*.cpp' 'cli/*.cpp')
  fi
  # The commands are GCC's; clang need not know all its warnings.
  echo "$files" | xargs -r -d '\n' -n 1 -P "$(nproc)" clang-tidy -p build/lint --quiet \
    --extra-arg=-Wno-unknown-warning-option 2> /dev/null || status=1
else
  echo "lint: clang-tidy is missing; only format and grep rules were checked" >&2
fi
exit $status
