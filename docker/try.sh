#!/usr/bin/env bash
# Builds the image, runs it as it is meant to be run, looks a row up from
# outside the container, and stops it.
#
#   try.sh [--keep]     --keep: the image stays in its store
#
# With Docker where an engine runs. Else with podman, which needs none, in a
# store of its own below /var/tmp, on a base image made from the Debian
# archive: no registry is needed either.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
keep=${1:-}
image=quire:try
name=quire-try-$$
store=/var/tmp/quire-image

# ── Docker ──────────────────────────────────────────────────────────────────
use_docker() {
  engine=docker build_options=(--quiet) run_options=(-p 127.0.0.1::7847)
  outside_options=(--network host)
}
docker_address() { docker port "$name" 7847/tcp; }
docker_finish() { [[ $keep ]] || docker rmi -f "$image" >/dev/null; }

# ── podman ──────────────────────────────────────────────────────────────────
# Two networks and a cable between them: the server is at one end, whoever asks
# it at the other. The host's own network is not touched.
use_podman() {
  ((EUID == 0)) || exec sudo "$PWD/docker/try.sh" "$keep"
  engine=podman
  build_options=(--quiet --pull=never --format docker --isolation chroot)
  run_options=(--network "ns:/run/netns/$name")
  outside_options=(--network "ns:/run/netns/$name-outside")
  mkdir -p "$store"
  # runc, cgroupfs and ulimits that fit run also inside virtual machines and
  # other containers.
  cat >"$store/containers.conf" <<'CONF'
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[containers]
netns = "host"
default_ulimits = ["nofile=20000:20000", "nproc=20000:20000"]
CONF
  printf '[storage]\ndriver = "overlay"\ngraphroot = "%s"\nrunroot = "%s"\n' \
    "$store/images" "$store/run" >"$store/storage.conf"
  export CONTAINERS_CONF=$store/containers.conf
  export CONTAINERS_STORAGE_CONF=$store/storage.conf

  ip netns add "$name"
  ip netns add "$name-outside"
  ip link add eth0 netns "$name" type veth peer name eth0 netns "$name-outside"
  ip -n "$name" address add 198.51.100.1/30 dev eth0
  ip -n "$name-outside" address add 198.51.100.2/30 dev eth0
  local space
  for space in "$name" "$name-outside"; do
    ip -n "$space" link set eth0 up
    ip -n "$space" link set lo up
  done
}
podman_base() {
  local base=docker.io/library/debian:bookworm-slim
  podman image exists "$base" && return
  echo "── the base image, from the Debian archive"
  mmdebstrap --quiet --variant=minbase --include=usr-is-merged \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --customize-hook='rm -rf "$1"/var/cache/apt/*' \
    bookworm - </dev/null | podman import -q - "$base" >/dev/null
}
podman_address() { echo 198.51.100.1:7847; }
podman_finish() {
  ip netns delete "$name"
  ip netns delete "$name-outside"
  if [[ $keep ]]; then
    echo "The image stays; to see it:"
    echo "  export CONTAINERS_CONF=$CONTAINERS_CONF"
    echo "  export CONTAINERS_STORAGE_CONF=$CONTAINERS_STORAGE_CONF"
    return
  fi
  podman rmi -af >/dev/null
  umount "$store/images/overlay" 2>/dev/null || true
  rm -rf --one-file-system "$store"
}

finish() {
  "$engine" rm -f "$name" >/dev/null 2>&1 || true
  "${engine}_finish"
}
# The command line in a container of its own.
quire() {
  "$engine" run --rm -i --no-healthcheck "${outside_options[@]}" \
    --entrypoint quire "$image" --server "$address" "$@"
}
state() { "$engine" inspect --format "{{.State.$1}}" "$name"; }

if docker info >/dev/null 2>&1; then use_docker; else use_podman; fi
trap finish EXIT
[[ $engine == podman ]] && podman_base

echo "── $engine build"
"$engine" build "${build_options[@]}" -f docker/Dockerfile -t "$image" .
"$engine" image inspect --format '{{.Size}}' "$image" |
  awk '{ printf "size: %.0f MB\n", $1 / 1e6 }'

echo "── run: read-only root, no capabilities, 512 MB of memory"
"$engine" run -d --name "$name" "${run_options[@]}" --read-only --cap-drop all \
  --security-opt no-new-privileges --memory 512m "$image" >/dev/null
address=$("${engine}_address")
for ((i = 0; i < 50; i++)); do
  quire health >/dev/null 2>&1 && break
  sleep 0.2
done
"$engine" logs "$name" 2>&1

echo "── from outside, at $address"
quire table create dictionary --rows 10 --dim 5
quire lookup dictionary '[[2,3],[1,0],[8,6]]'
quire import - --name glove <examples/glove.5k.100d.txt
quire nearest glove --word king -k 3

echo "── more than its memory limit allows"
if refusal=$(quire table create huge --rows 10000000 --dim 128 2>&1); then
  echo "a table of 5 GB in a container of 512 MB: not refused" >&2
  exit 1
fi
grep "needs about 5[0-9]* bytes" <<<"$refusal"
"$engine" exec "$name" quire health

echo "── stop"
start=$SECONDS
"$engine" stop -t 20 "$name" >/dev/null
"$engine" logs "$name" 2>&1 | tail -2
echo "exit code $(state ExitCode) after $((SECONDS - start)) s"
[[ $(state ExitCode) == 0 ]]
