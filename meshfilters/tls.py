"""TLS with clients and with upstreams: one word, ``tls``, at two levels.

OpenSSL is imported where a filter is built or its files are checked, not here: it costs
20 MB, and a worker without TLS must not pay for it. A ``fail_after`` costs 10 µs, which
is nothing once a connection.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import attrs
import trio
from attrs.validators import deep_iterable, gt, in_, matches_re

from meshfilters.api import ConnectionFilter, DialFilter, Service
from meshfilters.client_hello import is_tls, peek_server_name
from meshfilters.counters import Counter
from meshfilters.env import Env
from meshfilters.errors import HandshakeFailed, Refused
from meshfilters.exchange import Connection, Endpoint
from meshfilters.names import SPIFFE, is_host, is_spiffe_id, proves
from meshfilters.stream import HandshakeBroken, Stream

if TYPE_CHECKING:
    from OpenSSL import SSL

    from meshfilters.certificates import Material, Watched

FAREWELL = 1.0
"""Seconds a client that is refused may take to go."""

_PROTOCOLS = deep_iterable(matches_re(r"[!-~]{1,255}"))


def _check_pair(settings: Tls | TlsDial, attribute: object, key: Path | None) -> None:
    if (settings.certificate is None) != (key is None):
        raise ValueError("certificate and key go together")


def _check_name(settings: TlsDial, attribute: object, name: str | None) -> None:
    if name is not None and not is_spiffe_id(name) and not is_host(name):
        raise ValueError(f"{name!r} is neither a SPIFFE ID nor a DNS name")


def _check_host(settings: TlsDial, attribute: object, name: str | None) -> None:
    if name is not None and not is_host(name):
        raise ValueError(f"{name!r} is no DNS name")


@attrs.frozen
class Tls:
    """End the client's TLS, and put on the connection what it proved.

    A client has to speak first. What it proves is a name for whoever decides; unless
    ``clients`` is set it is asked for nothing and proves nothing.
    """

    certificate: Path | None = None
    """PEM: the certificate, then its intermediates. Watched, as every file here."""
    key: Path | None = attrs.field(default=None, validator=_check_pair)
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
    alpn: tuple[str, ...] = attrs.field(default=("http/1.1",), validator=_PROTOCOLS)
    """Best first; a client that offers others only is refused. Empty: do not negotiate."""
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
        return _check(self.certificate, self.key, self.clients)

    def build(self, env: Env) -> ConnectionFilter:
        handshakes = _handshakes(env)
        accept = _read_name if self.mode == "passthrough" else self._acceptor(env)

        async def tls(
            connection: Connection, inner: Service[Connection, None], /
        ) -> None:
            try:
                with trio.fail_after(self.handshake):
                    result, accepted = await accept(connection)
            except (trio.TooSlowError, trio.BrokenResourceError) as error:
                handshakes.add(("server", _result(error)))
                await _take_leave(connection.stream)
                raise Refused(f"TLS: {_detail(error)}") from error
            handshakes.add(("server", result))
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

        watched = _watch(env, self.certificate, self.key, self.clients, make)

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
                raise HandshakeBroken("plain refused", "the client spoke plain text")
            return "plain", connection

        return accept


@attrs.frozen
class TlsDial:
    """Speak TLS to the upstream, and only to one that proves the wanted name.

    A wrong name, an untrusted or expired certificate: 502, and never plain text. That
    an upstream refuses *our* certificate shows only after the handshake (TLS 1.3).
    """

    name: str | None = attrs.field(default=None, validator=_check_name)
    """A SPIFFE ID or a DNS name; unset, the host name in the service's endpoint."""
    roots: Path | None = None
    """PEM: the roots that upstreams' certificates must come from; unset, the system's."""
    certificate: Path | None = None
    """PEM: the certificate to show, then its intermediates."""
    key: Path | None = attrs.field(default=None, validator=_check_pair)
    server_name: str | None = attrs.field(default=None, validator=_check_host)
    """The SNI to send; unset, ``name`` if it is a DNS name, else the endpoint's host."""
    minimum_version: float = attrs.field(default=1.3, validator=in_((1.2, 1.3)))
    alpn: tuple[str, ...] = attrs.field(default=("http/1.1",), validator=_PROTOCOLS)
    handshake: float = attrs.field(default=10.0, validator=gt(0))
    """Seconds until the handshake is done."""

    def check(self) -> Iterator[str]:
        """Yield a sentence for each thing that is wrong with the files."""
        return _check(self.certificate, self.key, self.roots)

    def build(self, env: Env) -> DialFilter:
        from meshfilters import openssl

        def make(material: Material) -> SSL.Context:
            return openssl.client_context(
                material, minimum=self.minimum_version, alpn=self.alpn
            )

        handshakes = _handshakes(env)
        watched = _watch(env, self.certificate, self.key, self.roots, make)

        async def tls(
            endpoint: Endpoint, inner: Service[Endpoint, Stream], /
        ) -> Stream:
            plain = await inner(endpoint)
            try:
                with trio.fail_after(self.handshake):
                    stream = await self._secure(plain, endpoint, watched.value)
            except BaseException as error:
                await plain.aclose()
                if isinstance(error, trio.TooSlowError | trio.BrokenResourceError):
                    handshakes.add(("client", _result(error)))
                    detail = f"{endpoint.address}: {_detail(error)}"
                    raise HandshakeFailed(detail) from error
                raise
            handshakes.add(("client", "ok"))
            return stream

        return tls

    async def _secure(
        self, plain: Stream, endpoint: Endpoint, context: SSL.Context
    ) -> Stream:
        wanted = self.name or endpoint.host
        server_name = self.server_name
        if server_name is None:
            server_name = endpoint.host if wanted.startswith(SPIFFE) else wanted
        stream = await plain.start_tls(
            context, server_side=False, server_name=server_name or None
        )
        peer = stream.tls.peer if stream.tls else None
        if peer is None or not wanted or not proves(peer, wanted):
            proven = peer.identity if peer else "nothing"
            raise HandshakeBroken("wrong name", f"wanted {wanted!r}, got {proven}")
        return stream


