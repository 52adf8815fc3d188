"""A peer's certificate as ``x-forwarded-client-cert``, the form Envoy gave it.

One element of ``;``-separated pairs, in Envoy's order. Whoever got a certificate
chose its names, so no name may look like another pair or another element.
"""

from __future__ import annotations

import re
from urllib.parse import quote

from meshfilters.stream import Certificate

_DELIMITERS = re.compile(r'[,;="\\\s]')
_LOOSE = re.compile(r'\\.|["\\]')
_VISIBLE = "".join(map(chr, range(0x20, 0x7F)))


def forwarded_client_cert(peer: Certificate, by: str | None = None) -> bytes:
    """The header's value; ``by`` is the identity of the proxy that says it."""
    pairs = [] if by is None else [f"By={_value(by)}"]
    pairs.append(f"Hash={peer.sha256}")
    pairs.append(f'Subject="{_subject(peer.subject)}"')
    pairs += [f"URI={_value(uri)}" for uri in peer.uris]
    pairs += [f"DNS={_value(name)}" for name in peer.dns]
    return visible_ascii(";".join(pairs))


def visible_ascii(text: str) -> bytes:
    """``text`` as a header's value: what is not visible ASCII is percent-encoded."""
    if text.isascii() and text.isprintable():
        return text.encode("ascii")
    return quote(text, safe=_VISIBLE).encode("ascii")


def _value(text: str) -> str:
    if not _DELIMITERS.search(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _subject(text: str) -> str:
    # RFC 4514 has escaped quotes and backslashes already; a second time would undo it.
    return _LOOSE.sub(lambda found: _kept_or_escaped(found[0]), text)


def _kept_or_escaped(found: str) -> str:
    return found if len(found) == 2 else "\\" + found
