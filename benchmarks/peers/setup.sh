#!/usr/bin/env bash
# Installs what the peers' programs import into .peers/ (kept out of git). Does nothing twice.
set -euo pipefail
cd "$(dirname "$0")/../.."

wanted='pykka==4.*'
stamp=.peers/installed

[ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && exit 0
echo "installing peers into .peers: $wanted"
[ -d .peers/venv ] || "${PYTHON:-python3}" -m venv .peers/venv
.peers/venv/bin/python -m pip --disable-pip-version-check --quiet install "$wanted"
printf '%s\n' "$wanted" >"$stamp"
