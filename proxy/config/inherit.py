"""Settings that a filter takes from elsewhere in the file when it has none itself."""

from __future__ import annotations

import attrs

from meshfilters.trace import Trace
from proxy.config.model import Config, Listener, Placed


def inherit(config: Config) -> Config:
    """The configuration with ``tracing.ratio`` in every ``trace`` that names no ratio.

    Done here and not in the worker, so that another ratio makes other settings, and
    thereby another running filter.
    """
    ratio = config.tracing.ratio
    listeners = {
        name: _with_ratio(listener, ratio)
        for name, listener in config.listeners.items()
    }
    return attrs.evolve(config, listeners=listeners)


def _with_ratio(listener: Listener, ratio: float) -> Listener:
    return attrs.evolve(
        listener, request=tuple(_placed(each, ratio) for each in listener.request)
    )


def _placed(placed: Placed, ratio: float) -> Placed:
    settings = placed.settings
    if isinstance(settings, Trace) and settings.ratio is None:
        return Placed(placed.name, attrs.evolve(settings, ratio=ratio))
    return placed
