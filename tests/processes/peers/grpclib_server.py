"""grpclib's server of the service of ``tests/processes/interop.py``; prints its port.

grpclib runs on asyncio, which nothing of Tulle does: hence a process of its own.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from grpclib.const import Cardinality, Handler, Status
from grpclib.encoding.base import CodecBase
from grpclib.exceptions import GRPCError
from grpclib.server import Server, Stream

Messages = Stream[bytes, bytes]


class Raw(CodecBase):
    """Messages are bytes; the content type is what every library takes."""

    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:
        return bytes(message)

    def decode(self, data: bytes, message_type: Any) -> bytes:
        return data


async def only(stream: Messages) -> bytes:
    message = await stream.recv_message()
    assert message is not None
    return message


async def chat(stream: Messages) -> None:
    given: Any = stream.metadata or {}
    if "x-initial" in given:
        await stream.send_initial_metadata(metadata={"x-initial": given["x-initial"]})
    async for message in stream:
        await stream.send_message(message)
    if "x-trailing-bin" in given:
        trailing = {"x-trailing-bin": given["x-trailing-bin"]}
        await stream.send_trailing_metadata(metadata=trailing)


async def collect(stream: Messages) -> None:
    size = 0
    async for message in stream:
        size += len(message)
    await stream.send_message(str(size).encode())


async def spread(stream: Messages) -> None:
    for size in (await only(stream)).split():
        await stream.send_message(bytes(int(size)))


async def fail(stream: Messages) -> None:
    code, _, text = (await only(stream)).decode().partition(" ")
    raise GRPCError(Status(int(code)), text)


async def fail_late(stream: Messages) -> None:
    await stream.send_message(b"first")
    await fail(stream)


async def sleep(stream: Messages) -> None:
    await asyncio.Event().wait()


class Interop:
    """The service, as grpclib wants one."""

    def __mapping__(self) -> dict[str, Handler]:
        kinds = {
            "Echo": (chat, Cardinality.UNARY_UNARY),
            "Chat": (chat, Cardinality.STREAM_STREAM),
            "Collect": (collect, Cardinality.STREAM_UNARY),
            "Spread": (spread, Cardinality.UNARY_STREAM),
            "Fail": (fail, Cardinality.UNARY_UNARY),
            "FailLate": (fail_late, Cardinality.UNARY_STREAM),
            "Sleep": (sleep, Cardinality.UNARY_UNARY),
        }
        service = sys.argv[1]
        return {
            f"/{service}/{name}": Handler(method, cardinality, bytes, bytes)
            for name, (method, cardinality) in kinds.items()
        }


async def main() -> None:
    server = Server([Interop()], codec=Raw())
    await server.start("127.0.0.1", 0)
    listening: Any = server._server  # it does not tell its port otherwise
    sys.stdout.write(f"{listening.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.wait_closed()


asyncio.run(main())
