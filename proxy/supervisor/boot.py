"""What a forked child does first and last: logs, faults, exit codes.

2: the configuration is wrong. 3: it could not boot. 1: a bug, with its traceback.
"""

from __future__ import annotations

import faulthandler
import gc
import logging
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import trio

from meshfilters.counters import Metrics
from meshfilters.errors import ConfigError
from proxy import logs
from proxy.agent.admin_port import serve_admin
from proxy.agent.agent import Agent
from proxy.agent.spans import SpanSender
from proxy.agent.totals import Totals
from proxy.config.model import Config, Tracing
from proxy.ipc.channel import TrioChannel
from proxy.worker.process import Export, WorkerProcess
from proxy.worker.worker import Worker

WRONG_CONFIGURATION = 2
CANNOT_BOOT = 3
BUG = 1

LAST_LINES = 1.0
"""Seconds that the last log lines may take."""

Main = Callable[[logs.Queued], Awaitable[None]]


YOUNG = 10_000
"""Objects made since the last look for cycles. Requests make none, so Python's 700 would
look at each of them for nothing: 3 % of a worker's time."""

LARGE = 1024 * 1024
"""Bytes up to which freed memory is kept for what comes next. The C library returns what
is larger than 128 KiB to the system at once, and each read of a body's next part then has
the kernel find and clear its pages anew."""


def run_worker(
    name: str,
    end: socket.socket,
    config: Config,
    path: Path,
    sockets: Mapping[str, Sequence[socket.socket]],
    workers: int,
) -> int:
    """Be a worker until told otherwise; the exit code."""

    async def main(handler: logs.Queued) -> None:
        def adjust(config: Config) -> None:
            logs.adjust(config.log, name, handler)

        def make(
            config: Config, metrics: Metrics, export: Export, workers: int
        ) -> Worker:
            return Worker(config, metrics=metrics, export=export, workers=workers)

        gc.set_threshold(YOUNG)
        keep_freed()
        process = WorkerProcess(TrioChannel(end), path, make, adjust)
        await process.run(config, sockets, workers)

    return run(name, config, main)


def keep_freed() -> None:
    """Have freed memory kept, up to ``LARGE`` (glibc; elsewhere nothing happens).

    glibc raises its bounds to the largest block that it has seen freed (mallopt(3)). This
    one is never written to, so it takes no memory itself.
    """
    bytes(LARGE)


def run_agent(
    number: int,
    end: socket.socket,
    config: Config,
    sockets: Sequence[socket.socket],
    totals: tuple[int, int],
) -> int:
    """Be the agent until told otherwise; the exit code."""

    async def main(handler: logs.Queued) -> None:
        metrics = Metrics()
        agent = Agent(
            *(number, config, TrioChannel(end), Totals(totals)),
            *(serve_admin, _sender(config.tracing, metrics), metrics),
        )
        await agent.run(sockets)

    return run("agent", config, main)


def _sender(tracing: Tracing, metrics: Metrics) -> SpanSender | None:
    if tracing.endpoint is None:
        return None
    dropped = metrics.counter(
        "tulle_spans_dropped_total", "Spans given up, by where.", ("where",)
    )
    # Made here: the thread that adds to it must not make it while others look.
    dropped.series(("collector",))
    drop, fail = (partial(dropped.add, (where,)) for where in ("agent", "collector"))
    return SpanSender(tracing, drop=drop, fail=fail)


def run(name: str, config: Config, main: Main) -> int:
    """Run ``main`` with logs of its own; how it ended as an exit code."""
    faulthandler.enable(logs.STDERR)
    handler = logs.configure(config.log, name, queued=True)
    assert handler is not None
    try:
        trio.run(partial(main, handler))
    except Exception as error:
        return _explained(name, error)
    finally:
        handler.finish(LAST_LINES)
    return 0


def _explained(name: str, error: Exception) -> int:
    log = logging.getLogger(f"tulle.{name.partition('-')[0]}")
    causes = list(leaves(error))
    wrong = [each for each in causes if isinstance(each, ConfigError)]
    if wrong:
        for each in wrong:
            for line in str(each).splitlines():
                log.error("%s", line)
        return WRONG_CONFIGURATION
    if all(isinstance(each, trio.BrokenResourceError) for each in causes):
        # The supervisor has gone; there is nobody to serve for.
        return BUG
    if all(isinstance(each, OSError) for each in causes):
        log.error("cannot start: %s", causes[0])
        return CANNOT_BOOT
    log.error("this is a bug in Tulle", exc_info=error)
    return BUG


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors in a group of groups."""
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from leaves(each)
    else:
        yield error
