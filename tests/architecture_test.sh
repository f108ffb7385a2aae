#!/usr/bin/env bash
# Holds the folders of the prosa in $1 to their order: each part of src/ includes only itself and what stands before it
# in the way of the data (docs/internals). Names every line that does not, and every file that has grown too long.
set -euo pipefail
cd -- "$1"
shopt -s globstar nullglob

order=(base format hub model tokenizer checkpoint backend sampling grammar runtime chat wire voice server cli tools)
declare -A rank
for i in "${!order[@]}"; do rank[${order[$i]}]=$i; done
max_lines=500
failed=0

complain() {
  printf '%s\n' "$*"
  failed=1
}

# allowed FILE PART INCLUDED: whether a file of src/PART may include this header.
allowed() {
  local file=$1 part=$2 header=$3
  local other=${header%%/*}
  case $part in
    base | format | hub) [[ $other == "$part" || $other == base || $other == prosa ]] ;;  # each of use by itself
    cli)
      case "$file $header" in
        "src/cli/main.cpp tools/commands.h") true ;;
        # Every file that prosa writes goes through these, and is removed by a signal that ends the program.
        "src/cli/line_editor.cpp base/atomic_file.h" | "src/cli/line_editor.cpp base/files.h") true ;;
        "src/cli/shell_files.cpp base/atomic_file.h") true ;;
        "src/cli/line_editor.cpp base/lock_beside.h" | "src/cli/interrupt.cpp base/signal_removal.h") true ;;
        *) [[ $other == cli || $other == prosa ]] ;;
      esac
      ;;
    *) [[ $other == prosa || (-n ${rank[$other]:-} && ${rank[$other]} -le ${rank[$part]}) ]] ;;
  esac
}

for file in src/**/*.{cpp,h,inl}; do
  part=${file#src/}
  part=${part%%/*}
  if [[ -z ${rank[$part]:-} ]]; then complain "$file: no place in the order of the folders"; continue; fi
  while IFS=: read -r line text; do
    header=${text#*\"}
    header=${header%%\"*}
    allowed "$file" "$part" "$header" || complain "$file:$line: src/$part must not include $header"
  done < <(grep -n '^ *# *include "' "$file" || true)
  lines=$(wc -l <"$file")
  if ((lines > max_lines)); then complain "$file: $lines lines, more than $max_lines"; fi
done

# What applications see needs nothing but itself.
for file in include/**/*.h; do
  if grep -n '^ *# *include "' "$file" | grep -v '"prosa/'; then complain "$file: includes what is not installed"; fi
done

if ((failed)); then exit 1; fi
echo "${#order[@]} folders in order"
