"""Bytes both ways between two streams, until both directions have ended.

Half-close is passed on. Back-pressure is the sockets': nothing is read that has not
been sent. Between two plain sockets ``os.splice`` moves bytes through a pipe without
copying them through this process.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress

import attrs
import trio

from meshfilters.stream import Stream
from proxy.transport.stream import SocketStream

PIPE_SIZE = 1024 * 1024
"""Bytes one splice may move; what an unprivileged process may ask for."""

SPLICE_FROM = 1024 * 1024
"""Bytes one way after which splicing pays for its pipe and two descriptors."""


@attrs.define
class Moved:
    """Bytes each way, and what broke the connection if anything did."""

    sent: int = 0
    """From the first stream to the second."""
    received: int = 0
    """From the second stream to the first."""
    error: str = ""


async def relay(
    downstream: Stream,
    upstream: Stream,
    touch: Callable[[], None],
    moved: Moved,
    early: bytes = b"",
) -> None:
    """Relay until both have sent their last byte, or either breaks; closes upstream.

    ``touch`` is called whenever bytes moved. ``early`` goes upstream first. ``moved``
    is the caller's, who wants to know it when this is cancelled, too.
    """

    def count_there(size: int) -> None:
        moved.sent += size
        touch()

    def count_back(size: int) -> None:
        moved.received += size
        touch()

    async def there() -> None:
        if early:
            await upstream.send_all(early)
            count_there(len(early))
        await _pass_on(downstream, upstream, count_there)

    async def back() -> None:
        await _pass_on(upstream, downstream, count_back)

    async def until_broken(direction: Callable[[], Awaitable[None]]) -> None:
        try:
            await direction()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            moved.error = moved.error or str(error)
            nursery.cancel_scope.cancel()

    try:
        # A tunnel is a connection's whole life: it can afford a nursery.
        async with trio.open_nursery() as nursery:
            nursery.start_soon(until_broken, there)
            await until_broken(back)
    finally:
        await upstream.aclose()


async def _pass_on(source: Stream, sink: Stream, count: Callable[[int], None]) -> None:
    receive = getattr(source, "receive_soon", source.receive_some)
    send = getattr(sink, "send_soon", sink.send_all)
    can_splice = type(source) is SocketStream and type(sink) is SocketStream
    left = SPLICE_FROM
    while data := await receive():
        await send(data)
        count(len(data))
        left -= len(data)
        if can_splice and left <= 0:
            assert isinstance(source, SocketStream)
            assert isinstance(sink, SocketStream)
            try:
                pipe = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError:
                can_splice = False  # out of descriptors: copying needs none
            else:
                await _splice(source, sink, pipe, count)
                break
    await sink.send_eof()


async def _splice(
    source: SocketStream,
    sink: SocketStream,
    pipe: tuple[int, int],
    count: Callable[[int], None],
) -> None:
    outlet, inlet = pipe
    try:
        # When the user's share of pipe pages is used up, the default size will do.
        with suppress(OSError):
            fcntl.fcntl(inlet, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
        while size := await _fill(source, inlet):
            await _empty(outlet, sink, size)
            count(size)
            await trio.lowlevel.checkpoint()
    except OSError as error:
        raise trio.BrokenResourceError(str(error)) from error
    finally:
        os.close(outlet)
        os.close(inlet)


async def _fill(source: SocketStream, inlet: int) -> int:
    while True:
        try:
            return os.splice(
                source.watch.descriptor, inlet, PIPE_SIZE, flags=os.SPLICE_F_NONBLOCK
            )
        except BlockingIOError:
            source.watch.readable = False
            await source.watch.wait_readable()


async def _empty(outlet: int, sink: SocketStream, size: int) -> None:
    while size:
        try:
            size -= os.splice(
                outlet, sink.watch.descriptor, size, flags=os.SPLICE_F_NONBLOCK
            )
        except BlockingIOError:
            await sink.watch.wait_writable()
