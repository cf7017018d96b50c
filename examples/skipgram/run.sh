#!/usr/bin/env bash
# A server, skip-gram on Moby-Dick from several processes, and the words that
# are near a word afterwards. Arguments go to train.py.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=examples/server.sh
source examples/server.sh

/usr/bin/python3 examples/skipgram/train.py --server "$QUIRE_SERVER" \
  --curve build/skipgram-loss.svg "$@"
for word in whale captain sea; do
  printf '\n$ quire nearest skipgram --word %s -k 8\n' "$word"
  "$bin/quire" nearest skipgram --word "$word" -k 8
done
