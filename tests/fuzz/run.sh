#!/usr/bin/env bash
# Builds the fuzzers and runs them from their corpora, two at a time: tests/fuzz/run.sh SECONDS [NAME…]. Without names,
# all of them.
#
# Prints a line for each: executions, inputs that reached something new, edges covered, and the result. A finding ends
# its fuzzer; its input is printed as base64 and kept in build-fuzz/findings. What a run has learned is kept in
# build-fuzz/corpus and gone on with; nothing is written into the repository. Exit code 1 when there was a finding.
#
# FUZZ_JOBS: how many run at once (default 2).
set -euo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd -P)
cd "$here"
if [ $# -lt 1 ] || ! [[ $1 =~ ^[0-9]+$ ]]; then
  echo "usage: tests/fuzz/run.sh SECONDS [NAME…]" >&2
  exit 2
fi
seconds=$1
shift
names=("$@")
if [ ${#names[@]} -eq 0 ]; then
  for source in tests/fuzz/corpus/*/; do names+=("$(basename "$source")"); done
fi
build=$here/build-fuzz
jobs=${FUZZ_JOBS:-2}

# The longest input of each: what a tokenizer or a session needs is not worth the time of the others.
longest() {
  case $1 in
    session) echo 24576 ;;
    load) echo 8192 ;;
    tokenizer) echo 6144 ;;
    *) echo 4096 ;;
  esac
}

[ -f "$build/build.ninja" ] || cmake --preset fuzz -DPROSA_WERROR=ON >/dev/null
targets=("${names[@]/#/fuzz_}")
cmake --build --preset fuzz --target "${targets[@]}" -- --quiet
mkdir -p "$build/logs" "$build/findings"

# fuzz NAME: one fuzzer, its output in a log.
fuzz() {
  local name=$1 log=$build/logs/$1 learned=$build/corpus/$1 scratch options=()
  mkdir -p "$learned"
  # Each input becomes a file: in memory, where the system has such a folder.
  scratch=$(mktemp -d -p "$([ -w /dev/shm ] && echo /dev/shm || echo "${TMPDIR:-/tmp}")")
  [ ! -f "tests/fuzz/$name.dict" ] || options+=("-dict=tests/fuzz/$name.dict")
  local result=0
  TMPDIR=$scratch "$build/tests/fuzz/fuzz_$name" -max_total_time="$seconds" -max_len="$(longest "$name")" -timeout=10 \
    -rss_limit_mb=1500 -malloc_limit_mb=400 -print_final_stats=1 -artifact_prefix="$build/findings/$name-" \
    "${options[@]}" "$learned" "tests/fuzz/corpus/$name" >"$log" 2>&1 || result=$?
  rm -rf "$scratch"
  echo "result: $result" >>"$log"
}

# report NAME: its line of the table; false after a finding.
report() {
  local name=$1 log=$build/logs/$1 runs new edges result
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  new=$(sed -n 's/^stat::new_units_added: *//p' "$log")
  edges=$(grep -oE 'cov: [0-9]+' "$log" | tail -n 1 | cut -d' ' -f2 || true)
  result=$(sed -n 's/^result: //p' "$log" | tail -n 1)
  printf '%-14s %12s %9s %9s  %s\n' "$name" "${runs:--}" "${new:--}" "${edges:--}" "$([ "$result" = 0 ] && echo ok || echo FINDING)"
  [ "$result" = 0 ]
}

# explain NAME: what a finding is, and its input.
explain() {
  local log=$build/logs/$1 input
  printf '\n== %s\n' "$1"
  grep -vE '^(#[0-9]|INFO|stat::|\s*NEW_FUNC)' "$log" | head -n 60
  input=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)
  [ -n "$input" ] || return 0
  printf 'The input, as base64 (write it to tests/fuzz/corpus/%s/ when it is fixed):\n' "$1"
  base64 -w 120 "$input"
}

export -f fuzz longest
export build seconds
# shellcheck disable=SC2016 # expanded by the inner shell
printf '%s\0' "${names[@]}" | xargs -0 -n 1 -P "$jobs" bash -c 'fuzz "$1"' fuzz

failed=()
printf '%-14s %12s %9s %9s\n' fuzzer executions new edges
for name in "${names[@]}"; do report "$name" || failed+=("$name"); done
for name in ${failed[@]+"${failed[@]}"}; do explain "$name"; done
[ ${#failed[@]} -eq 0 ]
