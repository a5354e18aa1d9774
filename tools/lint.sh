#!/bin/sh
# Formatting, grep rules, and clang-tidy over the files that changed since the given revision (default:
# all). Usage: tools/lint.sh [REVISION]
set -eu

cd "$(dirname "$0")/.."
status=0

tools/for-each-source.sh clang-format --dry-run --Werror || status=1
tools/grep-rules.sh || status=1

if command -v clang-tidy > /dev/null && [ -e build/dev/compile_commands.json ]; then
  if [ $# -gt 0 ]; then files=$(git diff --name-only --diff-filter=d "$1" -- '*.cpp'); else files=$(git ls-files 'core/*.cpp' 'io/*.cpp' 'pipeline/*.cpp' 'stages/*.cpp' 'cli/*.cpp'); fi
  for file in $files; do
    clang-tidy -p build/dev --quiet "$file" 2> /dev/null || status=1
  done
else
  echo "lint: clang-tidy or build/dev is missing; only format and grep rules were checked" >&2
fi
exit $status
