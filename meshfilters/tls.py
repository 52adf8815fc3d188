"""End clients' TLS. The word ``tls`` at the dial level is ``TlsDial``."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import attrs
import trio
from attrs.validators import gt, in_

from meshfilters.api import ConnectionFilter, Service
from meshfilters.client_hello import is_tls, peek_server_name
from meshfilters.env import Env
from meshfilters.errors import Refused
from meshfilters.exchange import Connection
from meshfilters.handshakes import (
    HTTP,
    PROTOCOLS,
    check,
    check_pair,
    detail_of,
    handshakes,
    result_of,
    watch,
)
from meshfilters.stream import HandshakeBroken, Stream
from meshfilters.tls_dial import TlsDial

if TYPE_CHECKING:
    from OpenSSL import SSL

    from meshfilters.certificates import Material

__all__ = ["Tls", "TlsDial"]

FAREWELL = 1.0
"""Seconds a client that is refused may take to go."""


@attrs.frozen
class Tls:
    """End the client's TLS, and put on the connection what it proved.

    A client has to speak first. What it proves is a name for whoever decides; unless
    ``clients`` is set it is asked for nothing and proves nothing.
    """

    certificate: Path | None = None
    """PEM: the certificate, then its intermediates. Watched, as every file here."""
    key: Path | None = attrs.field(default=None, validator=check_pair)
    clients: Path | None = None
    """PEM: the roots that clients' certificates must come from."""
    client_certificate: Literal["required", "optional"] = attrs.field(
        default="required", validator=in_(("required", "optional"))
    )
    """Whether ``clients`` lets in who shows none. A bad one is refused either way."""
    mode: Literal["required", "optional", "passthrough"] = attrs.field(
        default="required", validator=in_(("required", "optional", "passthrough"))
    )
    """``optional`` lets plain text through; ``passthrough`` only reads the server name."""
    minimum_version: float = attrs.field(default=1.3, validator=in_((1.2, 1.3)))
    alpn: tuple[str, ...] = attrs.field(default=HTTP, validator=PROTOCOLS)
    """Best first; a client that offers others only is refused. Empty: do not negotiate.
    ``tulle/1`` is HTTP/2 between two sidecars of Tulle."""
    handshake: float = attrs.field(default=10.0, validator=gt(0))
    """Seconds until the handshake is done (Linkerd's detection timeout)."""

    def __attrs_post_init__(self) -> None:
        if self.mode != "passthrough":
            if self.certificate is None:
                raise ValueError(f"mode {self.mode} needs a certificate and its key")
        elif self.certificate is not None or self.clients is not None:
            raise ValueError("mode passthrough ends no TLS and has no use for files")

    def check(self) -> Iterator[str]:
        """Yield a sentence for each thing that is wrong with the files."""
        return check(self.certificate, self.key, self.clients)

    def build(self, env: Env) -> ConnectionFilter:
        counter = handshakes(env)
        accept = _read_name if self.mode == "passthrough" else self._acceptor(env)

        async def tls(
            connection: Connection, inner: Service[Connection, None], /
        ) -> None:
            try:
                # 10 µs, once a connection.
                with trio.fail_after(self.handshake):
                    result, accepted = await accept(connection)
            except (trio.TooSlowError, trio.BrokenResourceError) as error:
                counter.add(("server", result_of(error)))
                await _take_leave(connection.stream)
                raise Refused(f"TLS: {detail_of(error)}") from error
            counter.add(("server", result))
            await inner(accepted)

        return tls

    def _acceptor(self, env: Env) -> _Accept:
        from meshfilters import openssl

        def make(material: Material) -> SSL.Context:
            return openssl.server_context(
                material,
                minimum=self.minimum_version,
                alpn=self.alpn,
                is_client_required=self.client_certificate == "required",
            )

        watched = watch(env, self.certificate, self.key, self.clients, make)

        async def accept(connection: Connection) -> tuple[str, Connection]:
            head = await connection.stream.peek(2)
            if not head:
                raise HandshakeBroken("closed", "the client left without a word")
            if is_tls(head):
                stream = await connection.stream.start_tls(
                    watched.value, server_side=True
                )
                return "ok", connection.with_(stream, stream.tls)
            if self.mode == "required":
                raise HandshakeBroken("plain_refused", "the client spoke plain text")
            return "plain", connection

        return accept


_Accept = Callable[[Connection], Awaitable[tuple[str, Connection]]]


async def _take_leave(stream: Stream) -> None:
    """Let the client read why: a socket closed with bytes unread resets, alert or not."""
    with (
        trio.move_on_after(FAREWELL),
        contextlib.suppress(trio.BrokenResourceError),
    ):
        await stream.send_eof()
        while await stream.receive_some():
            pass


async def _read_name(connection: Connection) -> tuple[str, Connection]:
    """Leave the bytes as they are; what is no TLS goes on without a name."""
    if not is_tls(await connection.stream.peek(2)):
        return "plain", connection
    try:
        name = await peek_server_name(connection.stream)
    except ValueError as error:
        raise HandshakeBroken("protocol", str(error)) from error
    return "passed_through", attrs.evolve(connection, server_name=name)
