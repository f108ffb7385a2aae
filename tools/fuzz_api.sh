#!/usr/bin/env bash
# Asks a running `prosa serve` for what its description (/openapi.json) allows and for what it does not: no answer may be
# a 5xx, or look otherwise than described, and the server must live at the end.
#
#   tools/fuzz_api.sh PROGRAM [MODEL] [-- options of schemathesis run]
#
# Needs schemathesis (PyPI; SCHEMATHESIS names the command). Ollama's paths that answer 501 on purpose are left out. A
# reply may take two seconds and then ends where it is, which no check minds.
set -euo pipefail

program=$1
shift
model=()
if [[ $# -gt 0 && $1 != -- ]]; then model=("$1"); shift; fi
if [[ ${1:-} == -- ]]; then shift; fi
log=$(mktemp)
"$program" serve "${model[@]}" --port 0 --threads 2 --quiet --max-tokens 8 --disable-thinking --reply-seconds 2 --context 2048 2>"$log" &
server=$!
cleanup() { kill -9 "$server" 2>/dev/null || true; rm -f "$log"; }
trap cleanup EXIT

for ((i = 0; i < 600; ++i)); do
  address=$(grep -o 'http://[0-9.:]*' "$log" || true)
  if [[ -n $address ]]; then break; fi
  sleep 0.1
done
if [[ -z $address ]]; then cat "$log"; exit 1; fi

"${SCHEMATHESIS:-schemathesis}" run "$address/openapi.json" --url "$address" --request-timeout 30 --continue-on-failure \
  --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance \
  --exclude-path-regex '^/api/(embed|embeddings|pull|create|copy|delete|push)$' "$@"

kill -TERM "$server"
wait "$server"  # its own exit code: it must end as it should
