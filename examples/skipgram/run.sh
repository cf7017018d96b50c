#!/usr/bin/env bash
# A server, skip-gram on Moby-Dick from several processes, and the words that
# are near a word afterwards. Arguments go to train.py.
#
# QUIRE_BIN is where the programs are; ./dev example skipgram builds them first.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
bin=${QUIRE_BIN:-build/release/bin}
work=$(mktemp -d)
server=''

finish() {
  local code=$?
  if [[ $server ]]; then
    kill "$server" 2>/dev/null || true
    wait "$server" || code=1
  fi
  ((code == 0)) || cat "$work/server.log" >&2
  rm -rf "$work"
  exit "$code"
}
trap finish EXIT

"$bin/quire-server" --listen 127.0.0.1:0 --port-file "$work/port" \
  </dev/null >"$work/server.log" 2>&1 &
server=$!
for _ in {1..200}; do
  [[ -s $work/port ]] && break
  kill -0 "$server" 2>/dev/null || break
  sleep 0.05
done
[[ -s $work/port ]] || { echo "the server did not start:" >&2 && exit 1; }
QUIRE_SERVER=127.0.0.1:$(<"$work/port")
export QUIRE_SERVER PYTHONPATH=$PWD/python${PYTHONPATH:+:$PYTHONPATH}
export QUIRE_LIBRARY=${QUIRE_LIBRARY:-$PWD/build/release/lib/libquire.so}

/usr/bin/python3 examples/skipgram/train.py --server "$QUIRE_SERVER" \
  --curve build/skipgram-loss.svg "$@"
for word in whale captain sea; do
  printf '\n$ quire nearest skipgram --word %s -k 8\n' "$word"
  "$bin/quire" nearest skipgram --word "$word" -k 8
done
