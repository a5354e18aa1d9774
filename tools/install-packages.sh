#!/bin/sh
# Installs what packages.txt names and is missing (Debian 12), and further packages if some are named.
# Usage: tools/install-packages.sh [PACKAGE …]
set -eu

cd "$(dirname "$0")/.."
missing=
for package in $(cat packages.txt) "$@"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
[ -z "$missing" ] && exit 0

sudo=
if [ "$(id -u)" != 0 ]; then
  command -v sudo >/dev/null || { echo "install-packages: as root: apt-get install$missing" >&2; exit 1; }
  sudo=sudo
fi
echo "install-packages: installing$missing" >&2
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
# shellcheck disable=SC2086
if ! { $sudo apt-get update -q && $sudo apt-get install -y -q --no-install-recommends $missing; } > "$log" 2>&1; then
  tail -n 20 "$log" >&2
  echo "install-packages: failed; the whole log is in $log" >&2
  exit 1
fi
rm -f "$log"
