#!/usr/bin/env bash
# Runs the tests of src/enrich against real servers of the Model Context Protocol: installs them with npm into a
# temporary folder, or uses the folder that COLLOQUY_MCP_SERVERS names. Needs npm, node and cargo.
set -euo pipefail
cd "$(dirname "$0")/../.."

readonly SERVERS=(
  "@modelcontextprotocol/server-everything@2026.8.31"
  "@modelcontextprotocol/server-memory@2026.8.31"
)

if [ -z "${COLLOQUY_MCP_SERVERS:-}" ]; then
  COLLOQUY_MCP_SERVERS=$(mktemp -d)
  trap 'rm -rf "$COLLOQUY_MCP_SERVERS"' EXIT
  npm install --silent --no-fund --no-audit --prefix "$COLLOQUY_MCP_SERVERS" "${SERVERS[@]}" >&2
fi
export COLLOQUY_MCP_SERVERS
timeout 600 cargo test --locked -p colloquy-enrich --lib real -- --nocapture "$@"
