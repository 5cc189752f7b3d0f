// The SDKs for Node against every kind of upstream. test_node.py starts the gateway and the scripted providers, and says
// in GATEWAY_URL, KEY and KINDS where they are.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { createAnthropic } from '@ai-sdk/anthropic';
import { createGoogleGenerativeAI } from '@ai-sdk/google';
import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import Anthropic from '@anthropic-ai/sdk';
import { ApiError, GoogleGenAI } from '@google/genai';
import { APICallError, generateObject, generateText, Output, stepCountIs, streamText, tool } from 'ai';
import OpenAI from 'openai';
import { zodResponseFormat, zodTextFormat } from 'openai/helpers/zod';
import { z } from 'zod';

const { GATEWAY_URL: url, KEY: apiKey } = process.env;
const kinds = process.env.KINDS.split(',');
const patience = { maxRetries: 0, timeout: 20_000 };
const openai = new OpenAI({ apiKey, baseURL: `${url}/v1`, ...patience });
const anthropic = new Anthropic({ apiKey, baseURL: url, ...patience });
const google = new GoogleGenAI({ apiKey, httpOptions: { baseUrl: url, timeout: 20_000 } });

const parameters = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'], additionalProperties: false };
const weather = { name: 'get_weather', description: 'Weather' };
const Person = z.object({ name: z.string(), age: z.number().int() });
const person = { name: 'Ada', age: 36 };
const cities = [{ city: 'Paris' }, { city: 'Rome' }];
const degrees = ['21 degrees', '25 degrees'];
const results = 'Results: 21 degrees | 25 degrees';
const thought = 'Let me think about it.';
const said = (kind, text) => `Hello from ${kind}. You said: ${text}`;
const failure = (status) => `the scripted provider fails with ${status}`;
const streams = [false, true];
const signed = ['anthropic', 'vertexclaude', 'bedrock', 'gemini', 'vertex', 'responses'];

/** A test for each kind of upstream and, if wanted, both ways of answering. */
function each(name, body, ways = [undefined]) {
  for (const kind of kinds)
    for (const stream of ways) test(`${name}, ${kind}${stream ? ', stream' : ''}`, () => body(kind, stream));
}

// OpenAI's SDK: chat.

const chatTool = { type: 'function', function: { ...weather, parameters } };
const user = (content) => ({ role: 'user', content });
const chat = (stream, body) =>
  stream
    ? openai.chat.completions.stream({ ...body, stream_options: { include_usage: true } }).finalChatCompletion()
    : openai.chat.completions.create(body);

each('openai chat text', async (kind, stream) => {
  const answer = await chat(stream, { model: kind, messages: [user('Grüß Gott 👋')] });
  assert.equal(answer.choices[0].message.content, said(kind, 'Grüß Gott 👋'));
  assert.equal(answer.choices[0].finish_reason, 'stop');
  assert.deepEqual([answer.usage.prompt_tokens, answer.usage.completion_tokens], [11, 7]);
}, streams);

each('openai chat tools', async (kind, stream) => {
  const body = { model: kind, messages: [user('Weather in both?')], tools: [chatTool] };
  const { message, finish_reason } = (await chat(stream, body)).choices[0];
  assert.equal(finish_reason, 'tool_calls');
  assert.deepEqual(message.tool_calls.map((call) => JSON.parse(call.function.arguments)), cities);
  body.messages.push(message);
  message.tool_calls.forEach((call, at) =>
    body.messages.push({ role: 'tool', tool_call_id: call.id, content: degrees[at] }));
  assert.equal((await chat(stream, body)).choices[0].message.content, results);
}, streams);

each('openai chat structured', async (kind) => {
  const response_format = zodResponseFormat(Person, 'person');
  const answer = await openai.chat.completions.parse({ model: kind, messages: [user('Who?')], response_format });
  assert.deepEqual(answer.choices[0].message.parsed, person);
});

