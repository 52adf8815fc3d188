"""``python -m benchmarks.relay FILE``: the least that a proxy on trio does.

It hands bytes on and looks at none: the gate's yardstick. What a machine is good at, the
same Python and the same trio meet in both; against a proxy in C the ratio of a machine
may be twice that of another.
"""

from __future__ import annotations

import json
import ssl
import sys
from pathlib import Path

import attrs
import trio
from trio.abc import Listener, Stream

PIECE = 64 * 1024
NAME = "server.example.org"
"""Whom the certificate of a relay is for."""


@attrs.frozen
class Relay:
    """Where one listens, and where it sends what it hears."""

    port: int
    to: int
    server: str | None = None
    """The certificate and key to take TLS with."""
    client: str | None = None
    """The certificate and key to speak TLS with."""
    roots: str | None = None

    async def serve(
        self, task_status: trio.TaskStatus[object] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Take every connection, for ever."""
        listening: list[Listener[trio.SocketStream]]
        listening = [*await trio.open_tcp_listeners(self.port, host="127.0.0.1")]
        if self.server is None:
            await trio.serve_listeners(self.hand_on, listening, task_status=task_status)
        context = self._context(ssl.PROTOCOL_TLS_SERVER, self.server)
        context.verify_mode = ssl.CERT_REQUIRED
        greeting = [
            trio.SSLListener(each, context, https_compatible=True) for each in listening
        ]
        await trio.serve_listeners(self.hand_on, greeting, task_status=task_status)

    async def hand_on(self, stream: Stream) -> None:
        """One connection, until either side has ended."""
        try:
            async with stream, await self._connect() as other:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(copy, stream, other, nursery.cancel_scope)
                    await copy(other, stream, nursery.cancel_scope)
        except* (trio.BrokenResourceError, OSError):
            pass  # a load ends without taking leave

    async def _connect(self) -> Stream:
        stream = await trio.open_tcp_stream("127.0.0.1", self.to)
        if self.client is None:
            return stream
        context = self._context(ssl.PROTOCOL_TLS_CLIENT, self.client)
        return trio.SSLStream(
            stream, context, server_hostname=NAME, https_compatible=True
        )

    def _context(self, protocol: ssl._SSLMethod, certificate: str) -> ssl.SSLContext:
        context = ssl.SSLContext(protocol)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(certificate)
        context.load_verify_locations(self.roots)
        return context


async def copy(source: Stream, sink: Stream, ended: trio.CancelScope) -> None:
    """Hand on what comes; when no more does, the connection has ended."""
    while data := await source.receive_some(PIECE):
        await sink.send_all(data)
    ended.cancel()


if __name__ == "__main__":
    trio.run(Relay(**json.loads(Path(sys.argv[1]).read_text())).serve)
