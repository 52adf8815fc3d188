"""The file that a command line without a file stands for."""

from __future__ import annotations

import attrs
import yaml

from proxy.config.address import Inet, parse_address


@attrs.frozen
class Scheme:
    """What the front of ``--to`` adds to the file."""

    listener: dict[str, object] = attrs.field(factory=dict)
    service: dict[str, object] = attrs.field(factory=dict)


SCHEMES = {
    "": Scheme(),
    "http": Scheme(service={"protocol": "http1"}),
    "h2c": Scheme(service={"protocol": "http2"}),
    "grpc": Scheme(service={"protocol": "grpc"}),
    # The name that is wanted is the endpoint's host; ALPN decides on the protocol.
    "https": Scheme(service={"dial": ["tls"]}),
    "tcp": Scheme(listener={"protocol": "opaque"}),
}
FORMS = ", ".join(f"{each}://" for each in SCHEMES if each)


def default_config(
    listen: str, to: str, admin: str | None = None, workers: int = 1
) -> str:
    """Return YAML: one listener with the default chain, one service.

    ``to`` is an address behind one of ``SCHEMES``, or a bare address, which is spoken to
    in the version of HTTP that the client speaks. Raises ValueError with what is wrong
    with ``to``.
    """
    scheme, address = _target(to)
    document: dict[str, object] = {"version": 1, "workers": workers}
    if admin is not None:
        document["admin"] = admin
    listener = {"address": listen, **scheme.listener, "to": "upstream"}
    document["listeners"] = {"proxy": listener}
    service = {"endpoints": [address], **scheme.service}
    document["services"] = {"upstream": service}
    return yaml.safe_dump(document, sort_keys=False)


def _target(to: str) -> tuple[Scheme, str]:
    name, separator, rest = to.rpartition("://")
    if name not in SCHEMES:
        raise ValueError(f"expected one of {FORMS}; not {name}://")
    address = rest.removesuffix("/") if separator else rest
    if "/" in address and not address.startswith("unix:"):
        raise ValueError("expected an address without a path: the request has its own")
    parsed = parse_address(address)
    if isinstance(parsed, Inet) and parsed.port == 0:
        raise ValueError("expected a port from 1 to 65535")
    if name == "https" and not (isinstance(parsed, Inet) and parsed.is_name):
        raise ValueError(
            "expected a host name, which the certificate must have; for another name "
            "there is a file with a dial filter: tls"
        )
    return SCHEMES[name], address
