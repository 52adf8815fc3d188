"""A client and a server of TLS that meet over memory, and what may be wrong with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import attrs
import trio
from cryptography import x509

from meshfilters.errors import HandshakeFailed, MeshError
from meshfilters.exchange import Connection, Endpoint
from meshfilters.memory import MemoryStream, stream_pair
from meshfilters.stream import Stream
from meshfilters.testing import Kit
from meshfilters.tls import Tls, TlsDial
from tests.authority import API, WEB, Issued, root, self_signed

ROOT = root()
SERVER = ROOT.issue(uris=[API], dns=["api.test"])
CLIENT = ROOT.issue(uris=[WEB])
HANDSHAKES = "tulle_tls_handshakes_total"


@attrs.define
class Side:
    """One end's filter, and how its handshake came out."""

    kit: Kit = attrs.field(factory=lambda: Kit("tls", "inbound"))
    connection: Connection | None = None
    stream: Stream | None = None
    error: MeshError | None = None

    @property
    def results(self) -> list[str]:
        return [str(labels[1]) for labels in self.kit.counts(HANDSHAKES)]


@attrs.define
class Meeting:
    """A dial filter and a connection filter, at the two ends of a memory stream."""

    folder: Path
    server: Side = attrs.field(factory=Side)
    client: Side = attrs.field(factory=Side)

    def files(self, issued: Issued, name: str) -> dict[str, Path]:
        certificate, key = issued.write(self.folder, name)
        return {"certificate": certificate, "key": key}

    def tls(self, issued: Issued = SERVER, **settings: object) -> Tls:
        roots = {"clients": ROOT.write(self.folder)}
        return Tls(**{**self.files(issued, "server"), **roots, **settings})  # type: ignore[arg-type]  # the test says which

    def dial(self, issued: Issued | None = CLIENT, **settings: object) -> TlsDial:
        shown = {} if issued is None else self.files(issued, "client")
        given = {"roots": ROOT.write(self.folder), "name": API, **shown, **settings}
        return TlsDial(**given)  # type: ignore[arg-type]  # the test says which

    async def hold(
        self, tls: Tls, dial: TlsDial, endpoint: Endpoint | None = None
    ) -> None:
        """Let them meet; the server answers what it receives, once."""
        near, far = stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.accept, tls, far)
            await self.connect(dial, near, endpoint)
            if self.client.stream is not None:
                await self.talk(self.client.stream)

    async def accept(self, tls: Tls, stream: MemoryStream) -> None:
        side = self.server

        async def inner(connection: Connection, /) -> None:
            side.connection, side.stream = connection, connection.stream
            await connection.stream.send_all(await connection.stream.receive_some())

        connection = Connection(stream, "192.0.2.1:1", "web", "inbound")
        try:
            await tls.build(side.kit.env)(connection, inner)
        except MeshError as error:
            side.error = error
        await stream.aclose()

    async def connect(
        self, dial: TlsDial, stream: MemoryStream, endpoint: Endpoint | None = None
    ) -> None:
        async def inner(endpoint: Endpoint, /) -> Stream:
            return stream

        wanted = endpoint or Endpoint("api", "198.51.100.1:80")
        try:
            self.client.stream = await dial.build(self.client.kit.env)(wanted, inner)
        except MeshError as error:
            self.client.error = error
            assert stream.is_closed

    async def talk(self, stream: Stream) -> None:
        try:
            await stream.send_all(b"ping")
            assert await stream.receive_some() == b"ping"
        except trio.BrokenResourceError as error:
            # The server's verdict on our certificate comes behind our handshake.
            self.client.error = HandshakeFailed(str(error))
        await stream.aclose()


UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4.5"), b"\x05\x00")

FAULTS: dict[str, tuple[Callable[[str], Issued], str, str]] = {
    "expired": (lambda name: ROOT.issue(uris=[name], ends=-1), "expired", "expired"),
    "not yet valid": (
        lambda name: ROOT.issue(uris=[name], starts=40),
        "not_yet_valid",
        "bad certificate",
    ),
    "of another root of that name": (
        lambda name: root("root").issue(uris=[name]),
        "untrusted",
        "unknown ca",
    ),
    "of an unknown root": (
        lambda name: root("other").issue(uris=[name]),
        "untrusted",
        "unknown ca",
    ),
    "self-signed": (lambda name: self_signed(uris=[name]), "untrusted", "unknown ca"),
    "without its intermediate": (
        lambda name: attrs.evolve(
            ROOT.intermediate().issue(uris=[name]), intermediates=()
        ),
        "untrusted",
        "unknown ca",
    ),
    "below too long a path": (
        lambda name: ROOT.intermediate(path_length=0).intermediate().issue(uris=[name]),
        "bad_certificate",
        "unknown ca",
    ),
    "with an unknown critical extension": (
        lambda name: ROOT.issue(uris=[name], extra=[(UNKNOWN, True)]),
        "bad_certificate",
        "certificate",
    ),
    "with a NUL in a name": (
        lambda name: ROOT.issue(uris=[name], dns=["api.test\0.evil.test"]),
        "bad_name",
        "alert",
    ),
    "with two SPIFFE IDs": (
        lambda name: ROOT.issue(uris=[name, f"{name}-2"]),
        "bad_name",
        "alert",
    ),
    "with a malformed SPIFFE ID": (
        lambda name: ROOT.issue(uris=["spiffe://example.org/ns/../sa/web"]),
        "bad_name",
        "alert",
    ),
    "without any name": (lambda name: ROOT.issue(common_name=""), "bad_name", "alert"),
}
