"""Conversations of six turns, each of which another kind of upstream answers."""

import json

import anthropic
import openai
import pytest
from cases import WEATHER, said
from conftest import KEY, KINDS
from google import genai
from google.genai import types
from script import FAMILIES, signature

# What the user says, or what the tools that were called answer.
TURNS = [
    "Weather in both?",
    ["21 degrees", "25 degrees"],
    "Again, in both?",
    ["22 degrees", "26 degrees"],
    "Thanks, no tools.",
    "Bye, no tools.",
]
# Google's word for a call that is not its own.
FOREIGN = "skip_thought_signature_validator"


class Chat:
    def __init__(self, gateway, thinks):
        self.client = openai.OpenAI(api_key=KEY, base_url=gateway.base_url, max_retries=0, timeout=30)
        self.messages = []
        function = {"name": "get_weather", "description": "Weather", "parameters": WEATHER}
        self.more = {"tools": [{"type": "function", "function": function}]}
        self.more |= {"reasoning_effort": "medium"} if thinks else {}

    def say(self, text):
        self.messages.append({"role": "user", "content": text})

    def results(self, texts):
        for call, text in zip(self.calls, texts, strict=True):
            self.messages.append({"role": "tool", "tool_call_id": call.id, "content": text})

    def ask(self, model, stream):
        request = {"model": model, "messages": self.messages, **self.more}
        if stream:
            with self.client.chat.completions.stream(**request) as events:
                message = events.until_done().get_final_completion().choices[0].message
        else:
            message = self.client.chat.completions.create(**request).choices[0].message
        self.messages.append(message.to_dict())
        self.calls = message.tool_calls or []
        return message.content or ""


class Responses(Chat):
    def __init__(self, gateway, thinks):
        super().__init__(gateway, False)
        tool = {"type": "function", "name": "get_weather", "description": "Weather", "parameters": WEATHER}
        self.more = {"tools": [{**tool, "strict": False}], "store": False, "include": ["reasoning.encrypted_content"]}
        self.more |= {"reasoning": {"effort": "medium", "summary": "auto"}} if thinks else {}

    def results(self, texts):
        for call, text in zip(self.calls, texts, strict=True):
            self.messages.append({"type": "function_call_output", "call_id": call.call_id, "output": text})

    def ask(self, model, stream):
        request = {"model": model, "input": self.messages, **self.more}
        if stream:
            with self.client.responses.stream(**request) as events:
                answer = events.until_done().get_final_response()
        else:
            answer = self.client.responses.create(**request)
        self.messages += [item.to_dict() for item in answer.output]
        self.calls = [item for item in answer.output if item.type == "function_call"]
        return answer.output_text


class Messages:
    def __init__(self, gateway, thinks):
        self.client = anthropic.Anthropic(api_key=KEY, base_url=gateway.url, max_retries=0, timeout=30)
        self.messages = []
        self.more = {"max_tokens": 4096, "tools": [{"name": "get_weather", "input_schema": WEATHER}]}
        self.more |= {"thinking": {"type": "enabled", "budget_tokens": 2048}} if thinks else {}

    def say(self, text):
        self.messages.append({"role": "user", "content": text})

    def results(self, texts):
        calls = zip(self.calls, texts, strict=True)
        self.say([{"type": "tool_result", "tool_use_id": call.id, "content": text} for call, text in calls])

    def ask(self, model, stream):
        request = {"model": model, "messages": self.messages, **self.more}
        if stream:
            with self.client.messages.stream(**request) as events:
                message = events.get_final_message()
        else:
            message = self.client.messages.create(**request)
        self.messages.append({"role": "assistant", "content": [block.to_dict() for block in message.content]})
        self.calls = [block for block in message.content if block.type == "tool_use"]
        return "".join(block.text for block in message.content if block.type == "text")


