"""``split``: the requests for one service shared out over several, by weight."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterable
from itertools import accumulate

import attrs
from attrs.validators import and_, deep_mapping, ge, instance_of, min_len

from meshfilters.api import RequestFilter, Service
from meshfilters.env import Env
from meshfilters.message import Request, Response


@attrs.frozen
class Split:
    """Send each request to one of several services, drawn by weight.

    Listed behind ``retry``, every try draws anew, so that a retry may leave a service
    that fails; listed before it, all tries of a request go to the same one.
    """

    weights: dict[str, int] = attrs.field(
        validator=and_(
            min_len(1),
            deep_mapping(instance_of(str), and_(instance_of(int), ge(0))),
        )
    )
    """Each service's share; one of weight 0 is never chosen."""
    of: str | None = None
    """Split only what asks for this service; None splits everything."""

    @weights.validator
    def _some_weight(self, attribute: object, value: dict[str, int]) -> None:
        if not any(value.values()):
            raise ValueError("at least one weight must be above 0")

    def destinations(self) -> Iterable[str]:
        """Name the services that the file must have."""
        return [*self.weights, *([self.of] if self.of else [])]

    def build(self, env: Env) -> RequestFilter:
        names = list(self.weights)
        # Of equal edges bisect takes the last: a weight of 0 has no room before it.
        edges = list(accumulate(self.weights.values()))
        total = edges[-1]
        draw = env.random.random
        of = self.of
        chosen = env.counter(
            "chosen_total", "of", "dst", help="Requests by the service drawn for them."
        )

        async def split(
            request: Request, inner: Service[Request, Response], /
        ) -> Response:
            asked = request.destination
            if of is not None and asked != of:
                return await inner(request)
            name = names[bisect(edges, draw() * total)]
            chosen.add((asked, name))
            return await inner(request.with_(destination=name))

        return split
