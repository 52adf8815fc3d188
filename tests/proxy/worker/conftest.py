"""A builder without a worker."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from random import Random

import pytest
import trio

from meshfilters.counters import Metrics
from proxy.chain.filters import Filters
from proxy.chain.pipeline import Blame, Tallies
from proxy.chain.side_tasks import SideTasks
from proxy.transport.deadlines import Deadlines
from proxy.transport.descriptors import nothing_unused
from proxy.transport.readiness import Readiness
from proxy.upstream.loops import Own
from proxy.worker.build import Builder


@pytest.fixture
async def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
async def builder(nursery: trio.Nursery, metrics: Metrics) -> AsyncIterator[Builder]:
    blame, random, readiness = Blame(metrics), Random(1), Readiness()
    filters = Filters(metrics, Tallies(), blame, random, lambda _: None, 1)
    filters.start(nursery)
    yield Builder(
        filters,
        metrics,
        blame,
        readiness,
        Deadlines(time.monotonic),
        SideTasks(nursery, blame),
        random,
        Own(),
        nothing_unused,
    )
    readiness.close()
