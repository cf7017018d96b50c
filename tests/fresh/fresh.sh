#!/usr/bin/env bash
# README.md's promise, kept on a machine that has nothing: makes a bare Debian
# 12, puts a clone of this tree's last commit into it, and runs ./dev there as
# an ordinary user who may use sudo.
#
#   fresh.sh [VERB…]      default: demo test
#
# All that it makes is in one directory below /var/tmp, which goes when it
# ends; its mounts and processes are in namespaces that end with it.
set -euo pipefail
(($#)) || set -- demo test
sudo=()
((EUID == 0)) || sudo=(sudo)

work=$(mktemp -d /var/tmp/quire-fresh.XXXXXX)
trap '"${sudo[@]}" rm -rf --one-file-system "$work"' EXIT
root=$work/root

git diff --quiet HEAD || echo "Note: what is not committed is not in the clone."
echo "── a bare Debian 12: git, sudo, a user"
git clone --quiet --depth 1 "file://$(git rev-parse --show-toplevel)" \
  "$work/quire"
"${sudo[@]}" mmdebstrap --quiet --variant=minbase \
  --include=git,ca-certificates,sudo bookworm "$root" </dev/null
"${sudo[@]}" bash -euc '
  chroot "$1" useradd --create-home --shell /bin/bash reader
  echo "reader ALL=(ALL) NOPASSWD: ALL" >"$1/etc/sudoers.d/reader"
  echo "127.0.0.1 localhost $(hostname)" >"$1/etc/hosts"
  mv "$2" "$1/home/reader/quire"
  chroot "$1" chown -R reader: /home/reader
' - "$root" "$work/quire"

# inside COMMAND: runs it as the user, in the clone, with a clean environment.
inside() {
  "${sudo[@]}" unshare --mount --pid --fork --kill-child bash -euc '
    mount -t proc proc "$1/proc"
    mount --rbind /sys "$1/sys"
    mount --rbind /dev "$1/dev"
    exec chroot --userspec=reader:reader "$1" \
      env -i HOME=/home/reader PATH=/usr/bin:/bin LANG=C.UTF-8 \
      bash -c "cd ~/quire && $2"
  ' - "$root" "$1"
}

for verb; do
  printf '\n── ./dev %s\n' "$verb"
  start=$SECONDS
  inside "./dev $verb --yes"
  report+=("./dev $verb: passed on a bare Debian 12, $((SECONDS - start)) s")
done
printf '\n'
printf '%s\n' "${report[@]}"
