#!/bin/sh
# Runs a command over every C++ source of ours. Usage: tools/for-each-source.sh COMMAND [ARG...]
set -eu
cd "$(dirname "$0")/.."
git ls-files --cached --others --exclude-standard '*.cpp' '*.h' | xargs -d '\n' "$@"
