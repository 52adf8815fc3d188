"""Speak TLS to upstreams, and only to those that prove the wanted name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import trio
from attrs.validators import gt, in_

from meshfilters.api import DialFilter, Service
from meshfilters.env import Env
from meshfilters.errors import HandshakeFailed
from meshfilters.exchange import Endpoint
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
from meshfilters.names import SPIFFE, is_host, is_spiffe_id, proves
from meshfilters.stream import HandshakeBroken, Stream

if TYPE_CHECKING:
    from OpenSSL import SSL

    from meshfilters.certificates import Material


def _check_name(settings: TlsDial, attribute: object, name: str | None) -> None:
    if name is not None and not is_spiffe_id(name) and not is_host(name):
        raise ValueError(f"{name!r} is neither a SPIFFE ID nor a DNS name")


def _check_host(settings: TlsDial, attribute: object, name: str | None) -> None:
    if name is not None and not is_host(name):
        raise ValueError(f"{name!r} is no DNS name")


class Contexts:
    """Contexts that differ in what they offer by ALPN alone, made as they are needed."""

    def __init__(self, make: Callable[[tuple[str, ...]], SSL.Context]) -> None:
        self._make = make
        self._made: dict[tuple[str, ...], SSL.Context] = {}

    def offering(self, alpn: tuple[str, ...]) -> SSL.Context:
        """The context that offers these."""
        context = self._made.get(alpn)
        if context is None:
            context = self._made[alpn] = self._make(alpn)
        return context


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
    key: Path | None = attrs.field(default=None, validator=check_pair)
    server_name: str | None = attrs.field(default=None, validator=_check_host)
    """The SNI to send; unset, ``name`` if it is a DNS name, else the endpoint's host."""
    minimum_version: float = attrs.field(default=1.3, validator=in_((1.2, 1.3)))
    alpn: tuple[str, ...] = attrs.field(default=HTTP, validator=PROTOCOLS)
    """What to offer, best first; of it, only what the service's ``protocol`` allows."""
    handshake: float = attrs.field(default=10.0, validator=gt(0))
    """Seconds until the handshake is done."""

    def check(self) -> Iterator[str]:
        """Yield a sentence for each thing that is wrong with the files."""
        return check(self.certificate, self.key, self.roots)

    def build(self, env: Env) -> DialFilter:
        from meshfilters import openssl

        def make(material: Material) -> Contexts:
            contexts = Contexts(
                lambda alpn: openssl.client_context(
                    material, minimum=self.minimum_version, alpn=alpn
                )
            )
            contexts.offering(self.alpn)  # files that are wrong show here
            return contexts

        counter = handshakes(env)
        watched = watch(env, self.certificate, self.key, self.roots, make)

        async def tls(
            endpoint: Endpoint, inner: Service[Endpoint, Stream], /
        ) -> Stream:
            plain = await inner(endpoint)
            try:
                with trio.fail_after(self.handshake):
                    stream = await self._secure(
                        plain, endpoint, watched.value.offering(self._offer(endpoint))
                    )
            except BaseException as error:
                await plain.aclose()
                if isinstance(error, trio.TooSlowError | trio.BrokenResourceError):
                    counter.add(("client", result_of(error)))
                    detail = f"{endpoint.address}: {detail_of(error)}"
                    raise HandshakeFailed(detail) from error
                raise
            counter.add(("client", "ok"))
            return stream

        return tls

    def _offer(self, endpoint: Endpoint) -> tuple[str, ...]:
        """What to offer: of the filter's own list, what the connection is for."""
        if endpoint.alpn is None:
            return self.alpn
        return tuple(each for each in self.alpn if each in endpoint.alpn)

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
            raise HandshakeBroken("wrong_name", f"wanted {wanted!r}, got {proven}")
        return stream
