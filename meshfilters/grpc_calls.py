"""gRPC calls counted by service and method, under the names of gRPC's own libraries.

``grpc_server_…`` inbound and ``grpc_client_…`` outbound, as go-grpc-prometheus has
them. Methods are those the file lists: a client can ask for any, and must not choose
labels.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import attrs

from meshfilters.env import Env
from meshfilters.exchange import Outcome
from meshfilters.grpc import NAMES, ended_with
from meshfilters.message import Request

OTHER = "other"
"""For what is not listed (gRPC's proposal A66)."""

_SERVICE = re.compile(r"([A-Za-z_]\w*\.)*[A-Za-z_]\w*", re.ASCII)
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_BY_CODE = tuple(
    {"ok": "OK", "cancelled": "Canceled"}.get(name, name.title().replace("-", ""))
    for name in NAMES
)
"""Statuses as Go writes them, and so dashboards."""

Methods = Mapping[str, frozenset[str]]


class Calls:
    """The series of one chain's gRPC calls."""

    def __init__(self, env: Env, methods: Methods) -> None:
        side = "server" if env.direction == "inbound" else "client"
        what = ("dst", "grpc_service", "grpc_method")
        self._methods = {
            f"/{service}/{method}".encode(): (service, method)
            for service, methods_of_it in methods.items()
            for method in methods_of_it
        }
        self._services = {service.encode(): service for service in methods}
        self._started = env.counter(
            f"grpc_{side}_started_total", *what, help="gRPC calls begun.", bare=True
        )
        self._handled = env.counter(
            f"grpc_{side}_handled_total",
            *(*what, "grpc_code"),
            help="gRPC calls by the status they ended with.",
            bare=True,
        )
        self._seconds = env.histogram(
            f"grpc_{side}_handling_seconds",
            *what,
            help="From a call's head to the last byte of its response.",
            bare=True,
        )

    def watch(self, request: Request) -> None:
        """Count a call that begins, and have its end counted."""
        key = (request.destination, *self._named(request.target))

        def record(outcome: Outcome) -> None:
            self._handled.add((*key, _BY_CODE[ended_with(outcome)]))
            self._seconds.observe(key, outcome.seconds)

        self._started.add(key)
        request.exchange.on_end(record)

    def _named(self, target: bytes) -> tuple[str, str]:
        listed = self._methods.get(target)
        if listed is not None:
            return listed
        service = target[1:].rpartition(b"/")[0]
        return self._services.get(service, OTHER), OTHER


def check_methods(
    instance: object, attribute: attrs.Attribute[Methods], methods: Methods
) -> None:
    """Refuse names that no service or method can have."""
    for service, methods_of_it in methods.items():
        if not _SERVICE.fullmatch(service):
            raise ValueError(
                f"{service!r} is no gRPC service: write package.Service, as in its .proto"
            )
        for method in sorted(methods_of_it):
            if not _NAME.fullmatch(method):
                raise ValueError(f"{method!r} is no method's name in {service}")
