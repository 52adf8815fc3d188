"""The bench, running."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio.testing

from tests.proxy.upstream.bench import Bench, upstream


@pytest.fixture
def clock() -> trio.testing.MockClock:
    return trio.testing.MockClock(autojump_threshold=0)


@pytest.fixture
async def bench(clock: trio.testing.MockClock) -> AsyncIterator[Bench]:
    async with upstream() as bench:
        yield bench