each('openai chat errors', async (kind) => {
  const body = { model: `${kind}-fail-429`, messages: [user('x')] };
  await assert.rejects(chat(true, { ...body, model: `${kind}-cut-1` }), OpenAI.APIError);
  // Last: for a moment it keeps requests from the provider.
  await assert.rejects(openai.chat.completions.create(body), (caught) => {
    assert.ok(caught instanceof OpenAI.RateLimitError);
    assert.equal(caught.error.message, failure(429));
    return true;
  });
});

// OpenAI's SDK: Responses.

const respond = (stream, body) =>
  stream ? openai.responses.stream(body).finalResponse() : openai.responses.create(body);

each('openai responses text', async (kind, stream) => {
  const answer = await respond(stream, { model: kind, input: 'Hello', instructions: 'Be brief.' });
  assert.equal(answer.output[0].content[0].text, said(kind, 'Hello'));
  assert.deepEqual([answer.status, answer.usage.input_tokens, answer.usage.output_tokens], ['completed', 11, 7]);
}, streams);

each('openai responses tools', async (kind, stream) => {
  const tools = [{ type: 'function', ...weather, parameters, strict: true }];
  const body = { model: kind, input: [user('Weather in both?')], tools };
  const { output } = await respond(stream, body);
  const calls = output.filter((item) => item.type === 'function_call');
  assert.deepEqual(calls.map((call) => JSON.parse(call.arguments)), cities);
  // What the SDK added for its users is not for the provider.
  body.input.push(...output.map(({ parsed_arguments, ...item }) => item));
  calls.forEach(({ call_id }, at) => body.input.push({ type: 'function_call_output', call_id, output: degrees[at] }));
  assert.equal((await respond(stream, body)).output.at(-1).content[0].text, results);
}, streams);

each('openai responses structured', async (kind) => {
  const answer = await openai.responses.parse({ model: kind, input: 'Who?', text: { format: zodTextFormat(Person, 'person') } });
  assert.deepEqual(answer.output_parsed, person);
});

// Anthropic's SDK.

const message = (stream, body) =>
  stream
    ? anthropic.messages.stream({ max_tokens: 4000, ...body }).finalMessage()
    : anthropic.messages.create({ max_tokens: 4000, ...body });

each('anthropic text', async (kind, stream) => {
  const answer = await message(stream, { model: kind, system: 'Be brief.', messages: [user('Grüß Gott 👋')] });
  assert.deepEqual(answer.content.map((block) => block.text), [said(kind, 'Grüß Gott 👋')]);
  assert.equal(answer.stop_reason, 'end_turn');
  assert.equal(answer.usage.input_tokens + (answer.usage.cache_read_input_tokens ?? 0), 11);
  assert.equal(answer.usage.output_tokens, 7);
}, streams);

each('anthropic tools', async (kind, stream) => {
  const body = { model: kind, messages: [user('Weather in both?')], tools: [{ ...weather, input_schema: parameters }] };
  const { content, stop_reason } = await message(stream, body);
  assert.equal(stop_reason, 'tool_use');
  const calls = content.filter((block) => block.type === 'tool_use');
  assert.deepEqual(calls.map((call) => call.input), cities);
  const given = calls.map(({ id }, at) => ({ type: 'tool_result', tool_use_id: id, content: degrees[at] }));
  body.messages.push({ role: 'assistant', content }, user(given));
  assert.equal((await message(stream, body)).content.at(-1).text, results);
}, streams);

each('anthropic thinking', async (kind, stream) => {
  const thinking = { type: 'enabled', budget_tokens: 2000 };
  const body = { model: kind, messages: [user('Think.')], thinking, tools: [{ ...weather, input_schema: parameters }] };
  const { content } = await message(stream, body);
  const thoughts = content.filter((block) => block.type === 'thinking');
  assert.equal(thoughts.map((block) => block.thinking).join(''), thought);
  // What a provider signs may be the call instead: then its signature stands in a thought of its own, before it.
  assert.equal(thoughts.some((block) => block.signature), signed.includes(kind));
  const call = content.at(-1);
  assert.equal(call.type, 'tool_use');
  const given = [{ type: 'tool_result', tool_use_id: call.id, content: degrees[0] }];
  body.messages.push({ role: 'assistant', content }, user(given));
  const answer = await message(stream, body);
  assert.equal(answer.content.at(-1).text, `Results: ${degrees[0]}`);
}, streams);

