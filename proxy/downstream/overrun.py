"""Which limit of an exchange has run out, and when to look again."""

from __future__ import annotations

import attrs

from meshfilters.errors import BadRequest, ClientGone, DeadlineExceeded, MeshError
from meshfilters.exchange import Exchange


@attrs.frozen
class Quiet:
    """How long no byte of an exchange has moved, and who is waited for meanwhile."""

    seconds: float
    is_client_sending: bool
    """Its request's body is waited for."""
    is_client_taking: bool
    """It is to take what it is being sent."""


def next_look(exchange: Exchange, touched: float, now: float, patience: float) -> float:
    """When a limit may next have run out; ``touched`` is when a byte last moved."""
    limits = exchange.limits
    # A quiet longer than the patience is not the client's.
    stalls = touched + patience
    return min(
        exchange.started + limits.request,
        touched + limits.idle,
        stalls if stalls > now else now + patience,
    )


def overrun(
    exchange: Exchange, quiet: Quiet, now: float, patience: float
) -> MeshError | None:
    """The answer that the limit which has run out deserves; None if none has.

    ``patience`` is for the client alone: a slow upstream is the ``idle`` limit's.
    """
    limits = exchange.limits
    if now >= exchange.started + limits.request:
        return DeadlineExceeded(f"request took over {limits.request:g} s")
    if quiet.is_client_sending:
        if quiet.seconds >= min(limits.idle, patience):
            return BadRequest("the request's body stopped coming", status=408)
    elif quiet.is_client_taking and quiet.seconds >= patience:
        return ClientGone("took no byte of the response")
    if quiet.seconds >= limits.idle:
        return DeadlineExceeded(f"no byte moved for {limits.idle:g} s")
    return None
