"""What both ``tls`` filters share: their files, their counter, their words for failures.

OpenSSL is imported where a filter is built or its files are checked, not before: it
costs 20 MB, and a worker without TLS must not pay for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import trio
from attrs.validators import deep_iterable, matches_re

from meshfilters.counters import Counter
from meshfilters.env import Env
from meshfilters.stream import HandshakeBroken

if TYPE_CHECKING:
    from meshfilters.certificates import Material, Watched

T = TypeVar("T")


class _HasCertificate(Protocol):
    @property
    def certificate(self) -> Path | None: ...


HTTP = ("tulle/1", "h2", "http/1.1")
"""What is negotiated by default: HTTP/2 of two sidecars, HTTP/2, HTTP/1.1."""

PROTOCOLS = deep_iterable(matches_re(r"[!-~]{1,255}"))


def check_pair(settings: _HasCertificate, attribute: object, key: Path | None) -> None:
    if (settings.certificate is None) != (key is None):
        raise ValueError("certificate and key go together")


def handshakes(env: Env) -> Counter:
    """Handshakes by side and result."""
    return env.counter(
        "handshakes_total", "side", "result", help="TLS handshakes, by outcome."
    )


def result_of(error: Exception) -> str:
    """The label of a handshake that failed."""
    if isinstance(error, trio.TooSlowError):
        return "timeout"
    return error.result if isinstance(error, HandshakeBroken) else "closed"


def detail_of(error: Exception) -> str:
    """The words for a handshake that failed."""
    is_late = isinstance(error, trio.TooSlowError)
    return "handshake timeout" if is_late else str(error)


def check(*paths: Path | None) -> Iterator[str]:
    """Yield a sentence for each thing that is wrong with certificate, key and roots."""
    from meshfilters.certificates import Files

    return Files(*paths).problems(time.time())


def watch(
    env: Env,
    certificate: Path | None,
    key: Path | None,
    roots: Path | None,
    make: Callable[[Material], T],
) -> Watched[T]:
    """Load the files now, and again whenever they change while the filter lives."""
    from meshfilters.certificates import Files, Watched

    watched = Watched(Files(certificate, key, roots), make, env)
    env.start_soon(watched.run)
    return watched
