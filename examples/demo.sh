#!/usr/bin/env bash
# The main job, with real vectors: a server, an import, lookups, neighbours, a
# push. --keep leaves the server running.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=build/release/bin
work=$(mktemp -d)

"$bin/quire-server" --listen 127.0.0.1:0 --port-file "$work/port" \
  2>"$work/server.log" &
server=$!
stop() {
  kill "$server" 2>/dev/null && wait "$server"
  rm -rf "$work"
}
trap stop EXIT
for _ in {1..100}; do [[ -s $work/port ]] && break || sleep 0.05; done
[[ -s $work/port ]] || { cat "$work/server.log" && exit 1; }
export QUIRE_SERVER=127.0.0.1:$(<"$work/port")

# Shows a command as a person types it, then what it prints.
run() { printf '\n$ quire %s\n' "${*@Q}" && "$bin/quire" "$@"; }

echo "A server on $QUIRE_SERVER."
run import examples/glove.5k.100d.txt --name glove
run nearest glove --word king -k 4
run nearest glove -k 3 -- king -man +woman
run table create dictionary --rows 10 --dim 5
run lookup dictionary '[[2,3],[1,0],[8,6]]'
run lookup dictionary 2
run apply dictionary 2 --fill 1 --lr 0.5
run lookup dictionary 2
run stats

if [[ ${1:-} == --keep ]]; then
  trap - EXIT
  printf '\nThe server goes on. Try:\n  export QUIRE_SERVER=%s\n' "$QUIRE_SERVER"
  printf '  %s lookup glove --word whale\n  kill %s\n' "$bin/quire" "$server"
fi
