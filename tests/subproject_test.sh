#!/usr/bin/env bash
# Configures a project that has the prosa in $1 as a part, with and without the hub, and builds and runs the part that
# is small. Nothing of the sources' place may be left in what was built.
set -euo pipefail
source=$1
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

configure() {
  local build=$1
  shift
  cmake -S "$here/subproject" -B "$work/$build" -G Ninja -DPROSA_SOURCE="$source" "$@" >"$work/log" 2>&1 ||
    { cat "$work/log"; exit 1; }
  # The parent asked for no build type: there must be none.
  grep -q '^CMAKE_BUILD_TYPE:STRING=$' "$work/$build/CMakeCache.txt"
}

configure with-hub
configure without-hub -DPROSA_HUB=OFF -DPROSA_TLS=OFF
cmake --build "$work/without-hub" --target names >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
answer=$(HF_HUB_CACHE="$work/cache" "$work/without-hub/names")
case $answer in
  unsupported:*PROSA_HUB=ON*) ;;
  *) echo "without the hub a name says: $answer"; exit 1 ;;
esac
if grep -rlF --include="*.a" -e "$source/" "$work/without-hub"; then
  echo "the path of the sources is built in"
  exit 1
fi
echo "prosa is a good part of another project"