each('anthropic errors', async (kind) => {
  const body = { messages: [user('x')], max_tokens: 9 };
  const errors = { 400: Anthropic.BadRequestError, 401: Anthropic.AuthenticationError, 404: Anthropic.NotFoundError };
  Object.assign(errors, { 413: Anthropic.APIError, 503: Anthropic.InternalServerError });
  for (const [status, type] of Object.entries(errors)) {
    await assert.rejects(anthropic.messages.create({ ...body, model: `${kind}-fail-${status}` }), (caught) => {
      assert.ok(caught instanceof type, caught);
      assert.equal(caught.error.error.message, failure(status));
      return true;
    });
  }
  await assert.rejects(message(true, { ...body, model: `${kind}-cut-1` }), Anthropic.AnthropicError);
});

// Google's SDK.

async function generate(stream, request) {
  if (!stream) return google.models.generateContent(request);
  const answer = { text: '', parts: [], functionCalls: [] };
  for await (const chunk of await google.models.generateContentStream(request)) {
    answer.parts.push(...(chunk.candidates?.[0]?.content?.parts ?? []));
    answer.text += chunk.text ?? '';
    answer.functionCalls.push(...(chunk.functionCalls ?? []));
    answer.usageMetadata = chunk.usageMetadata ?? answer.usageMetadata;
    answer.candidates = chunk.candidates ?? answer.candidates;
  }
  return answer;
}

each('google text', async (kind, stream) => {
  const config = { systemInstruction: 'Be brief.', maxOutputTokens: 100 };
  const answer = await generate(stream, { model: kind, contents: 'Grüß Gott 👋', config });
  assert.equal(answer.text, said(kind, 'Grüß Gott 👋'));
  assert.equal(answer.candidates[0].finishReason, 'STOP');
  const { promptTokenCount, candidatesTokenCount, thoughtsTokenCount } = answer.usageMetadata;
  assert.deepEqual([promptTokenCount, candidatesTokenCount + (thoughtsTokenCount ?? 0)], [11, 7]);
}, streams);

each('google functions', async (kind, stream) => {
  const config = { tools: [{ functionDeclarations: [{ ...weather, parametersJsonSchema: parameters }] }] };
  const contents = [{ role: 'user', parts: [{ text: 'Weather in both?' }] }];
  const answer = await generate(stream, { model: kind, contents, config });
  assert.deepEqual(answer.functionCalls.map((call) => [call.name, call.args]), cities.map((city) => ['get_weather', city]));
  contents.push({ role: 'model', parts: answer.parts ?? answer.candidates[0].content.parts });
  const given = answer.functionCalls.map(({ id, name }, at) => ({ functionResponse: { id, name, response: { result: degrees[at] } } }));
  contents.push({ role: 'user', parts: given });
  assert.equal((await generate(stream, { model: kind, contents, config })).text, results);
}, streams);

each('google structured', async (kind) => {
  const config = { responseMimeType: 'application/json', responseJsonSchema: z.toJSONSchema(Person) };
  const answer = await generate(false, { model: kind, contents: 'Who?', config });
  assert.deepEqual(JSON.parse(answer.text), person);
});

each('google errors', async (kind) => {
  for (const status of [400, 403, 404, 429]) {
    await assert.rejects(generate(false, { model: `${kind}-fail-${status}`, contents: 'x' }), (caught) => {
      assert.ok(caught instanceof ApiError);
      assert.equal(caught.status, status);
      assert.equal(JSON.parse(caught.message).error.message, failure(status));
      return true;
    });
  }
});

// Vercel's AI SDK, with each of its providers.

const ai = {
  'openai responses': createOpenAI({ apiKey, baseURL: `${url}/v1` }).responses,
  'openai chat': createOpenAI({ apiKey, baseURL: `${url}/v1` }).chat,
  compatible: createOpenAICompatible({ name: 'x', apiKey, baseURL: `${url}/v1`, supportsStructuredOutputs: true, includeUsage: true }),
  anthropic: createAnthropic({ apiKey, baseURL: `${url}/v1` }),
  google: createGoogleGenerativeAI({ apiKey, baseURL: `${url}/v1beta` }),
};
const maxRetries = 0;
// Without it, later steps name the items of earlier ones, which nobody has kept.
const providerOptions = { openai: { store: false } };

