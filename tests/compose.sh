#!/usr/bin/env bash
# Runs docker-compose.yml with a real Docker Engine, from nothing, and asserts what it says. Needs root, Debian's packages
# docker.io, docker-compose, debootstrap and iptables, and a release binary that runs on Debian 12:
#
#   tests/compose.sh target/release/strongroom
#
# No image is pulled: the base image is made by debootstrap under the name that the Dockerfile asks for. The engine is this
# script's own (its own directory, socket and process), and ends with it.
set -euo pipefail
binary=$(realpath "${1:-target/release/strongroom}")
cd "$(dirname "$0")/.."
work=$(mktemp -d)
export DOCKER_HOST="unix://$work/docker.sock" DOCKER_BUILDKIT=0 COMPOSE_PROJECT_NAME=strongroom-check
compose=(docker-compose --ansi never)
engine=

finish() {
  status=$?
  set +e
  if [ -n "$engine" ]; then
    [ "$status" = 0 ] || "${compose[@]}" logs --tail 20 2>/dev/null
    "${compose[@]}" --profile load down --volumes --timeout 10 >/dev/null 2>&1
    kill "$engine"
    for _ in $(seq 150); do kill -0 "$engine" 2>/dev/null || break; sleep 0.2; done
  fi
  rm -rf "$work"
  if [ "$status" = 0 ]; then echo "compose: all checks passed"; else echo "compose: FAILED ($status)"; fi
}
trap finish EXIT

fail() { echo "compose: $1" >&2; exit 1; }

echo "== an engine of its own"
dockerd --host "$DOCKER_HOST" --data-root "$work/docker" --exec-root "$work/exec" --pidfile "$work/dockerd.pid" \
  --storage-driver "${STORAGE_DRIVER:-overlay2}" >"$work/dockerd.log" 2>&1 &
engine=$!
for _ in $(seq 100); do docker info >/dev/null 2>&1 && break; sleep 0.3; done
docker info >/dev/null 2>&1 || { tail -20 "$work/dockerd.log" >&2; fail "no engine came up"; }

echo "== debian:bookworm-slim from packages, the image from the binary"
debootstrap --variant=minbase bookworm "$work/root" "${DEBIAN_MIRROR:-http://deb.debian.org/debian}" >"$work/debootstrap.log" 2>&1 ||
  { tail -5 "$work/debootstrap.log" >&2; fail "debootstrap"; }
rm -rf "$work/root/var/cache/apt/archives" "$work/root/usr/share/doc" "$work/root/usr/share/locale"
tar -C "$work/root" -c . | docker import - debian:bookworm-slim >/dev/null
rm -rf "$work/root"
mkdir "$work/context"
cp "$binary" "$work/context/strongroom"
docker build --quiet --file Dockerfile --target prebuilt --tag strongroom:local "$work/context" >"$work/build.log" 2>&1 ||
  { tail -5 "$work/build.log" >&2; fail "the image"; }

echo "== docker compose up -d"
"${compose[@]}" up -d --no-build 2>&1 | sed 's/^/   /'
healthy() { [ "$(docker inspect -f '{{.State.Health.Status}}' "$("${compose[@]}" ps -q "$1")")" = healthy ]; }
for _ in $(seq 120); do healthy vault && healthy server && break; sleep 0.5; done
healthy vault && healthy server || fail "vault and server do not become healthy"
"${compose[@]}" ps | sed 's/^/   /'

echo "== who sees what"
for service in vault server; do
  id=$("${compose[@]}" ps -q "$service")
  [ "$(docker exec "$id" id -u)" = 10001 ] || fail "$service runs as root"
  ! docker exec "$id" sh -c 'touch /usr/here' 2>/dev/null || fail "$service writes to its root file system"
done
server=$("${compose[@]}" ps -q server) vault=$("${compose[@]}" ps -q vault)
! docker exec "$server" sh -c 'ls -A /vault | grep .' || fail "the server sees the vault's directory"
[ "$(docker exec "$server" ls -A /vault-ca)" = ca.pem ] || fail "the server has the vault's certificate, and that alone"
! docker exec "$server" sh -c 'echo x >/vault-ca/ca.pem' 2>/dev/null || fail "the server can change the vault's certificate"
! docker exec "$vault" sh -c 'ls -A /data /config | grep -v : | grep .' || fail "the vault sees the server's directories"
[ -z "$(docker port "$vault")" ] || fail "the vault is published"
docker port "$server" | grep -q '^7700/tcp -> 127.0.0.1:7700$' || fail "the server is published on loopback only"
"$binary" health --url http://127.0.0.1:7700/readyz || fail "the published port"

echo "== docker compose run --rm load"
"${compose[@]}" run --rm load 2>"$work/load.err" | tee "$work/load.out" ||
  { tail -5 "$work/load.err" >&2; fail "load"; }
[ "$(grep -cE '^(MMK|CMK|CMK, double encryption) +[0-9]+ +[0-9.]+ [kMG]?B/s' "$work/load.out")" = 3 ] || fail "three lines of figures"

echo "== the lock, between containers"
ask() { docker exec "$server" strongroom query 'ServiceLogs | count' --workspace load-cmk-double --output ndjson 2>&1; }
right=$(ask)
docker exec "$vault" strongroom key disable load-key >/dev/null
began=$SECONDS
until answer=$(ask) || true; case "$answer" in *CustomerKeyRevoked*) true ;; "$right") false ;; *) fail "$answer" ;; esac; do
  [ $((SECONDS - began)) -lt 60 ] || fail "answers 60 s after the key was disabled"
  sleep 0.5
done
echo "   gone after $((SECONDS - began)) s: $answer"
docker exec "$vault" strongroom key enable load-key >/dev/null
began=$SECONDS
until [ "$(ask)" = "$right" ]; do
  [ $((SECONDS - began)) -lt 60 ] || fail "no answers 60 s after the key was enabled"
  sleep 0.5
done
echo "   back after $((SECONDS - began)) s: $right"
