"""grpclib makes the calls of ``tests/processes/interop.py``, prints what it saw as JSON.

grpclib runs on asyncio, which nothing of Tulle does: hence a process of its own.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from grpclib.client import (
    Channel,
    StreamStreamMethod,
    StreamUnaryMethod,
    UnaryStreamMethod,
    UnaryUnaryMethod,
)
from grpclib.encoding.base import CodecBase
from grpclib.exceptions import GRPCError

PORT = int(sys.argv[1])
GIVEN = json.loads(sys.argv[2])
SERVICE: str = GIVEN["service"]
SIZES: list[int] = GIVEN["sizes"]
METADATA = {
    "x-initial": GIVEN["initial"],
    "x-trailing-bin": bytes.fromhex(GIVEN["trailing"]),
}
PATIENCE = 15.0


class Raw(CodecBase):
    """Messages are bytes; the content type is what every library takes."""

    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:
        return bytes(message)

    def decode(self, data: bytes, message_type: Any) -> bytes:
        return data


def method(channel: Channel, kind: Any, name: str, service: str = SERVICE) -> Any:
    return kind(channel, f"/{service}/{name}", bytes, bytes)


async def failure(awaited: Awaitable[object]) -> GRPCError:
    try:
        await awaited
    except GRPCError as error:
        return error
    raise AssertionError("it did not fail")


async def empty_unary(channel: Channel) -> list[object]:
    return [0, len(await method(channel, UnaryUnaryMethod, "Echo")(b""))]


async def large_unary(channel: Channel) -> list[object]:
    message = bytes(range(256)) * (GIVEN["large"] // 256)
    return [0, await method(channel, UnaryUnaryMethod, "Echo")(message) == message]


async def client_streaming(channel: Channel) -> list[object]:
    messages = [bytes(size) for size in SIZES]
    answer = await method(channel, StreamUnaryMethod, "Collect")(messages)
    return [0, answer.decode()]


async def server_streaming(channel: Channel) -> list[object]:
    asked = " ".join(map(str, SIZES)).encode()
    answers = await method(channel, UnaryStreamMethod, "Spread")(asked)
    return [0, [len(each) for each in answers]]


async def ping_pong(channel: Channel) -> list[object]:
    sizes = []
    async with method(channel, StreamStreamMethod, "Chat").open() as stream:
        for size in SIZES:
            await stream.send_message(bytes(size))
            sizes.append(len(await stream.recv_message()))
        await stream.end()
        assert await stream.recv_message() is None
    return [0, sizes]


async def empty_stream(channel: Channel) -> list[object]:
    async with method(channel, StreamStreamMethod, "Chat").open() as stream:
        await stream.send_request(end=True)
        answers = [each async for each in stream]
    return [0, answers]


async def _metadata(channel: Channel, kind: Any, name: str) -> list[object]:
    async with method(channel, kind, name).open(metadata=METADATA) as stream:
        await stream.send_message(b"x", end=True)
        assert await stream.recv_message() == b"x"
        await stream.recv_trailing_metadata()
    initial, trailing = stream.initial_metadata, stream.trailing_metadata
    return [0, initial.get("x-initial"), trailing.get("x-trailing-bin", b"").hex()]


async def unary_metadata(channel: Channel) -> list[object]:
    return await _metadata(channel, UnaryUnaryMethod, "Echo")


async def stream_metadata(channel: Channel) -> list[object]:
    return await _metadata(channel, StreamStreamMethod, "Chat")


async def _fail(channel: Channel, message: str) -> list[object]:
    called = method(channel, UnaryUnaryMethod, "Fail")(f"2 {message}".encode())
    error = await failure(called)
    return [error.status.value, error.message]


async def status_code_and_message(channel: Channel) -> list[object]:
    return await _fail(channel, GIVEN["message"])


async def special_status_message(channel: Channel) -> list[object]:
    return await _fail(channel, GIVEN["special"])


async def status_behind_a_message(channel: Channel) -> list[object]:
    count = 0
    try:
        async with method(channel, UnaryStreamMethod, "FailLate").open() as stream:
            await stream.send_message(f"2 {GIVEN['message']}".encode(), end=True)
            async for _ in stream:
                count += 1
    except GRPCError as error:
        return [error.status.value, error.message, count]
    return [0]


async def unimplemented_method(channel: Channel) -> list[object]:
    called = method(channel, UnaryUnaryMethod, "Nothing")(b"")
    return [(await failure(called)).status.value]


async def unimplemented_service(channel: Channel) -> list[object]:
    kind = UnaryUnaryMethod
    called = method(channel, kind, "Echo", "tulle.test.Nothing")(b"")
    return [(await failure(called)).status.value]


async def cancel_after_begin(channel: Channel) -> list[object]:
    async with method(channel, StreamUnaryMethod, "Collect").open() as stream:
        await stream.send_request()
        await stream.cancel()
    return [1]  # this library has no word for what it did itself


async def cancel_after_first_response(channel: Channel) -> list[object]:
    async with method(channel, StreamStreamMethod, "Chat").open() as stream:
        await stream.send_message(b"x")
        assert await stream.recv_message() == b"x"
        await stream.cancel()
    return [1, 1]


async def timeout_on_sleeping_server(channel: Channel) -> list[object]:
    called = method(channel, UnaryUnaryMethod, "Sleep")(b"", timeout=0.2)
    try:
        return [(await failure(called)).status.value]
    except TimeoutError:  # this library's own clock was first
        return [4]


async def concurrent_large_unary(channel: Channel) -> list[object]:
    messages = [bytes([number]) * (GIVEN["large"] // 4) for number in range(10)]
    called = method(channel, UnaryUnaryMethod, "Echo")
    answers = await asyncio.gather(*map(called, messages))
    return [[0] * len(answers), answers == messages]


async def many_at_once(channel: Channel) -> list[object]:
    called = method(channel, UnaryUnaryMethod, "Echo")
    answers = await asyncio.gather(*(called(b"x") for _ in range(GIVEN["at_once"])))
    assert set(answers) == {b"x"}
    return [[0] * len(answers)]


async def rpc_soak(channel: Channel) -> list[object]:
    message = bytes(GIVEN["large"] // 4)
    called = method(channel, UnaryUnaryMethod, "Echo")
    for _ in range(GIVEN["soak"]):
        assert await called(message) == message
    return [[0] * GIVEN["soak"]]


async def channel_soak(channel: Channel) -> list[object]:
    for _ in range(GIVEN["soak"]):
        async with Channel("127.0.0.1", PORT, codec=Raw()) as another:
            assert await method(another, UnaryUnaryMethod, "Echo")(b"x") == b"x"
    return [[0] * GIVEN["soak"]]


CALLS: tuple[Callable[[Channel], Awaitable[list[object]]], ...] = (
    empty_unary,
    large_unary,
    client_streaming,
    server_streaming,
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


async def main() -> None:
    saw: dict[str, list[object]] = {}
    async with Channel("127.0.0.1", PORT, codec=Raw()) as channel:
        for each in CALLS:
            if each.__name__ in GIVEN["calls"]:
                async with asyncio.timeout(PATIENCE):
                    saw[each.__name__] = await each(channel)
    sys.stdout.write(json.dumps(saw))


asyncio.run(main())
