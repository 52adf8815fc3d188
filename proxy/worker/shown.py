"""What a worker tells of itself: ``/stats`` and ``/chain``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from proxy.chain.pipeline import Running
from proxy.config.model import ByHost, ByOriginal
from proxy.worker.build import Built, Dialling, Port


def statistics(built: Built) -> dict[str, object]:
    """For ``/stats``: listeners and services."""
    return {
        "listeners": {
            name: [each.statistics() for each in port.sockets]
            for name, port in built.ports.items()
        },
        "http": {
            name: repr(port.http)
            for name, port in built.ports.items()
            if port.http is not None
        },
        "services": {
            name: each.service.statistics() for name, each in built.services.items()
        },
    }


def chains(built: Built) -> dict[str, object]:
    """For ``/chain``: what each listener's traffic passes, in order."""
    return {name: _chain(port, built.services) for name, port in built.ports.items()}


def _chain(port: Port, services: Mapping[str, Dialling]) -> dict[str, object]:
    settings = port.settings
    requests = port.http.pipeline.filters if port.http is not None else ()
    return {
        "address": list(settings.address),
        "direction": settings.direction,
        "protocol": settings.protocol,
        "to": _to(settings.to),
        "connection": [_filter(each) for each in port.connections.filters],
        "request": [_filter(each) for each in requests],
        "dial": {
            name: [_filter(each) for each in dialling.pipeline.filters]
            for name, dialling in services.items()
            if dialling.pipeline.filters
        },
    }


def _filter(running: Running[Any, Any]) -> dict[str, str]:
    return {"filter": running.name, "settings": repr(running.placed.settings)}


def _to(to: str | ByHost | ByOriginal) -> str:
    if isinstance(to, str):
        return to
    return "by host" if isinstance(to, ByHost) else "by original"
