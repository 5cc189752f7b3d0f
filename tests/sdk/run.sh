#!/usr/bin/env bash
# The real OpenAI SDKs, newest releases, against the real binary. Everything it makes stays below target/sdk.
#
#   tests/sdk/run.sh                  both SDKs
#   tests/sdk/run.sh python [ARGS]    pytest ARGS
#   tests/sdk/run.sh node
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
    (cd "$here" && "$made/venv/bin/python" -m pytest -q -p no:cacheprovider --rootdir . "$@" </dev/null)
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

case ${1:-all} in
    all)
        python_sdk
        node_sdk
        ;;
    python) python_sdk "${@:2}" ;;
    node) node_sdk ;;
    *)
        echo "usage: run.sh [all | python [PYTEST ARGS] | node]" >&2
        exit 2
        ;;
esac
