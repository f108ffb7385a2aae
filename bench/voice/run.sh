#!/usr/bin/env bash
# run.sh BUILD OUT [OPTION …]: a spoken conversation of many turns, and a table of what each turn took.
#
# Every line of sentences.txt (or of the file that SENTENCES names) is spoken by a voice that is not the reply's, played
# in real time to `BUILD/prosa voice` with the OPTIONs, and answered. OUT gets the recordings (user/), the reply
# (reply.wav), everything that happened (timeline.json, picture.svg) and the table (table.md).
#
# USER_VOICE: festival (Debian: festival festvox-us-slt-hts), hibari (PyPI: hibari-tts) or flite; the first that is there
# unless it is set. Needs python3. prosa's own exit code is run.sh's; a sentence that got no answer is exit code 1.
set -euo pipefail
here=$(cd -- "$(dirname -- "$0")" && pwd -P)
if [ $# -lt 2 ]; then
  sed -n '2,9s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi
build=$(cd -- "$1" && pwd -P)
out=$2
shift 2
sentences=${SENTENCES:-$here/sentences.txt}

choose_voice() {
  if command -v text2wave >/dev/null && [ -d /usr/share/festival/voices/us/cmu_us_slt_arctic_hts ]; then
    echo festival
  elif command -v hibari >/dev/null; then
    echo hibari
  else
    echo flite
  fi
}

say() {  # TEXT FILE
  case $voice in
    festival) text2wave -eval '(voice_cmu_us_slt_arctic_hts)' -o "$2" <<<"$1" ;;
    hibari) hibari "$1" -o "$2" ;;
    flite) flite -voice awb -t "$1" -o "$2" ;;
    *)
      echo "run.sh: no USER_VOICE '$voice': festival, hibari or flite" >&2
      return 2
      ;;
  esac
}

voice=${USER_VOICE:-$(choose_voice)}
mkdir -p "$out/user"
recordings=()
number=0
while IFS= read -r sentence; do
  [ -n "$sentence" ] || continue
  number=$((number + 1))
  file=$out/user/$(printf '%02d' "$number").wav
  [ -s "$file" ] || say "$sentence" "$file"
  recordings+=("$file")
done <"$sentences"

"$build/prosa" voice --in "${recordings[@]}" --out "$out/reply.wav" --timeline "$out/timeline.json" \
  --picture "$out/picture.svg" "$@" >"$out/talk.txt"
python3 "$here/table.py" "$sentences" "$out/timeline.json" | tee "$out/table.md"
