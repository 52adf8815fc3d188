// grpc-js makes the calls of tests/processes/interop.py, prints what it saw as JSON.
"use strict";

const grpc = require("@grpc/grpc-js");

const [port, written] = process.argv.slice(2);
const given = JSON.parse(written);
const options = { "grpc.use_local_subchannel_pool": 1 };
const insecure = grpc.credentials.createInsecure();
const plain = new grpc.Client(`127.0.0.1:${port}`, insecure, options);
const packed = new grpc.Client(`127.0.0.1:${port}`, insecure, {
  ...options,
  "grpc.default_compression_algorithm": 2,
});

const NOT_COMPRESSED = 2; // a flag of a message, for which grpc-js has no name
const same = (bytes) => bytes;
const path = (name, service = given.service) => `/${service}/${name}`;
const deadline = (seconds = 15) => ({ deadline: Date.now() + seconds * 1000 });
const sizesOf = (messages) => messages.map((each) => each.length);

function metadata() {
  const made = new grpc.Metadata();
  made.set("x-initial", given.initial);
  made.set("x-trailing-bin", Buffer.from(given.trailing, "hex"));
  return made;
}

// What a call has come to: messages, metadata and status, whether it failed or not.
function outcome(call, messages = []) {
  return new Promise((resolve) => {
    let initial = new grpc.Metadata();
    call.on("metadata", (fields) => (initial = fields));
    call.on("data", (message) => messages.push(message));
    call.on("error", () => {});
    call.on("status", (status) => resolve({ messages, initial, ...status }));
  });
}

function ask(name, message, { client = plain, service, fields, seconds } = {}) {
  const messages = [];
  const call = client.makeUnaryRequest(
    path(name, service), same, same, message,
    fields ?? new grpc.Metadata(), deadline(seconds),
    (error, answer) => { if (!error) messages.push(answer); },
  );
  return outcome(call, messages);
}

function chat(fields = new grpc.Metadata()) {
  return plain.makeBidiStreamRequest(path("Chat"), same, same, fields, deadline());
}

function compress() {
  const made = new grpc.Metadata();
  made.set("x-compressed", "yes");
  return made;
}

function collect(answered, client = plain) {
  return client.makeClientStreamRequest(
    path("Collect"), same, same, new grpc.Metadata(), deadline(), answered,
  );
}

function spread(name, message, fields = new grpc.Metadata()) {
  return plain.makeServerStreamRequest(
    path(name), same, same, Buffer.from(message), fields, deadline(),
  );
}

function told({ code, initial, metadata: trailing }) {
  const [bytes] = trailing.get("x-trailing-bin");
  return [code, initial.get("x-initial")[0], bytes?.toString("hex")];
}

async function echoed(message, { client, fields } = {}) {
  const { code, messages } = await ask("Echo", message, { client, fields });
  return [code, messages.length === 1 && messages[0].equals(message)];
}

async function collected(client) {
  let text = null;
  const call = collect((error, answer) => (text = answer?.toString()), client);
  const ended = outcome(call);
  // Where messages are compressed, every other one is not.
  given.sizes.forEach((size, at) => {
    call.write(Buffer.alloc(size), at % 2 ? NOT_COMPRESSED : 0);
  });
  call.end();
  return [(await ended).code, text];
}

async function spreadOut(fields) {
  const call = spread("Spread", given.sizes.join(" "), fields);
  const { code, messages } = await outcome(call);
  return [code, sizesOf(messages)];
}

const calls = {
  async empty_unary() {
    const { code, messages } = await ask("Echo", Buffer.alloc(0));
    return [code, messages[0].length];
  },
  large_unary: () => echoed(Buffer.alloc(given.large, "tulle")),
  client_compressed_unary: () =>
    echoed(Buffer.alloc(500000, "tulle"), { client: packed }),
  server_compressed_unary: () =>
    echoed(Buffer.alloc(500000, "tulle"), { fields: compress() }),
  client_streaming: () => collected(plain),
  client_compressed_streaming: () => collected(packed),
  server_streaming: () => spreadOut(),
  server_compressed_streaming: () => spreadOut(compress()),
  async ping_pong() {
    const call = chat();
    const ended = outcome(call);
    const sizes = [...given.sizes];
    const ping = () => sizes.length ? call.write(Buffer.alloc(sizes.shift())) : call.end();
    call.on("data", ping);
    ping();
    const { code, messages } = await ended;
    return [code, sizesOf(messages)];
  },
  async empty_stream() {
    const call = chat();
    call.end();
    const { code, messages } = await outcome(call);
    return [code, messages];
  },
  unary_metadata: async () =>
    told(await ask("Echo", Buffer.from("x"), { fields: metadata() })),
  async stream_metadata() {
    const call = chat(metadata());
    call.write(Buffer.from("x"));
    call.end();
    return told(await outcome(call));
  },
  async status_code_and_message() {
    const { code, details } = await ask("Fail", Buffer.from(`2 ${given.message}`));
    return [code, details];
  },
  async special_status_message() {
    const { code, details } = await ask("Fail", Buffer.from(`2 ${given.special}`));
    return [code, details];
  },
  async status_behind_a_message() {
    const ended = await outcome(spread("FailLate", `2 ${given.message}`));
    return [ended.code, ended.details, ended.messages.length];
  },
  unimplemented_method: async () => [(await ask("Nothing", Buffer.alloc(0))).code],
  async unimplemented_service() {
    const service = "tulle.test.Nothing";
    return [(await ask("Echo", Buffer.alloc(0), { service })).code];
  },
  async cancel_after_begin() {
    const call = collect(() => {});
    const ended = outcome(call);
    call.cancel();
    return [(await ended).code];
  },
  async cancel_after_first_response() {
    const call = chat();
    const ended = outcome(call);
    call.on("data", () => call.cancel());
    call.write(Buffer.from("x"));
    const { code, messages } = await ended;
    return [code, messages.length];
  },
  timeout_on_sleeping_server: async () =>
    [(await ask("Sleep", Buffer.alloc(0), { seconds: 0.2 })).code],
  async concurrent_large_unary() {
    const messages = [...Array(10).keys()].map((n) => Buffer.alloc(given.large / 4, n));
    const echoes = await Promise.all(messages.map((each) => echoed(each)));
    return [echoes.map(([code]) => code), echoes.every(([, isSame]) => isSame)];
  },
  async many_at_once() {
    const one = () => echoed(Buffer.from("x"));
    const echoes = await Promise.all(Array.from({ length: given.at_once }, one));
    return [echoes.map(([code]) => code)];
  },
  async rpc_soak() {
    const codes = [];
    for (let n = 0; n < given.soak; n++) {
      const [code, isSame] = await echoed(Buffer.alloc(given.large / 4, n));
      codes.push(isSame ? code : null);
    }
    return [codes];
  },
  async channel_soak() {
    const codes = [];
    for (let n = 0; n < given.soak; n++) {
      const client = new grpc.Client(`127.0.0.1:${port}`, insecure, options);
      codes.push((await echoed(Buffer.from("x"), { client }))[0]);
      client.close();
    }
    return [codes];
  },
};

async function main() {
  const saw = {};
  for (const name of given.calls) saw[name] = await calls[name]();
  // A deadline's timer keeps the process, its call ended or not.
  process.stdout.write(JSON.stringify(saw), () => process.exit());
}

main();
