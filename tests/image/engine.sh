#!/usr/bin/env bash
# Runs a command with a container engine of its own and ends that engine afterwards.
#
#     tests/image/engine.sh COMMAND [ARGUMENT ...]
#
# The command finds the engine in DOCKER_HOST and the client for it in IMAGE_ENGINE_CLIENT. No other engine of this machine
# is touched, nor its firewall: containers have no network or the host's.
#
#     IMAGE_ENGINE=docker    use the engine that `docker` reaches; its images and layers stay there
#     IMAGE_ENGINE_DIR=DIR   keep the engine's images and layers in DIR for the next time
set -euo pipefail
(($#)) || { sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" >&2; exit 2; }

refuse() {
  echo "No container engine: $*" >&2
  exit 1
}

if [[ ${IMAGE_ENGINE:-} == docker ]]; then
  docker info >/dev/null 2>&1 || refuse "IMAGE_ENGINE=docker, but \`docker info\` does not answer."
  IMAGE_ENGINE_CLIENT=$(command -v docker) exec "$@"
fi

advice="Or start one yourself and set IMAGE_ENGINE=docker."
[[ $(uname -s) == Linux ]] || refuse "an engine of its own needs Linux. $advice"
((EUID == 0)) || refuse "an engine of its own needs root. $advice"
missing=()
for package in docker.io iptables mmdebstrap; do
  dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package")
done
if ((${#missing[@]})); then
  command -v apt-get >/dev/null || refuse "${missing[*]} missing, and there is no apt-get to install them. $advice"
  echo "Installing ${missing[*]} (once)" >&2
  log=$(apt-get update -qq 2>&1 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    "${missing[@]}" 2>&1) || refuse "${missing[*]} could not be installed: ${log: -500}"
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/rlpipe-engine.XXXXXX")
engine=
stop() {
  if [[ $engine ]]; then
    kill "$engine" 2>/dev/null || true
    wait "$engine" 2>/dev/null || true
  fi
  rm -rf "$work"
}
trap stop EXIT

# Debian's client: others want a plugin to build. A socket of its own, and a configuration without anybody's log-ins.
export DOCKER_HOST=unix://$work/socket DOCKER_CONFIG=$work/config DOCKER_BUILDKIT=1 IMAGE_ENGINE_CLIENT=/usr/bin/docker
unset DOCKER_CONTEXT
# In a session of its own: Ctrl-C is for the command. Ended with this script, whatever ends that. What it mounts, only it
# sees, and that is gone with it.
setpriv --pdeathsig TERM setsid unshare --mount dockerd --host "$DOCKER_HOST" --pidfile "$work/pid" \
  --data-root "${IMAGE_ENGINE_DIR:-$work/data}" --exec-root "$work/exec" \
  --bridge none --iptables=false --ip6tables=false >"$work/log" 2>&1 &
engine=$!
for _ in {1..150}; do
  "$IMAGE_ENGINE_CLIENT" info >/dev/null 2>&1 && break
  kill -0 "$engine" 2>/dev/null || refuse "dockerd ended: $(tail -n 3 "$work/log")"
  sleep 0.2
done
"$IMAGE_ENGINE_CLIENT" info >/dev/null 2>&1 || refuse "dockerd does not answer: $(tail -n 3 "$work/log")"
"$@"
