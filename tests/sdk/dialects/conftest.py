"""One gateway before scripted upstreams of every kind. A model is named as the kind that serves it."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))

from gateway import Gateway  # noqa: E402
from upstreams import Upstreams  # noqa: E402

HEAD = """
[server]
listen = ["127.0.0.1:0"]
workers = 1

[admin]
listen = "127.0.0.1:0"

[retry]
same_target_max = 0
budget_floor = 1000000

[health]
breaker_failures = 10000
breaker_ratio = 1.0
throttle = "10ms"
throttle_max = "10ms"

[drain]
delay = "0s"
timeout = "1s"

[[keys]]
name = "sdk"
key_env = "DIALECTS_KEY"
"""

# By kind of upstream: its settings, and the model that it is asked for.
KINDS = {
    "openai": ('kind = "openai"\nresponses = false', "gpt-4.1"),
    "responses": ('kind = "openai"\napi = "responses"\nresponses = true', "gpt-5"),
    "azure": ('kind = "azure"\napi_version = "2024-10-21"\nresponses = false', "gpt-4.1"),
    "anthropic": ('kind = "anthropic"', "claude-sonnet-4-5"),
    "gemini": ('kind = "gemini"', "gemini-2.5-flash"),
    "vertex": ('kind = "vertex"\nproject = "p"', "gemini-2.5-flash"),
    "vertexclaude": ('kind = "vertex"\nproject = "p"', "claude-sonnet-4-5"),
    "bedrock": ('kind = "bedrock"\nregion = "us-east-1"', "anthropic.claude-sonnet-4-5-v1:0"),
    "cohere": ('kind = "cohere"', "command-a-reasoning-08-2025"),
    "ollama": ('kind = "ollama"', "qwen3"),
}

ENTRY = """
[[upstreams]]
name = "{name}"
{settings}
base_url = "http://127.0.0.1:{port}/{name}"
key_env = "DIALECTS_UPSTREAM_KEY"

[[routes]]
model = "{name}"
targets = [{{ upstream = "{name}", model = "{model}" }}]

[[routes]]
model = "{name}-*"
targets = ["{name}"]

[[routes]]
model = "lossy/{name}"
targets = [{{ upstream = "{name}", model = "{model}" }}]
unsupported = "drop"
"""

KEY = "sk-dialects-0123456789"


@pytest.fixture(scope="session")
def upstreams():
    upstreams = Upstreams()
    yield upstreams
    upstreams.close()


@pytest.fixture(scope="session")
def gateway(upstreams, tmp_path_factory):
    folder = tmp_path_factory.mktemp("dialects")
    entries = [
        ENTRY.format(name=name, settings=settings, model=model, port=upstreams.port)
        for name, (settings, model) in KINDS.items()
    ]
    (folder / "config.toml").write_text(HEAD + "".join(entries))
    os.environ |= {"DIALECTS_KEY": KEY, "DIALECTS_UPSTREAM_KEY": "upstream-0123456789"}
    gateway = Gateway(["serve", "-c", str(folder / "config.toml")], folder, "dialects")
    yield gateway
    assert gateway.stop() == 0


@pytest.fixture(params=KINDS)
def kind(request):
    """Each kind of upstream in turn; also the name of a model that it serves."""
    return request.param
