# Small recipes; `just` lists them.

buf := "npx --yes @bufbuild/buf@1.75.0"

_default:
    @just --list

# Everything that CI runs.
verify:
    .ci/run

# Formats Rust and the contract.
fmt:
    cargo fmt --all
    cd proto && {{ buf }} format --write

# Lints as CI does.
lint:
    cargo clippy --workspace --all-targets --locked -- -D warnings

# Passes the tests.
test:
    cargo test --workspace --locked

# Checks the contract: style, and whether it still understands what was released.
proto:
    cd proto && {{ buf }} lint
    cd proto && {{ buf }} breaking --against baseline.json

# Records the contract as it is now as the one that later ones must stay compatible with.
proto-baseline:
    cd proto && {{ buf }} build --exclude-source-info -o -#format=json | python3 -m json.tool --indent 1 - baseline.json

# Calls a server from Python, knowing only proto/.
python:
    cargo build --locked
    python3 -m venv target/python
    target/python/bin/pip install --quiet -r tests/python/requirements.txt
    target/python/bin/python tests/python/test_client.py --server target/debug/colloquy

# Holds conversations with a real model and real tool servers (needs python3, npm and node).
real:
    tests/real/run.sh

# Plays sessions with real servers of the Model Context Protocol (needs npm and node).
mcp:
    tests/real/mcp.sh

# Plays the example conversations.
demo:
    cargo run --release --locked -- demo

# Deletes each row of the example flows, and fails where too few are missed.
deletions:
    for flow in src/server/flows/*/; do \
        cargo run --release --quiet --locked -- flow deletions "$flow" --min 95 || exit 1; \
    done

# Runs a server on the default ports.
serve *flags:
    cargo run --release --locked -- serve {{ flags }}

# Talks to it.
chat *flags:
    cargo run --release --locked -- chat {{ flags }}

# Writes the maps of the example flows.
maps:
    for flow in src/server/flows/*; do \
        for ending in md svg; do \
            cargo run --quiet --locked -- flow graph "$flow" --out "docs/maps/$(basename "$flow").$ending" || exit 1; \
        done; \
    done

# Writes the JSON Schemas of flow and scenario files.
schemas:
    cargo run --quiet --locked -- flow schema --out docs/schema/flow.schema.json
    cargo run --quiet --locked -- flow schema --scenarios --out docs/schema/scenarios.schema.json

# Measures turns, then the ceiling of the same stack.
load *flags:
    cargo run --release --locked -p colloquy-loadtest -- turns {{ flags }}
    cargo run --release --locked -p colloquy-loadtest -- ceiling grpc {{ flags }}

# Kills a server under load 500 times and plays 2,000 crash points: what was acknowledged must be there.
crash *flags:
    cargo run --release --locked -p colloquy-loadtest -- crash {{ flags }}

# Plays seeds of the runtime's simulation: actors, turns and store in virtual time, with every fault there is.
simulate *flags:
    cargo run --release --locked -p colloquy-loadtest --features simulation -- simulate {{ flags }}

# Checks advisories, licences, bans and sources (needs cargo-deny and the network).
deny:
    cargo deny check

# Checks spelling (needs typos).
typos:
    typos
