"""grpcio as a server and as a client of the service of ``interop``, without stubs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc

from tests.processes.interop import (
    AT_ONCE,
    INITIAL,
    LARGE,
    MESSAGE,
    SERVICE,
    SIZES,
    SOAK,
    SPECIAL,
    TRAILING,
)
from tests.processes.waiting import PATIENCE

CODES = {code.value[0]: code for code in grpc.StatusCode}
METADATA = (("x-initial", INITIAL), ("x-trailing-bin", bytes.fromhex(TRAILING)))
COMPRESS = (("x-compressed", "yes"),)
SPREAD = " ".join(map(str, SIZES)).encode()
GENEROUS = [("grpc.max_receive_message_length", -1)]


class Interop:
    """The service, and what it has seen of calls that were cancelled."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        """Set when somebody has called ``Sleep`` or ``Hold``."""
        self.ended = threading.Event()
        """Set when such a call is over."""
        self.all_held = threading.Barrier(1)
        """What the calls of ``Hold`` wait at, until all of them are here."""

    def echo(self, message: bytes, context: Any) -> bytes:
        self._reflect(context)
        return message

    def chat(self, messages: Iterator[bytes], context: Any) -> Iterator[bytes]:
        self._reflect(context)
        yield from messages

    def collect(self, messages: Iterator[bytes], context: Any) -> bytes:
        return str(sum(map(len, messages))).encode()

    def spread(self, message: bytes, context: Any) -> Iterator[bytes]:
        self._reflect(context)
        for number, size in enumerate(message.split()):
            if number % 2:
                context.disable_next_message_compression()
            yield bytes(int(size))

    def fail(self, message: bytes, context: Any) -> bytes:
        code, _, text = message.decode().partition(" ")
        context.abort(CODES[int(code)], text)
        raise AssertionError  # abort raises

    def fail_late(self, message: bytes, context: Any) -> Iterator[bytes]:
        yield b"first"
        self.fail(message, context)

    def sleep(self, message: bytes, context: Any) -> bytes:
        ended = threading.Event()
        context.add_callback(ended.set)
        self.begun.set()
        ended.wait(PATIENCE)
        self.ended.set()
        return b""

    def hold(self, message: bytes, context: Any) -> bytes:
        self.all_held.wait(PATIENCE)
        return message

    def _reflect(self, context: Any) -> None:
        for name, value in context.invocation_metadata():
            if name == "x-initial":
                context.send_initial_metadata([(name, value)])
            elif name == "x-trailing-bin":
                context.set_trailing_metadata([(name, value)])
            elif name == "x-compressed":
                context.set_compression(grpc.Compression.Gzip)

    def handlers(self) -> Any:
        methods = {
            "Echo": grpc.unary_unary_rpc_method_handler(self.echo),
            "Chat": grpc.stream_stream_rpc_method_handler(self.chat),
            "Collect": grpc.stream_unary_rpc_method_handler(self.collect),
            "Spread": grpc.unary_stream_rpc_method_handler(self.spread),
            "Fail": grpc.unary_unary_rpc_method_handler(self.fail),
            "FailLate": grpc.unary_stream_rpc_method_handler(self.fail_late),
            "Sleep": grpc.unary_unary_rpc_method_handler(self.sleep),
            "Hold": grpc.unary_unary_rpc_method_handler(self.hold),
        }
        return grpc.method_handlers_generic_handler(SERVICE, methods)


@contextmanager
def grpcio_server(service: Interop, *, max_streams: int = 0) -> Iterator[int]:
    """Serve on a port that is yielded; ``max_streams`` at most on each connection."""
    options = list(GENEROUS)
    if max_streams:
        options.append(("grpc.max_concurrent_streams", max_streams))
    server = grpc.server(
        ThreadPoolExecutor(64),
        handlers=[service.handlers()],
        options=options,
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield port
    finally:
        server.stop(None).wait(PATIENCE)


class Client:
    """All kinds of calls over one channel."""

    def __init__(self, port: int) -> None:
        self.port = port
        # A pool of subchannels is shared in a process: another test's connections.
        options = [*GENEROUS, ("grpc.use_local_subchannel_pool", 1)]
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}", options)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *error: object) -> None:
        self.channel.close()

    def unary(self, method: str, service: str = SERVICE) -> Any:
        return self.channel.unary_unary(f"/{service}/{method}")

    def ask(self, method: str, message: bytes = b"", **more: Any) -> tuple[Any, Any]:
        """The answer to one message and the call that it was the answer of."""
        more.setdefault("timeout", PATIENCE)
        return self.unary(method).with_call(message, **more)  # type: ignore[no-any-return]

    def failure(self, method: str, message: bytes = b"", **more: Any) -> Any:
        """The error that a call ends with; its code and details are methods of it."""
        try:
            self.ask(method, message, **more)
        except grpc.RpcError as error:
            return error
        raise AssertionError("it did not fail")

    def chat(self, messages: Iterator[bytes], **more: Any) -> Any:
        method = self.channel.stream_stream(f"/{SERVICE}/Chat")
        return method(messages, timeout=PATIENCE, **more)

    def collect(self, messages: Iterator[bytes], **more: Any) -> tuple[Any, Any]:
        """As ``ask``, of a stream of messages."""
        method = self.channel.stream_unary(f"/{SERVICE}/Collect")
        return method.with_call(messages, timeout=PATIENCE, **more)  # type: ignore[no-any-return]

    def stream(self, method: str, message: bytes, **more: Any) -> Any:
        called = self.channel.unary_stream(f"/{SERVICE}/{method}")
        return called(message, timeout=PATIENCE, **more)


def code(call: Any) -> int:
    return int(call.code().value[0])


def told(call: Any) -> list[object]:
    """The metadata of a call that has ended."""
    initial = dict(call.initial_metadata())
    trailing = dict(call.trailing_metadata())
    found = trailing.get("x-trailing-bin", b"").hex()
    return [code(call), initial.get("x-initial"), found]


def empty_unary(client: Client) -> list[object]:
    answer, call = client.ask("Echo")
    return [code(call), len(answer)]


def large_unary(client: Client) -> list[object]:
    message = bytes(range(256)) * (LARGE // 256)
    answer, call = client.ask("Echo", message)
    return [code(call), answer == message]


def client_compressed_unary(client: Client) -> list[object]:
    message = b"tulle" * 100_000
    answer, call = client.ask("Echo", message, compression=grpc.Compression.Gzip)
    return [code(call), answer == message]


def server_compressed_unary(client: Client) -> list[object]:
    message = b"tulle" * 100_000
    answer, call = client.ask("Echo", message, metadata=COMPRESS)
    return [code(call), answer == message]


def client_streaming(client: Client) -> list[object]:
    answer, call = client.collect(map(bytes, SIZES))
    return [code(call), answer.decode()]


def client_compressed_streaming(client: Client) -> list[object]:
    messages = map(bytes, SIZES)
    answer, call = client.collect(messages, compression=grpc.Compression.Gzip)
    return [code(call), answer.decode()]


def server_streaming(client: Client) -> list[object]:
    call = client.stream("Spread", SPREAD)
    sizes = [len(each) for each in call]
    return [code(call), sizes]


def server_compressed_streaming(client: Client) -> list[object]:
    call = client.stream("Spread", SPREAD, metadata=COMPRESS)
    sizes = [len(each) for each in call]
    return [code(call), sizes]


def ping_pong(client: Client) -> list[object]:
    answered, sizes = threading.Semaphore(), []

    def pings() -> Iterator[bytes]:
        for size in SIZES:
            assert answered.acquire(timeout=PATIENCE)
            yield bytes(size)

    call = client.chat(pings())
    for each in call:
        sizes.append(len(each))
        answered.release()
    return [code(call), sizes]


def empty_stream(client: Client) -> list[object]:
    call = client.chat(iter(()))
    sizes = [len(each) for each in call]
    return [code(call), sizes]


def unary_metadata(client: Client) -> list[object]:
    _, call = client.ask("Echo", b"x", metadata=METADATA)
    return told(call)


def stream_metadata(client: Client) -> list[object]:
    call = client.chat(iter((b"x",)), metadata=METADATA)
    assert list(call) == [b"x"]
    return told(call)


def status_code_and_message(client: Client) -> list[object]:
    error = client.failure("Fail", f"2 {MESSAGE}".encode())
    return [code(error), error.details()]


def special_status_message(client: Client) -> list[object]:
    error = client.failure("Fail", f"2 {SPECIAL}".encode())
    return [code(error), error.details()]


def status_behind_a_message(client: Client) -> list[object]:
    call, count = client.stream("FailLate", f"2 {MESSAGE}".encode()), 0
    try:
        for _ in call:
            count += 1
    except grpc.RpcError:
        pass
    return [code(call), call.details(), count]


def unimplemented_method(client: Client) -> list[object]:
    return [code(client.failure("Nothing"))]


def unimplemented_service(client: Client) -> list[object]:
    try:
        client.unary("Echo", "tulle.test.Nothing")(b"", timeout=PATIENCE)
    except grpc.RpcError as error:
        return [code(error)]
    return [0]


def cancel_after_begin(client: Client) -> list[object]:
    over = threading.Event()

    def never() -> Iterator[bytes]:
        over.wait(PATIENCE)
        yield from ()

    method = client.channel.stream_unary(f"/{SERVICE}/Collect")
    call = method.future(never(), timeout=PATIENCE)
    call.cancel()
    over.set()
    return [code(call)]


def cancel_after_first_response(client: Client) -> list[object]:
    over = threading.Event()

    def one() -> Iterator[bytes]:
        yield b"x"
        over.wait(PATIENCE)

    call, count = client.chat(one()), 0
    try:
        for _ in call:
            count += 1
            call.cancel()
    except grpc.RpcError:
        pass
    over.set()
    return [code(call), count]


def timeout_on_sleeping_server(client: Client) -> list[object]:
    return [code(client.failure("Sleep", timeout=0.2))]


def concurrent_large_unary(client: Client) -> list[object]:
    messages = [bytes([number]) * (LARGE // 4) for number in range(10)]
    method = client.unary("Echo")
    calls = [method.future(each, timeout=PATIENCE) for each in messages]
    answers = [each.result() for each in calls]
    return [[code(each) for each in calls], answers == messages]


def many_at_once(client: Client) -> list[object]:
    method = client.unary("Echo")
    calls = [method.future(b"x", timeout=PATIENCE) for _ in range(AT_ONCE)]
    assert all(each.result() == b"x" for each in calls)
    return [[code(each) for each in calls]]


def rpc_soak(client: Client) -> list[object]:
    message = bytes(LARGE // 4)
    answers = [client.ask("Echo", message) for _ in range(SOAK)]
    assert all(answer == message for answer, _ in answers)
    return [[code(call) for _, call in answers]]


def channel_soak(client: Client) -> list[object]:
    codes = []
    for _ in range(SOAK):
        with Client(client.port) as another:
            _, call = another.ask("Echo", b"x")
            codes.append(code(call))
    return [codes]


CALLS: tuple[Callable[[Client], list[object]], ...] = (
    empty_unary,
    large_unary,
    client_compressed_unary,
    server_compressed_unary,
    client_streaming,
    client_compressed_streaming,
    server_streaming,
    server_compressed_streaming,
    ping_pong,
    empty_stream,
    unary_metadata,
    stream_metadata,
    status_code_and_message,
    special_status_message,
    status_behind_a_message,
    unimplemented_method,
    unimplemented_service,
    cancel_after_begin,
    cancel_after_first_response,
    timeout_on_sleeping_server,
    concurrent_large_unary,
    many_at_once,
    rpc_soak,
    channel_soak,
)


def observed(port: int, names: Collection[str]) -> dict[str, list[object]]:
    """What this library sees when it makes these calls of ``interop``."""
    with Client(port) as client:
        return {each.__name__: each(client) for each in CALLS if each.__name__ in names}
