#!/usr/bin/env bash
# pull.sh BUILD [ROUNDS] [BYTES]: how fast `prosa pull` fetches a large file from a server on this machine, beside
# `curl -o`, one after the other in each round. prosa also hashes what comes; curl does not.
#
# Needs curl, and BUILD configured with -DPROSA_BUILD_BENCH=ON. Both write into a folder under TMPDIR.
set -euo pipefail
build=$(cd -- "$1" && pwd -P)
rounds=${2:-9}
bytes=${3:-400000000}
work=$(mktemp -d)
server=
finish() {
  if [ -n "$server" ]; then kill "$server" 2>/dev/null || true; fi
  rm -rf "$work"
}
trap finish EXIT

head -c "$bytes" /dev/urandom >"$work/weights"
printf '{}' >"$work/config"
mkfifo "$work/input"
"$build/bench/hub_server" "config.json=$work/config" "model.safetensors=$work/weights" <"$work/input" >"$work/output" &
server=$!
exec 3>"$work/input"
until grep -q '^model' "$work/output"; do sleep 0.1; done
hub=$(sed -n 's/^hub //p' "$work/output")
file=$(sed -n 's/^model.safetensors //p' "$work/output")
export HF_ENDPOINT=$hub HF_HUB_CACHE=$work/cache HF_TOKEN_PATH=/nonexistent
unset HF_TOKEN HF_HUB_OFFLINE http_proxy all_proxy

seconds() {  # of a command, in ns resolution
  local start end
  start=$(date +%s%N)
  "$@" >/dev/null 2>&1
  end=$(date +%s%N)
  awk -v ns=$((end - start)) 'BEGIN { printf "%.3f\n", ns / 1e9 }'
}
median() { sort -n | awk '{ v[NR] = $1 } END { print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'; }

for ((round = 0; round <= rounds; ++round)); do  # the first is not counted
  rm -rf "$work/cache" "$work/copy"
  curl_seconds=$(seconds curl -s -o "$work/copy" "$file")
  rm -f "$work/copy"
  pull_seconds=$(seconds "$build/prosa" pull some/model)
  cmp "$work/weights" "$work"/cache/models--some--model/snapshots/*/model.safetensors
  [ "$round" -eq 0 ] && continue
  printf 'round %d: curl %s s, prosa %s s\n' "$round" "$curl_seconds" "$pull_seconds"
  echo "$curl_seconds" >>"$work/curl"
  echo "$pull_seconds" >>"$work/pull"
done
awk -v bytes="$bytes" -v curl="$(median <"$work/curl")" -v pull="$(median <"$work/pull")" 'BEGIN {
  printf "medians: curl %.0f MB/s, prosa pull %.0f MB/s: %.0f %%\n", bytes / curl / 1e6, bytes / pull / 1e6, 100 * curl / pull }'
