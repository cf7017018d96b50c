#!/usr/bin/env bash
# Builds the wheel of the package quire, with the library in it, without a
# network: wheel.sh LIBRARY DIRECTORY, where the wheel goes.
set -euo pipefail
here=$(dirname "${BASH_SOURCE[0]}")
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT

cp "$here"/pyproject.toml "$here"/setup.py "$here"/../LICENSE "$stage"
mkdir "$stage/quire"
(cd "$here/quire" && find . -name __pycache__ -prune -o -type f -print0 |
  xargs -0 cp --parents -t "$stage/quire")
strip --strip-unneeded -o "$stage/quire/libquire.so" "$1"
mkdir -p "$2"
/usr/bin/python3 -m pip --quiet --disable-pip-version-check wheel \
  --no-index --no-build-isolation --no-deps --no-cache-dir \
  --wheel-dir "$2" "$stage"