_Accept = Callable[[Connection], Awaitable[tuple[str, Connection]]]


async def _take_leave(stream: Stream) -> None:
    """Let the client read why: a socket closed with bytes unread resets, alert or not."""
    with trio.move_on_after(FAREWELL):
        try:
            await stream.send_eof()
            while await stream.receive_some():
                pass
        except trio.BrokenResourceError:
            return


async def _read_name(connection: Connection) -> tuple[str, Connection]:
    """Leave the bytes as they are; what is no TLS goes on without a name."""
    if not is_tls(await connection.stream.peek(2)):
        return "plain", connection
    try:
        name = await peek_server_name(connection.stream)
    except ValueError as error:
        raise HandshakeBroken("protocol", str(error)) from error
    return "passed through", attrs.evolve(connection, server_name=name)


def _handshakes(env: Env) -> Counter:
    return env.counter(
        "handshakes_total", "side", "result", help="TLS handshakes, by outcome."
    )


def _result(error: Exception) -> str:
    if isinstance(error, trio.TooSlowError):
        return "timeout"
    return error.result if isinstance(error, HandshakeBroken) else "closed"


def _detail(error: Exception) -> str:
    is_late = isinstance(error, trio.TooSlowError)
    return "handshake timeout" if is_late else str(error)


def _check(*paths: Path | None) -> Iterator[str]:
    from meshfilters.certificates import Files

    return Files(*paths).problems(time.time())


def _watch(
    env: Env,
    certificate: Path | None,
    key: Path | None,
    roots: Path | None,
    make: Callable[[Material], SSL.Context],
) -> Watched[SSL.Context]:
    from meshfilters.certificates import Files, Watched

    watched = Watched(Files(certificate, key, roots), make, env)
    env.start_soon(watched.run)
    return watched
