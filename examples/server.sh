# For run.sh of an example, to be sourced: starts a server of its own and ends
# it with the script; sets QUIRE_SERVER, and what Python needs to find quire.
# shellcheck shell=bash
#
# QUIRE_BIN is where the programs are; ./dev example NAME builds them first.
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
