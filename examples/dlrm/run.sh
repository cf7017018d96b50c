#!/usr/bin/env bash
# A server, and a DLRM on a click log: with its 26 tables on the server, then
# without one. Arguments go to both.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=examples/server.sh
source examples/server.sh

/usr/bin/python3 examples/dlrm/train.py --server "$QUIRE_SERVER" \
  --curve build/dlrm-loss.svg "$@"
echo
/usr/bin/python3 examples/dlrm/train.py --local --curve build/dlrm-local.svg "$@"
printf '\n$ quire table list\n'
"$bin/quire" table list | head -5
