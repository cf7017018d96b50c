#!/usr/bin/env bash
# The main job, with real vectors: a server, an import, shaped lookups, words
# near a word, a table that learns, a clean stop.
#
#   demo.sh [--keep]     --keep leaves the server running
#
# QUIRE_BIN is where the programs are; ./dev demo builds them first.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bin=${QUIRE_BIN:-build/release/bin}
keep=${1:-}
[[ $keep == @(|--keep) ]] || { echo "usage: demo.sh [--keep]" >&2 && exit 2; }
work=$(mktemp -d)
server='' address=''

# A real server, on a free port that it says once it listens.
start() {
  "$bin/quire-server" --listen 127.0.0.1:0 --port-file "$work/port" \
    </dev/null >"$work/server.log" 2>&1 &
  server=$!
  for _ in {1..200}; do
    [[ -s $work/port ]] && break
    kill -0 "$server" 2>/dev/null || break
    sleep 0.05
  done
  [[ -s $work/port ]] || { echo "the server did not start:" >&2 && exit 1; }
  address=127.0.0.1:$(<"$work/port")
  export QUIRE_SERVER=$address
}

# Whatever happened, the server ends; if all went well, it says so itself.
finish() {
  local code=$?
  if [[ $server ]]; then
    kill "$server" 2>/dev/null || true
    wait "$server" || code=1
  fi
  if ((code == 0)); then
    printf '── SIGTERM: '
    tail -n 1 "$work/server.log" | sed 's/.*] //'
  elif [[ -f $work/server.log ]]; then
    cat "$work/server.log" >&2
  fi
  rm -rf "$work"
  exit "$code"
}
trap finish EXIT

# Shows a command as a person types it, then what it prints.
run() {
  local word line='$ quire'
  for word; do
    [[ $word =~ ^[A-Za-z0-9_./:,=+-]+$ ]] || word="'$word'"
    line+=" $word"
  done
  echo "$line"
  "$bin/quire" "$@"
}

# Reads rows as CSV. Each number of a row shall become the row's id: prints the
# loss, the mean of (number - id)², and writes its gradient to a file.
loss() {
  LC_ALL=C awk -F, -v file="$1" '
    NR > 1 {
      row = ""
      for (i = 2; i <= NF; i++) {
        error = $i - $1
        sum += error * error
        count++
        row = row (i > 2 ? "," : "") error
      }
      rows = rows (NR > 2 ? "," : "") "[" row "]"
    }
    END {
      print "[" rows "]" > file
      printf "loss %8.4f", sum / count
    }'
}

# Look up, say how far off it is, push the gradient: $1 times.
train() {
  local step ids=(2 3 1 0 8 6)
  for ((step = 1; step <= $1; step++)); do
    printf 'step %d  ' "$step"
    "$bin/quire" lookup dictionary "${ids[@]}" -o csv |
      loss "$work/gradient.json"
    printf '   pushed: '
    "$bin/quire" apply dictionary "${ids[@]}" \
      --gradient "@$work/gradient.json" --lr 0.5
  done
}

start
echo "── A server on $address, and 5,000 English words as vectors"
run import examples/glove.5k.100d.txt --name glove
run lookup glove -w king -w queen -w man -w woman --shape 2,2
run nearest glove --word king -k 2
run nearest glove -k 1 -- king -man +woman

printf '\n── A table of our own: ids of any shape give that shape + [5]\n'
run table create dictionary --rows 10 --dim 5 | grep -e '^[$]' -e initial
run lookup dictionary '[[2,3],[1,0],[8,6]]'

printf '\n── It learns: every number of these rows shall become the id\n'
train 4
run stats

if [[ $keep ]]; then
  rm -f "$work/gradient.json" "$work/port"
  trap - EXIT
  printf '\n── The server goes on; its log is %s. Try:\n' "$work/server.log"
  printf '  export QUIRE_SERVER=%s\n' "$address"
  printf '  %s lookup glove --word whale\n' "$bin/quire"
  printf '  kill %d\n' "$server"
fi