for (const [name, provider] of Object.entries(ai)) {
  each(`ai ${name} text`, async (kind) => {
    const request = { model: provider(kind), system: 'Be brief.', prompt: 'Grüß Gott 👋', maxRetries };
    const { text, finishReason, usage } = await generateText(request);
    assert.deepEqual([text, finishReason], [said(kind, 'Grüß Gott 👋'), 'stop']);
    assert.deepEqual([usage.inputTokens, usage.outputTokens], [11, 7]);
    const streamed = streamText(request);
    assert.equal(await streamed.text, said(kind, 'Grüß Gott 👋'));
    const total = await streamed.usage;
    assert.deepEqual([total.inputTokens, total.outputTokens], [11, 7]);
  });

  each(`ai ${name} tool loop`, async (kind, stream) => {
    const asked = [];
    const execute = async (input) => {
      asked.push(input);
      return degrees[cities.findIndex(({ city }) => city === input.city)];
    };
    const tools = { get_weather: tool({ description: 'Weather', inputSchema: z.object({ city: z.string() }), execute }) };
    const request = { model: provider(kind), prompt: 'Weather in both?', tools, stopWhen: stepCountIs(3), maxRetries, providerOptions };
    const answer = stream ? streamText(request) : await generateText(request);
    assert.equal(await answer.text, results);
    assert.deepEqual(asked, cities);
    const steps = await answer.steps;
    assert.deepEqual(steps.map((step) => step.finishReason), ['tool-calls', 'stop']);
  }, streams);

  each(`ai ${name} object`, async (kind) => {
    const request = { model: provider(kind), prompt: 'Who?', maxRetries };
    const providerOptions = { anthropic: { structuredOutputMode: 'outputFormat' } };
    const { object } = await generateObject({ ...request, schema: Person, providerOptions });
    assert.deepEqual(object, person);
    const { output } = await generateText({ ...request, output: Output.object({ schema: Person }), providerOptions });
    assert.deepEqual(output, person);
  });

  each(`ai ${name} errors`, async (kind) => {
    await assert.rejects(generateText({ model: provider(`${kind}-fail-429`), prompt: 'x', maxRetries }), (caught) => {
      assert.ok(caught instanceof APICallError, caught);
      assert.deepEqual([caught.statusCode, caught.message], [429, failure(429)]);
      return true;
    });
  });
}

// For models that it does not know, Anthropic's provider asks for one call of a tool instead of a form of the answer.
each('ai anthropic object as a tool', async (kind) => {
  const lacking = { gemini: /tool_choice\.disable_parallel_tool_use/, ollama: /tool_choice/ };
  Object.assign(lacking, { vertex: lacking.gemini, cohere: lacking.gemini });
  const ask = (model) => generateObject({ model: ai.anthropic(model), schema: Person, prompt: 'Who?', maxRetries });
  if (lacking[kind]) await assert.rejects(ask(kind), lacking[kind]);
  assert.deepEqual((await ask(lacking[kind] ? `lossy/${kind}` : kind)).object, person);
});

each('ai openai responses reasoning', async (kind) => {
  const tools = { get_weather: tool({ description: 'Weather', inputSchema: z.object({ city: z.string() }), execute: () => 'x' }) };
  const options = { forceReasoning: true, reasoningEffort: 'low', reasoningSummary: 'auto' };
  const ask = (openai) =>
    generateText({
      model: ai['openai responses'](kind), prompt: 'Weather?', tools, stopWhen: stepCountIs(3), maxRetries, providerOptions: { openai },
    });
  const answer = await ask({ ...options, store: false });
  assert.deepEqual(answer.steps.map((step) => step.reasoningText), [thought, thought]);
  assert.equal(answer.text, 'Results: x');
  // Otherwise the second step refers to the thought of the first by its id.
  if (kind !== 'responses') await assert.rejects(ask(options), /keeps no items.*`store: false`/);
});
