"""Bytes both ways, and what is known of the TLS around them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import attrs
import trio

if TYPE_CHECKING:
    from OpenSSL import SSL


@attrs.frozen
class Certificate:
    """A peer's certificate, verified against the roots of the ``tls`` filter."""

    identity: str
    """Its SPIFFE URI; without one its first DNS name; without any its subject."""
    uris: tuple[str, ...]
    dns: tuple[str, ...]
    subject: str
    """RFC 4514, as ``x-forwarded-client-cert`` wants it."""
    sha256: str
    """Lower-case hex of the DER's digest."""


@attrs.frozen
class Tls:
    """What a finished handshake established."""

    version: str
    """``TLSv1.3``."""
    cipher: str
    alpn: str | None
    server_name: str | None
    """The SNI the client sent."""
    peer: Certificate | None


class HandshakeBroken(trio.BrokenResourceError):
    """A TLS handshake that failed. ``result`` is one of a closed set, for a counter."""

    def __init__(self, result: str, detail: str) -> None:
        super().__init__(detail)
        self.result = result


class Stream(Protocol):
    """One connection's bytes. One task may send while another receives.

    Methods raise ``trio.BrokenResourceError`` when the other side broke it,
    ``trio.ClosedResourceError`` when this side had closed it.
    """

    @property
    def tls(self) -> Tls | None: ...

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return at least one byte, or ``b""`` when the peer has sent its last."""
        ...

    async def peek(self, count: int, at_least: int = 1) -> bytes:
        """Return the first bytes without consuming them.

        At most ``count``: whatever has come once ``at_least`` have, or the end.
        ``receive_some`` gives them again. ``b""`` is the end.
        """
        ...

    async def send_all(self, data: bytes) -> None:
        """Send everything; when cancelled, how much went out is unknowable."""
        ...

    async def send_eof(self) -> None:
        """Say that nothing more will be sent; receiving goes on."""
        ...

    async def start_tls(
        self,
        context: SSL.Context,
        *,
        server_side: bool,
        server_name: str | None = None,
    ) -> Stream:
        """Do a TLS handshake and return the stream inside; ``self`` is used up.

        ``server_name`` is the SNI to send. Checks no name: the caller does,
        from ``.tls``. Raises HandshakeBroken with OpenSSL's reason; on a failure or a
        cancellation, ``self`` is left to be closed by the caller.
        """
        ...

    async def aclose(self) -> None:
        """Close at once. Idempotent, and safe under cancellation."""
        ...
