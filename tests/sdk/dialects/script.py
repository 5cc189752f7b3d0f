"""What the scripted providers answer, whatever dialect they are asked in: a view of the request, and a plan of the answer."""

import base64
from dataclasses import dataclass, field

USAGE = {"input": 11, "cached": 3, "output": 7, "reasoning": 2}
# By kind, whose models take back what they signed.
FAMILIES = {kind: "anthropic" for kind in ("anthropic", "vertexclaude", "bedrock")}
FAMILIES |= {"gemini": "google", "vertex": "google", "responses": "openai"}


def signature(family):
    return base64.b64encode(f"signature of {family}".encode()).decode()


class Recent(list):
    """Those since the last text of the user; in `ever`, all of them."""

    def __init__(self):
        super().__init__()
        self.ever = []

    def append(self, item):
        super().append(item)
        self.ever.append(item)
PERSON = '{"name":"Ada","age":36}'
VECTOR = [0.25, -0.5, 0.125]


@dataclass
class View:
    """A request, as far as the script goes by it."""

    texts: list = field(default_factory=list)  # of the user, in order
    system: list = field(default_factory=list)
    images: list = field(default_factory=list)  # media types
    tools: list = field(default_factory=list)  # names
    forced: str | None = None  # a tool that must be called
    results: Recent = field(default_factory=Recent)  # texts of tool results since the last text of the user
    schema: bool = False
    thinking: bool = False
    signatures: list = field(default_factory=list)  # that came back
    stream: bool = False


@dataclass
class Text:
    text: str


@dataclass
class Thought:
    text: str
    signature: str = ""


@dataclass
class Call:
    id: str
    name: str
    arguments: dict


def plan(kind, view):
    """The parts of the answer, and whether it ends because tools are to be called."""
    last = view.texts[-1] if view.texts else ""
    thought = [Thought("Let me think about it.", signature(FAMILIES.get(kind)))] if view.thinking else []
    # A tool that is the form of the answer: it must be called, or is the only one.
    form = view.forced or (view.tools[0] if len(view.tools) == 1 and not view.results else None)
    if form and form not in ("get_weather", "get_time"):
        return [Call("call_form", form, {"name": "Ada", "age": 36})], True
    if view.tools and not view.results and "no tools" not in last:
        calls = [Call("call_1", "get_weather", {"city": "Paris"})]
        if "both" in last:
            calls.append(Call("call_2", "get_weather", {"city": "Rome"}))
        return [*thought, *calls], True
    if view.results:
        return [*thought, Text("Results: " + " | ".join(view.results))], False
    if view.schema:
        return [*thought, Text(PERSON)], False
    if view.images:
        return [*thought, Text("Pictures: " + ", ".join(view.images))], False
    return [*thought, Text(f"Hello from {kind}. You said: {last}")], False


def pieces(text, size=5):
    return [text[at : at + size] for at in range(0, len(text), size)]
