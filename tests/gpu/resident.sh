#!/usr/bin/env bash
# Builds what the resident decode kernel needs on a machine with a card, checks it, then times it beside the graph of
# kernels: about two minutes on 16 cores. Every step has a time limit of its own, as a kernel that waits for itself is
# the likeliest fault, and none keeps the later ones from running.
#
# usage: resident.sh HEADERS OUT    HEADERS: folder with fmt/, nlohmann/ and xxhash.h, or "" where they are installed
set -u
headers=${1-}
out=${2:?usage: resident.sh HEADERS OUT}
root=$(cd "$(dirname "$0")/../.." && pwd)
build=${BUILD:-/tmp/prosa-resident}
mkdir -p "$out"
failed=0

# step NAME SECONDS COMMAND...: output to OUT/NAME.txt, its end to the terminal.
step() {
  local name=$1 limit=$2 begin=$SECONDS rc=0
  shift 2
  timeout -k 5 "$limit" "$@" > "$out/$name.txt" 2>&1 || rc=$?
  printf '== %s: rc %d, %d s\n' "$name" "$rc" $((SECONDS - begin))
  tail -n "${LINES_SHOWN:-14}" "$out/$name.txt"
  [ "$rc" -eq 0 ] || failed=1
  return "$rc"
}

step configure 60 cmake -S "$root/tests/gpu" -B "$build" -DPROSA_CUDA_ARCHITECTURES=90a \
  -DPROSA_GPU_HEADERS="$headers" || exit 1
LINES_SHOWN=4 step build 180 cmake --build "$build" -j "$(nproc)" --target \
  gpu_resident_test gpu_exact_test gpu_bench gpu_synth || exit 1

# Correctness first, the smallest things first.
step small 60 "$build/gpu_resident_test" SmallModels
small=$?
if [ "$small" -eq 124 ] || [ "$small" -eq 137 ]; then
  echo "the kernel hangs: nothing more is run"
  exit 1
fi
LINES_SHOWN=4 step exact 40 "$build/gpu_exact_test"
step full 100 "$build/gpu_resident_test" FullSize

# Then time, both in turn in one process.
for bits in 4 8; do
  rm -rf "/tmp/prosa-q$bits"
  LINES_SHOWN=1 step "synth$bits" 60 "$build/gpu_synth" qwen3.5-0.8b "/tmp/prosa-q$bits" "$bits" 64
  LINES_SHOWN=40 step "bench$bits" 60 "$build/gpu_bench" "/tmp/prosa-q$bits" --resident --only both --gen 128
done

# Bad addresses, when asked for: MEMCHECK=SECONDS.
if [ -n "${MEMCHECK-}" ]; then
  LINES_SHOWN=6 step memcheck "$MEMCHECK" compute-sanitizer --tool memcheck "$build/gpu_resident_test" StatesMove
fi
exit "$failed"
