"""What a proxy tells the application of a client, from its connection alone."""

from __future__ import annotations

from meshfilters.client_cert import forwarded_client_cert, visible_ascii
from meshfilters.exchange import Connection

FOR, PROTO = b"x-forwarded-for", b"x-forwarded-proto"
REMEMBERED = 1024

Fields = list[tuple[bytes, bytes]]


class Told:
    """The fields that tell of a client, made once for each connection it has.

    ``by`` is this proxy's own identity, ``names`` which of FOR and PROTO to tell.
    """

    def __init__(self, by: str | None, names: list[bytes]) -> None:
        self._by = by
        self._names = names
        self._known: dict[tuple[str, str | None], Fields] = {}

    def about(self, connection: Connection) -> Fields:
        """The fields to add. To be read, not edited."""
        tls = connection.tls
        proven = None if tls is None else tls.peer.sha256 if tls.peer else ""
        key = (connection.client, proven)
        fields = self._known.get(key)
        if fields is None:
            if len(self._known) == REMEMBERED:
                self._known.clear()
            fields = self._known[key] = self._make(connection)
        return fields

    def _make(self, connection: Connection) -> Fields:
        fields: Fields = []
        peer = connection.tls.peer if connection.tls is not None else None
        if peer is not None:
            fields = [
                (b"l5d-client-id", visible_ascii(peer.identity)),
                (b"x-forwarded-client-cert", forwarded_client_cert(peer, self._by)),
            ]
        for name in self._names:
            fields += [(name, value) for value in forwarded(name, connection)]
        return fields


def forwarded(name: bytes, connection: Connection) -> list[bytes]:
    """What this connection says for ``x-forwarded-for`` or ``-proto``, if anything."""
    if name == PROTO:
        return [b"http" if connection.tls is None else b"https"]
    address = connection.client.rpartition(":")[0].strip("[]")
    return [address.encode()] if address else []
