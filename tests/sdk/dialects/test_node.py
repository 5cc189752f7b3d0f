"""The SDKs for Node, in node/dialects.test.mjs, which is copied to where their packages are: DIALECTS_NODE."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import KEY, KINDS

HERE = Path(__file__).parent
FOLDER = Path(os.environ.get("DIALECTS_NODE", HERE.parents[2] / "target" / "sdk" / "node-dialects"))


@pytest.mark.skipif(not (FOLDER / "node_modules").is_dir(), reason="no packages of Node")
def test_node(gateway):
    shutil.copy(HERE / "node" / "dialects.test.mjs", FOLDER)
    run = subprocess.run(
        ["node", "--test", "--test-timeout=60000", "--test-reporter=spec", "dialects.test.mjs"],
        cwd=FOLDER,
        env={**os.environ, "GATEWAY_URL": gateway.url, "KEY": KEY, "KINDS": ",".join(KINDS)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert run.returncode == 0, run.stdout[run.stdout.find("failing tests") :]
