"""The two gateways under test: one with its demo upstream, one before a scripted upstream."""

import itertools
import os
import socket

import openai
import pytest
from gateway import CONFIG, KEYS, Gateway
from mock_upstream import MockUpstream


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    listen = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]
    gateway = Gateway(["demo", *listen, "--workers", "2", "--pace", "2000"], tmp_path_factory.mktemp("demo"), "demo")
    yield gateway
    assert gateway.stop() == 0


@pytest.fixture(scope="session")
def mock():
    upstream = MockUpstream()
    yield upstream
    upstream.close()


@pytest.fixture(scope="session")
def gateway(mock, tmp_path_factory):
    folder = tmp_path_factory.mktemp("gateway")
    # Bound but not listening: connections to it are refused as long as the test runs.
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        config = CONFIG.format(port=mock.port, closed_port=closed.getsockname()[1])
        (folder / "config.toml").write_text(config)
        os.environ.update(KEYS)
        gateway = Gateway(["serve", "-c", str(folder / "config.toml")], folder, "gateway")
        yield gateway
        assert gateway.stop() == 0


@pytest.fixture(scope="session")
def demo_client(demo):
    with openai.OpenAI(api_key="none", base_url=demo.base_url, max_retries=0, timeout=30) as client:
        yield client


@pytest.fixture
def client_of(gateway):
    clients = []

    def make(key="SDK_KEY", **options):
        options = {"max_retries": 0, "timeout": 30, "api_key": KEYS.get(key, key), **options}
        clients.append(openai.OpenAI(base_url=gateway.base_url, **options))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def client(client_of):
    return client_of()


_numbers = itertools.count()


@pytest.fixture
def model():
    """A model name that no other test uses."""
    return f"m-{next(_numbers)}"
