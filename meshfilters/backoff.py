"""How long to wait before another try: drawn by chance, or as the server asks."""

from __future__ import annotations

from random import Random

import attrs
from attrs.validators import gt

from meshfilters.message import Headers


@attrs.frozen
class BackOff:
    """Wait anything between 0 and a span that doubles with each retry (full jitter)."""

    base: float = attrs.field(default=0.025, validator=gt(0.0))
    """Seconds the first retry waits at most (Linkerd: 25 ms)."""
    max: float = attrs.field(default=0.25, validator=gt(0.0))
    """Seconds any retry waits at most (Linkerd: 250 ms)."""

    def draw(self, random: Random, retry: int) -> float:
        """Seconds before the ``retry``-th retry; the first is 1."""
        return random.random() * min(self.max, self.base * 2.0 ** (retry - 1))


def retry_after(headers: Headers, now: float) -> float:
    """Seconds that ``Retry-After`` asks for; 0 without it and where it makes no sense.

    ``now`` is seconds since 1970, for the form that is a date (RFC 9110, 10.2.3).
    """
    written = headers.index.get(b"retry-after")
    if written is None:
        return 0.0
    value = written.strip()
    if value.isdigit():
        return float(value)
    # Dates are rare, and no worker has email without one: half a megabyte.
    from email.utils import parsedate_to_datetime

    try:
        date = parsedate_to_datetime(value.decode("latin-1"))
        return max(0.0, date.timestamp() - now)
    except (ValueError, OverflowError):
        return 0.0
