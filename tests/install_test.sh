#!/usr/bin/env bash
# Installs the build in $1 into a fresh folder, builds a small program against it with find_package(prosa), runs it, and
# runs the installed prosa from there.
set -euo pipefail
build=$1
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cmake --install "$build" --prefix "$work/prefix" >/dev/null
cmake -S "$here/consumer" -B "$work/consumer" -G Ninja -DCMAKE_BUILD_TYPE=Debug -DCMAKE_PREFIX_PATH="$work/prefix" >/dev/null
cmake --build "$work/consumer" >/dev/null
"$work/consumer/consumer" | grep -qx 'not_found'
if [ -x "$work/consumer/voice_consumer" ]; then "$work/consumer/voice_consumer" | grep -qx energy; fi
"$work/prefix/bin/prosa" --version | grep -q '^prosa [0-9]'
# The installed program finds the installed model, not the one of the source tree.
"$work/prefix/bin/prosa" inspect | grep -q "$work/prefix/share/prosa/models/prosa-mini"
echo "an installed prosa can be built against and runs"