class Contents:
    def __init__(self, gateway, thinks):
        self.client = genai.Client(api_key=KEY, http_options=types.HttpOptions(base_url=gateway.url))
        self.messages = []
        function = {"name": "get_weather", "description": "Weather", "parameters_json_schema": WEATHER}
        thinking = types.ThinkingConfig(include_thoughts=True, thinking_budget=2048) if thinks else None
        self.config = types.GenerateContentConfig(
            tools=[{"function_declarations": [function]}], thinking_config=thinking, max_output_tokens=4096
        )

    def say(self, parts):
        self.messages.append(types.UserContent(parts))

    def results(self, texts):
        calls = zip(self.calls, texts, strict=True)
        answers = [{"id": call.id, "name": call.name, "response": {"output": text}} for call, text in calls]
        self.say([types.Part(function_response=types.FunctionResponse(**answer)) for answer in answers])

    def ask(self, model, stream):
        request = {"model": model, "contents": self.messages, "config": self.config}
        if stream:
            pieces = list(self.client.models.generate_content_stream(**request))
        else:
            pieces = [self.client.models.generate_content(**request)]
        parts = [part for piece in pieces for part in piece.candidates[0].content.parts or []]
        self.messages.append(types.ModelContent(parts))
        self.calls = [part.function_call for part in parts if part.function_call]
        return "".join(part.text for part in parts if part.text and not part.thought)


def orders():
    """Until every kind has come behind every other one; the first turn is a stream in every other order."""
    kinds, seen = list(KINDS), set()
    for step in range(1, len(kinds)):
        for first in range(len(kinds)):
            order = [kinds[(first + step * turn) % len(kinds)] for turn in range(len(TURNS))]
            pairs = set(zip(order, order[1:]))
            if not pairs <= seen:
                seen |= pairs
                yield pytest.param(order, (first + step) % 2 == 0, id="-".join(order[:3]))


@pytest.mark.parametrize("thinks", [False, True], ids=["plain", "thinking"])
@pytest.mark.parametrize("surface", [Chat, Responses, Messages, Contents])
@pytest.mark.parametrize(("order", "streams_first"), orders())
def test_each_turn_is_another_providers(gateway, upstreams, surface, order, streams_first, thinks):
    talk = surface(gateway, thinks)
    said_by_user, results, answers = [], [], []
    for turn, (kind, content) in enumerate(zip(order, TURNS)):
        if isinstance(content, str):
            talk.say(content)
            said_by_user.append(content)
        else:
            talk.results(content)
            results += content
        answer = talk.ask(kind, streams_first == (turn % 2 == 0))
        name, view = upstreams.views[-1]
        assert name == kind and view.texts == said_by_user and view.results.ever == results
        if isinstance(content, list):
            assert view.results == content and answer == "Results: " + " | ".join(content)
        elif "no tools" in content:
            assert answer == said(kind, content)
        else:
            assert [dict(arguments(call)) for call in talk.calls] == [{"city": "Paris"}, {"city": "Rome"}]
        raw = "".join(words(upstreams.seen[-1][3]))
        assert all(earlier in raw for earlier in answers if earlier)
        answers.append(answer)
        check_thoughts(view, raw, kind, order[turn - 1] if isinstance(content, list) else None, thinks)


def words(value):
    """All texts of a request, in order: the pieces of a stream may stand in it one by one."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for member in value.values() if isinstance(value, dict) else value:
            yield from words(member)


def arguments(call):
    """Of a call, in the form of any of the dialects."""
    function = getattr(call, "function", call)
    found = next(getattr(function, name) for name in ("arguments", "input", "args") if hasattr(function, name))
    return json.loads(found) if isinstance(found, str) else found


def check_thoughts(view, raw, kind, before, thinks):
    """Only what the family itself has signed comes back to it, above all within a turn; nobody sees our own seal."""
    own = signature(FAMILIES[kind]) if kind in FAMILIES else None
    assert set(view.signatures) <= {own, FOREIGN}
    assert "ms1:" not in raw, raw
    is_own = before and own and FAMILIES.get(before) == FAMILIES[kind]
    if thinks and is_own:
        assert own in view.signatures
