#!/usr/bin/env bash
# Runs the tests of src/enrich against real servers of the Model Context Protocol from npm, or against those in the
# folder that COLLOQUY_MCP_SERVERS names. Needs npm, node and cargo.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/real/packages.sh

if [ -z "${COLLOQUY_MCP_SERVERS:-}" ]; then
  get_servers
  COLLOQUY_MCP_SERVERS=$REAL_MCP_SERVERS
fi
export COLLOQUY_MCP_SERVERS
timeout 240 cargo test --workspace --locked --lib -- --nocapture mcp::tests::real "$@"
