#!/usr/bin/env bash
# Installs what the peers' programs need: packages into .peers/ (kept out of git), Erlang and wrk from Debian.
# Does nothing twice.
set -euo pipefail
cd "$(dirname "$0")/../.."

wanted=('pykka==4.*' xoscar thespian ray 'uvicorn==0.*' 'uvloop==0.*' 'httptools==0.*' 'websockets==17.*' 'granian==2.*')
stamp=.peers/installed

debian=()
command -v escript >/dev/null || debian+=(erlang-base)
command -v wrk >/dev/null || debian+=(wrk)
if [ "${#debian[@]}" -gt 0 ]; then
  echo "installing ${debian[*]}"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${debian[@]}" >/dev/null
fi

if command -v npm >/dev/null && [ ! -d .peers/node_modules/piscina ]; then
  echo "installing piscina into .peers"
  npm install --silent --no-audit --no-fund --prefix .peers piscina@5 >/dev/null
fi
if command -v npm >/dev/null && [ ! -d .peers/node_modules/pm2 ]; then
  echo "installing pm2 into .peers"
  npm install --silent --no-audit --no-fund --prefix .peers pm2@7 >/dev/null
fi

[ "$(cat "$stamp" 2>/dev/null)" = "${wanted[*]}" ] && exit 0
echo "installing peers into .peers: ${wanted[*]}"
[ -d .peers/venv ] || "${PYTHON:-python3}" -m venv .peers/venv
.peers/venv/bin/python -m pip --disable-pip-version-check --quiet install "${wanted[@]}"
printf '%s\n' "${wanted[*]}" >"$stamp"
