// grpc-js's server of the service of tests/processes/interop.py; prints its port.
"use strict";

const grpc = require("@grpc/grpc-js");

const service = process.argv[2];

function method(name, requestStream, responseStream) {
  const same = (bytes) => bytes;
  return {
    path: `/${service}/${name}`,
    requestStream,
    responseStream,
    requestSerialize: same,
    requestDeserialize: same,
    responseSerialize: same,
    responseDeserialize: same,
  };
}

// The call's own metadata back: at the head what it is given here, the rest returned.
function reflect(call) {
  const [initial] = call.metadata.get("x-initial");
  const [trailing] = call.metadata.get("x-trailing-bin");
  const head = new grpc.Metadata();
  const end = new grpc.Metadata();
  if (initial !== undefined) head.set("x-initial", initial);
  if (trailing !== undefined) end.set("x-trailing-bin", trailing);
  if (initial !== undefined) call.sendMetadata(head);
  return end;
}

function failure(request) {
  const [, code, details] = /^(\d+) (.*)$/s.exec(request.toString());
  return { code: Number(code), details };
}

const methods = {
  Echo: method("Echo", false, false),
  Chat: method("Chat", true, true),
  Collect: method("Collect", true, false),
  Spread: method("Spread", false, true),
  Fail: method("Fail", false, false),
  FailLate: method("FailLate", false, true),
  Sleep: method("Sleep", false, false),
};

const answers = {
  Echo: (call, answer) => answer(null, call.request, reflect(call)),
  Chat: (call) => {
    const end = reflect(call);
    call.on("data", (message) => call.write(message));
    call.on("end", () => call.end(end));
  },
  Collect: (call, answer) => {
    let size = 0;
    call.on("data", (message) => (size += message.length));
    call.on("end", () => answer(null, Buffer.from(String(size))));
  },
  Spread: (call) => {
    for (const size of call.request.toString().split(" ")) {
      call.write(Buffer.alloc(Number(size)));
    }
    call.end();
  },
  Fail: (call, answer) => answer(failure(call.request)),
  FailLate: (call) => {
    call.write(Buffer.from("first"));
    call.emit("error", failure(call.request));
  },
  Sleep: () => {},
};

const server = new grpc.Server({ "grpc.default_compression_algorithm": 2 });
server.addService(methods, answers);
const insecure = grpc.ServerCredentials.createInsecure();
server.bindAsync("127.0.0.1:0", insecure, (error, port) => {
  if (error) throw error;
  console.log(port);
});
