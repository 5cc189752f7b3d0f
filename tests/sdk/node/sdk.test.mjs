// The main paths of OpenAI's SDK for Node: against the demo upstream, and before a scripted upstream.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';

import OpenAI from 'openai';
import { zodResponseFormat } from 'openai/helpers/zod';
import { z } from 'zod';

const ask = [{ role: 'user', content: 'Tell me about mills' }];
const words = ['The ', 'mill ', 'été.'];
const event = (value) => `data: ${JSON.stringify(value)}\n\n`;
const chunk = (delta, finish_reason = null) =>
  event({ id: 'c1', object: 'chat.completion.chunk', created: 1, model: 'm', choices: [{ index: 0, delta, finish_reason }] });
const tokens = words.map((content) => chunk({ content }));
const whole = {
  id: 'c1', object: 'chat.completion', created: 1, model: 'm',
  choices: [{ index: 0, message: { role: 'assistant', content: 'whole', refusal: null }, finish_reason: 'stop' }],
};

/** Starts the binary and resolves when it says that it is ready. */
async function start(args, env = {}) {
  const child = spawn(process.env.MILLSTREAM_BIN, args, {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const gateway = { child };
  for await (const line of createInterface({ input: child.stdout })) {
    if (line.startsWith('listening ')) gateway.url ??= line.slice('listening '.length).trim();
    if (line.trim() === 'ready') {
      child.stdout.resume();
      return gateway;
    }
  }
  throw new Error('the gateway ended before it was ready');
}

async function stop(gateway) {
  const ended = new Promise((resolve) => gateway.child.once('exit', resolve));
  gateway.child.kill('SIGTERM');
  assert.equal(await ended, 0);
}

const scripts = new Map();
const seen = new Map();
let demo, gateway, upstream;

before(async () => {
  upstream = http.createServer((request, response) => {
    let body = '';
    request.on('data', (data) => (body += data));
    request.on('end', () => {
      const { model } = JSON.parse(body);
      seen.set(model, (seen.get(model) ?? 0) + 1);
      scripts.get(model)(response, seen.get(model), request);
    });
  });
  await new Promise((resolve) => upstream.listen(0, '127.0.0.1', resolve));
  const config = join(mkdtempSync(join(tmpdir(), 'millstream-')), 'config.toml');
  writeFileSync(
    config,
    `[server]\nlisten = ["127.0.0.1:0"]\nworkers = 1\n[admin]\nlisten = "127.0.0.1:0"\n[drain]\ndelay = "0s"\ntimeout = "1s"\n` +
      `[health]\nbreaker_failures = 10000\nbreaker_ratio = 1.0\nthrottle = "500ms"\n` +
      `[[keys]]\nname = "node"\nkey_env = "SDK_KEY"\n` +
      `[[upstreams]]\nname = "mock"\nkind = "openai"\nbase_url = "http://127.0.0.1:${upstream.address().port}/v1"\n` +
      `[[routes]]\nmodel = "m-*"\ntargets = [{ upstream = "mock" }]\n`,
  );
  gateway = await start(['serve', '-c', config], { SDK_KEY: 'sk-test-everything' });
  const listen = ['--listen', '127.0.0.1:0', '--admin-listen', '127.0.0.1:0'];
  demo = await start(['demo', ...listen, '--workers', '1', '--pace', '2000']);
});

after(async () => {
  await stop(demo);
  await stop(gateway);
  upstream.closeAllConnections();
  upstream.close();
});

const demoClient = () => new OpenAI({ apiKey: 'none', baseURL: `${demo.url}/v1`, maxRetries: 0 });
const client = (options = {}) =>
  new OpenAI({ apiKey: 'sk-test-everything', baseURL: `${gateway.url}/v1`, maxRetries: 0, timeout: 20_000, ...options });
const json = (response, status, value, headers = {}) => {
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(JSON.stringify(value));
};
const sse = (response) => response.writeHead(200, { 'content-type': 'text/event-stream' });

async function textOf(stream) {
  let text = '';
  for await (const part of stream) text += part.choices[0]?.delta?.content ?? '';
  return text;
}

test('chat', async () => {
  const answer = await demoClient().chat.completions.create({ model: 'demo', messages: ask });
  assert.ok(answer.choices[0].message.content);
  assert.ok(answer._request_id);
});

test('chat stream', async () => {
  assert.ok(await textOf(await demoClient().chat.completions.create({ model: 'demo', messages: ask, stream: true })));
});

test('tools', async () => {
  const parameters = { type: 'object', properties: { place: { type: 'string' } }, required: ['place'] };
  const tools = [{ type: 'function', function: { name: 'weather', parameters } }];
  const body = { model: 'demo', messages: ask, tools, tool_choice: 'required' };
  const { message } = (await demoClient().chat.completions.create(body)).choices[0];
  const [call] = message.tool_calls;
  assert.ok('place' in JSON.parse(call.function.arguments));
  const messages = [...ask, message, { role: 'tool', tool_call_id: call.id, content: 'windy' }];
  const second = await demoClient().chat.completions.create({ model: 'demo', messages, tools });
  assert.ok(second.choices[0].message.content);
});

test('parse', async () => {
  const Mill = z.object({ name: z.string(), stones: z.number() });
  const body = { model: 'demo', messages: ask, response_format: zodResponseFormat(Mill, 'mill') };
  const answer = await demoClient().chat.completions.parse(body);
  assert.equal(typeof answer.choices[0].message.parsed.name, 'string');
});

test('responses', async () => {
  const made = await demoClient().responses.create({ model: 'demo', input: 'mills' });
  assert.ok(made.output_text);
  assert.equal((await demoClient().responses.retrieve(made.id)).id, made.id);
  const kinds = [];
  for await (const part of await demoClient().responses.create({ model: 'demo', input: 'mills', stream: true })) kinds.push(part.type);
  assert.equal(kinds.at(-1), 'response.completed');
});

test('embeddings', async () => {
  const answer = await demoClient().embeddings.create({ model: 'demo', input: ['a', 'b'] });
  assert.equal(answer.data.length, 2);
});

test('models', async () => {
  const ids = [];
  for await (const model of demoClient().models.list()) ids.push(model.id);
  assert.ok(ids.includes('demo'));
});

test('a wrong key', async () => {
  const wrong = client({ apiKey: 'sk-nobody' });
  await assert.rejects(wrong.chat.completions.create({ model: 'm-a', messages: ask }), OpenAI.AuthenticationError);
});

test('a model without a route', async () => {
  await assert.rejects(client().chat.completions.create({ model: 'other', messages: ask }), OpenAI.NotFoundError);
});

test('an error of the upstream passes through', async () => {
  const error = { message: 'as it was said', type: 'invalid_request_error', param: null, code: 'said' };
  scripts.set('m-422', (response) => json(response, 422, { error }));
  await assert.rejects(client().chat.completions.create({ model: 'm-422', messages: ask }), (caught) => {
    assert.ok(caught instanceof OpenAI.UnprocessableEntityError);
    assert.deepEqual(caught.error, error);
    return true;
  });
});

test('a limit is retried when told', async () => {
  const error = { message: 'later', type: 'rate_limit', param: null, code: null };
  scripts.set('m-429', (response, count) =>
    count < 3 ? json(response, 429, { error }, { 'retry-after': '1' }) : json(response, 200, whole),
  );
  const answer = await client({ maxRetries: 2 }).chat.completions.create({ model: 'm-429', messages: ask });
  assert.equal(answer.choices[0].message.content, 'whole');
  assert.equal(seen.get('m-429'), 3);
});

test('a stream cut after a token is an error', async () => {
  scripts.set('m-cut', (response) => {
    sse(response);
    response.write(tokens[0], () => response.destroy());
  });
  const stream = client().chat.completions.create({ model: 'm-cut', messages: ask, stream: true });
  await assert.rejects(async () => textOf(await stream), OpenAI.APIError);
});

test('a clean end without an ending is an error', async () => {
  scripts.set('m-silent', (response) => {
    sse(response);
    response.end(tokens.join(''));
  });
  const stream = client().chat.completions.create({ model: 'm-silent', messages: ask, stream: true });
  await assert.rejects(async () => textOf(await stream), OpenAI.APIError);
});

const created = { type: 'response.created', sequence_number: 0, response: { id: 'resp_1', object: 'response', status: 'in_progress', output: [] } };
const delta = { type: 'response.output_text.delta', sequence_number: 1, item_id: 'msg_1', output_index: 0, content_index: 0, delta: 'a' };
const named = (value) => `event: ${value.type}\n${event(value)}`;

test('a responses stream cut in its midst is an error', async () => {
  const kinds = [];
  let cut;
  scripts.set('m-cut-responses', (response) => {
    sse(response);
    // The tokens may not be lost to the reset: the break comes when the client has them.
    cut = () => response.destroy();
    response.write(named(created) + named(delta));
  });
  const stream = client().responses.create({ model: 'm-cut-responses', input: 'mills', stream: true });
  await assert.rejects(async () => {
    for await (const part of await stream) {
      kinds.push(part.type);
      if (part.type === delta.type) cut();
    }
  }, OpenAI.APIError);
  assert.deepEqual(kinds, [created.type, delta.type]);
  assert.equal(seen.get('m-cut-responses'), 1);
});

test('a responses stream that is only created is no answer yet', async () => {
  scripts.set('m-created', (response) => {
    sse(response);
    response.write(named(created), () => response.destroy());
  });
  const stream = client().responses.create({ model: 'm-created', input: 'mills', stream: true });
  await assert.rejects(stream, (caught) => caught instanceof OpenAI.InternalServerError && caught.status === 502);
  assert.equal(seen.get('m-created'), 2);
});

test('an attempt that failed leaves no trace', async () => {
  scripts.set('m-again', (response, count) => {
    if (count === 1) return json(response, 500, { error: { message: 'at first', type: 'server_error', param: null, code: null } });
    sse(response);
    response.end(tokens.join('') + chunk({}, 'stop') + 'data: [DONE]\n\n');
  });
  const stream = await client().chat.completions.create({ model: 'm-again', messages: ask, stream: true });
  assert.equal(await textOf(stream), words.join(''));
  assert.equal(seen.get('m-again'), 2);
});

test('a whole stream', async () => {
  scripts.set('m-whole', (response) => {
    sse(response);
    response.end(tokens.join('') + chunk({}, 'stop') + 'data: [DONE]\n\n');
  });
  const stream = await client().chat.completions.create({ model: 'm-whole', messages: ask, stream: true });
  assert.equal(await textOf(stream), words.join(''));
});

test('an abort takes the upstream along', async () => {
  const left = new Promise((resolve) => {
    scripts.set('m-abort', (response, _count, request) => {
      request.socket.once('close', resolve);
      sse(response);
      response.write(tokens[0]);
    });
  });
  const stream = await client().chat.completions.create({ model: 'm-abort', messages: ask, stream: true });
  for await (const part of stream) {
    assert.equal(part.choices[0].delta.content, words[0]);
    stream.controller.abort();
  }
  await left;
});
