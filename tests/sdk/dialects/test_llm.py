"""The `llm` command, told of the gateway in its extra-openai-models.yaml, against every kind of upstream."""

import json

import pytest
from cases import PERSON, PNG, said
from click.testing import CliRunner
from conftest import KEY, KINDS
from llm.cli import cli

MODEL = """
- model_id: {kind}
  model_name: {kind}
  api_base: {url}/v1
  api_key_name: gateway
  supports_tools: true
  supports_schema: true
  vision: true
"""

FUNCTION = '''
def get_weather(city: str) -> str:
    "Weather"
    return {"Paris": "21 degrees", "Rome": "25 degrees"}[city]
'''


@pytest.fixture(scope="module")
def llm(gateway, tmp_path_factory):
    folder = tmp_path_factory.mktemp("llm")
    models = [MODEL.format(kind=kind, url=gateway.url) for kind in [*KINDS, *(f"{kind}-fail-429" for kind in KINDS)]]
    (folder / "extra-openai-models.yaml").write_text("".join(models))
    (folder / "keys.json").write_text(json.dumps({"gateway": KEY}))

    def llm(*arguments, status=0):
        run = CliRunner().invoke(cli, ["prompt", "--no-log", *arguments], env={"LLM_USER_PATH": str(folder)})
        assert run.exit_code == status, run.output
        return run.output.strip()

    return llm


@pytest.mark.parametrize("stream", [["--no-stream"], []])
def test_prompt(llm, kind, stream):
    assert llm("-m", kind, "-s", "Be brief.", *stream, "Grüß Gott 👋") == said(kind, "Grüß Gott 👋")


@pytest.mark.parametrize("stream", [["--no-stream"], []])
def test_tools(llm, kind, stream):
    answer = llm("-m", kind, "--functions", FUNCTION, *stream, "Weather in both?")
    assert answer == "Results: 21 degrees | 25 degrees"


def test_schema(llm, kind):
    assert json.loads(llm("-m", kind, "--schema", json.dumps(PERSON), "Who?")) == {"name": "Ada", "age": 36}


def test_vision(llm, kind, tmp_path):
    (tmp_path / "a.png").write_bytes(PNG)
    assert llm("-m", kind, "-a", str(tmp_path / "a.png"), "What is it?") == "Pictures: image/png"


def test_errors(llm, kind):
    assert "the scripted provider fails with 429" in llm("-m", f"{kind}-fail-429", "x", status=1)
