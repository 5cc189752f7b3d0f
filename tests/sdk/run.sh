#!/usr/bin/env bash
# The real SDKs, newest releases, against the real binary. Everything it makes stays below target/sdk.
#
#   tests/sdk/run.sh                  all of these
#   tests/sdk/run.sh python [ARGS]    OpenAI's for Python: pytest ARGS
#   tests/sdk/run.sh node             OpenAI's for Node
#   tests/sdk/run.sh dialects [ARGS]  the SDKs of every dialect before providers of every kind: pytest ARGS
#
# MILLSTREAM_BIN names another binary than target/debug/millstream. RECORDINGS_DIR, if set, names a folder of
# recorded provider answers to replay.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
made="$root/target/sdk"
export MILLSTREAM_BIN=${MILLSTREAM_BIN:-$root/target/debug/millstream}
export PYTHONDONTWRITEBYTECODE=1
# The tests talk to loopback only.
export NO_PROXY='127.0.0.1,localhost' no_proxy='127.0.0.1,localhost'
unset OPENAI_BASE_URL OPENAI_API_KEY OPENAI_ORG_ID OPENAI_PROJECT_ID

if [[ ! -x $MILLSTREAM_BIN ]]; then
    echo "no binary at $MILLSTREAM_BIN: run 'cargo build' first" >&2
    exit 1
fi

python_sdk() {
    if [[ ! -x $made/venv/bin/python ]]; then
        python3 -m venv "$made/venv"
    fi
    # Newest releases where the index can be reached; what is installed already where it cannot.
    "$made/venv/bin/python" -m pip install --quiet --disable-pip-version-check --upgrade openai pytest ||
        "$made/venv/bin/python" -c 'import openai, pytest'
    "$made/venv/bin/python" -c 'import openai; print("openai for Python", openai.__version__)'
    (cd "$here" && "$made/venv/bin/python" -m pytest -q -p no:cacheprovider --rootdir . --ignore dialects "$@" </dev/null)
}

node_sdk() {
    mkdir -p "$made/node"
    # Modules are looked up beside the test, so the test is copied beside them.
    cp "$here/node/package.json" "$here/node/sdk.test.mjs" "$made/node/"
    (
        cd "$made/node"
        npm install --silent --no-fund --no-audit --no-package-lock </dev/null || [[ -d node_modules/openai ]]
        node -p '"openai for Node " + require("./node_modules/openai/package.json").version'
        node --test --test-timeout=60000 sdk.test.mjs </dev/null
    )
}

# Packages of their own: some of them hold others back.
dialects_sdk() {
    local packages=(pytest pytest-xdist openai anthropic google-genai ollama langchain-openai langchain-anthropic
        langchain-google-genai litellm llm)
    if [[ ! -x $made/dialects/bin/python ]]; then
        python3 -m venv "$made/dialects"
    fi
    "$made/dialects/bin/python" -m pip install --quiet --disable-pip-version-check "${packages[@]}" ||
        "$made/dialects/bin/python" -c 'import openai, anthropic, google.genai, ollama, pytest, xdist'
    mkdir -p "$made/dialects-node"
    cp "$here"/dialects/node/* "$made/dialects-node/"
    (
        cd "$made/dialects-node"
        npm install --silent --no-fund --no-audit --no-package-lock </dev/null || [[ -d node_modules/openai ]]
    )
    export DIALECTS_NODE="$made/dialects-node"
    export PATH="$made/dialects/bin:$PATH"
    (cd "$here/dialects" && "$made/dialects/bin/python" -m pytest -q -p no:cacheprovider --rootdir . -n "$(nproc)" "$@" </dev/null)
}

case ${1:-all} in
    all)
        python_sdk
        node_sdk
        dialects_sdk
        ;;
    python) python_sdk "${@:2}" ;;
    node) node_sdk ;;
    dialects) dialects_sdk "${@:2}" ;;
    *)
        echo "usage: run.sh [all | python [PYTEST ARGS] | node | dialects [PYTEST ARGS]]" >&2
        exit 2
        ;;
esac
