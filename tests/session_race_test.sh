#!/usr/bin/env bash
# Several processes on one session file: PROGRAM MODEL PROCESSES TURNS RUNS.
#
# Each process says TURNS things to the same conversation, one call of the program each. A call has its turn in the file,
# or is told that another process has it. Afterwards the file has to be whole and to hold every turn that got in, once.
set -euo pipefail
program=${1:?program} model=${2:?model folder} processes=${3:?processes} turns=${4:?turns} runs=${5:?runs}

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT

complain() {
  printf '%s\n' "$*" >&2
  exit 1
}

say() { # FILE WORDS [OPTIONS...]
  local file=$1 words=$2
  shift 2
  "$program" chat "$model" "$words" --session "$file" --max-tokens 2 --threads 1 --context 100000 --temperature 0 "$@"
}

# talk NUMBER: the turns of one process. Writes the words that got in, and a line for each time it was told.
talk() {
  local turn words status
  for ((turn = 1; turn <= turns; ++turn)); do
    words="p$1t$turn."
    status=0
    say "$file" "$words" >/dev/null 2>"$folder/err.$1" || status=$?
    if ((status == 0)); then
      echo "$words" >>"$folder/in"
    elif ((status == 3)) && grep -q 'is in use by .*--read-only' "$folder/err.$1"; then
      echo "$words" >>"$folder/told"
    else
      { echo "$words: exit $status"; cat "$folder/err.$1"; } >>"$folder/failed"
    fi
  done
}

total_in=0 total_told=0
for ((run = 1; run <= runs; ++run)); do
  folder=$work/$run
  file=$folder/talk.session
  mkdir "$folder"
  touch "$folder/in" "$folder/told"
  for ((process = 1; process <= processes; ++process)); do talk "$process" & done
  wait
  if [[ -e $folder/failed ]]; then complain "run $run: $(cat "$folder/failed")"; fi
  say "$file" "and now?" --read-only >/dev/null || complain "run $run: the file can't be read"
  grep -aoE '"content":"p[0-9]+t[0-9]+\."' "$file" | grep -oE 'p[0-9]+t[0-9]+\.' | sort >"$folder/kept"
  sort -o "$folder/in" "$folder/in"
  cmp -s "$folder/in" "$folder/kept" || complain "run $run: turns lost: $(diff "$folder/in" "$folder/kept")"
  left=$(find "$folder" -name '.*' -type f)
  [[ -z $left ]] || complain "run $run: left over: $left"
  total_in=$((total_in + $(wc -l <"$folder/in")))
  total_told=$((total_told + $(wc -l <"$folder/told")))
  rm -rf -- "$folder"
done
((total_in + total_told == processes * turns * runs)) || complain "$total_in in, $total_told told"
echo "$runs runs of $processes processes with $turns turns: $total_in turns in, $total_told told, none lost"
