"""What must hold between the parts of a configuration, each part being right alone.

Runs over drafts too, so that one run tells everything: None stands there for what
could not be read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from os import R_OK, access
from pathlib import Path as File
from typing import Protocol, runtime_checkable

import attrs
from attrs import AttrsInstance

from meshfilters.order import check_order
from proxy.config.address import Inet, Unix, parse_address
from proxy.config.model import (
    ORIGINAL,
    ByHost,
    ByOriginal,
    Config,
    Listener,
    Placed,
    Service,
)
from proxy.config.problems import Path, nearest

Found = Iterator[tuple[Path, str]]


@runtime_checkable
class SendsOn(Protocol):
    """Settings of a request filter that changes where a request goes."""

    def destinations(self) -> Iterable[str]:
        """Name every service it may send to; each must be in the file."""
        ...


@runtime_checkable
class Checks(Protocol):
    """Settings whose files can be wrong inside: a key of another certificate, say."""

    def check(self) -> Iterable[str]:
        """Say what is wrong, a sentence each."""
        ...


def check(config: Config) -> Found:
    """Yield the path and the sentence of everything that does not go together."""
    yield from _top(config)
    yield from _addresses(config)
    for name, listener in config.listeners.items():
        path = ("listeners", name)
        yield from _named(path, name)
        yield from _listener(listener, config, path)
    yield from _originals(config)
    for name, service in config.services.items():
        path = ("services", name)
        yield from _named(path, name)
        yield from _endpoints(service, config, path)
        for place, each in enumerate(service.endpoints or ()):
            if _is_port_zero(each):
                yield (*path, "endpoints", place), "expected a port from 1 to 65535"
        yield from _ordered(path, {"dial": service.dial})


def check_files(settings: AttrsInstance) -> Found:
    """Yield the keys of one filter's settings whose file cannot be read."""
    for field in attrs.fields(type(settings)):
        file = getattr(settings, field.name)
        if isinstance(file, File):
            reason = _unreadable(file)
            if reason:
                yield (field.name,), f"{file} {reason}"


def _unreadable(file: File) -> str:
    try:
        if file.is_file():
            return "" if access(file, R_OK) else "cannot be read: permission denied"
        return "is not a file" if file.exists() else "does not exist"
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def check_destinations(settings: object, services: Iterable[str]) -> Iterator[str]:
    """Yield what is wrong with the services that one filter's settings name."""
    if isinstance(settings, SendsOn):
        for name in settings.destinations():
            if name not in services:
                yield _no_service(name, services)


def _top(config: Config) -> Found:
    if not config.listeners:
        yield ("listeners",), "expected at least one listener"
    if isinstance(config.workers, int) and not 1 <= config.workers <= 1024:
        yield ("workers",), 'expected a number from 1 to 1024, or "auto"'
    endpoint = config.tracing.endpoint
    if endpoint is not None and not endpoint.startswith(("http://", "https://")):
        yield ("tracing", "endpoint"), "expected a URL: http://host:port"


def _named(path: Path, name: str) -> Found:
    # Names become values of labels and parts of log lines.
    if not name.isprintable() or not name or any(each in name for each in ' "\\{}'):
        yield path, "expected a name without spaces, quotes and braces"


def _addresses(config: Config) -> Found:
    taken: dict[object, str] = {}
    if config.admin is not None:
        taken[parse_address(config.admin)] = "admin"
    for name, listener in config.listeners.items():
        for text in listener.address or ():
            address = parse_address(text)
            place = f"listeners.{name}"
            if _is_port_zero(text):  # another port each time
                continue
            if address in taken:
                wanted = f"{text} is the address of {taken[address]} already"
                yield ("listeners", name, "address"), wanted
            taken.setdefault(address, place)


def _endpoints(service: Service, config: Config, path: Path) -> Found:
    if service.name == ORIGINAL and any(
        map(_is_by_original, config.listeners.values())
    ):
        if service.endpoints:
            wanted = "are the original addresses themselves: expected []"
            yield (*path, "endpoints"), f"with to: {{by: original}} they {wanted}"
    elif service.endpoints == ():
        yield (*path, "endpoints"), "expected at least one endpoint"


def _originals(config: Config) -> Found:
    taken: dict[str, str] = {}
    for name, service in config.services.items():
        for place, address in enumerate(service.addresses):
            if address in taken:
                wanted = f"{address} is an address of {taken[address]} already"
                yield ("services", name, "addresses", place), wanted
            taken.setdefault(address, name)


def _is_by_original(listener: Listener) -> bool:
    return isinstance(listener.to, ByOriginal)


def _listener(listener: Listener, config: Config, path: Path) -> Found:
    if listener.address == ():
        yield (*path, "address"), "expected at least one address"
    if isinstance(listener.to, str):
        if listener.to in config.services:
            yield from _loop(listener, config.services[listener.to], path)
        else:
            yield (*path, "to"), _no_service(listener.to, config.services)
    elif isinstance(listener.to, ByOriginal):
        for service in config.services.values():
            if service.addresses:
                yield from _loop(listener, service, path)
        if any(
            isinstance(parse_address(each), Unix) for each in listener.address or ()
        ):
            yield (*path, "to"), "by: original needs ports: no rule redirects to a path"
    yield from _requestless(listener, path)
    chains = {"connection": listener.connection, "request": listener.request}
    yield from _ordered(path, chains)


def _requestless(listener: Listener, path: Path) -> Found:
    """What only goes with requests, on a listener that can have none."""
    if listener.protocol not in ("tls", "opaque"):  # nor a draft without any
        return
    some = "needs protocol detect, http1, http2 or grpc"
    if listener.to == ByHost():
        yield (*path, "to"), f"by: host {some}: other connections name no host"
    if listener.request:
        yield (*path, "request"), f"request filters {some.replace('needs', 'need')}"
    if listener.protocol == "tls" and any(map(_ends_tls, listener.connection)):
        yield (
            (*path, "protocol"),
            "protocol tls passes TLS through, and the filter tls ends it: "
            "expected one of them",
        )


def _ends_tls(placed: Placed) -> bool:
    return placed.name == "tls" and getattr(placed.settings, "mode", "") in (
        "required",
        "optional",
    )


def _is_port_zero(text: str) -> bool:
    address = parse_address(text)
    return isinstance(address, Inet) and address.port == 0


def _loop(listener: Listener, service: Service, path: Path) -> Found:
    for address in listener.address or ():
        if address in (service.endpoints or ()):
            yield (*path, "to"), f"{service.name} is at {address}, this listener itself"


def _ordered(path: Path, chains: dict[str, tuple[Placed, ...]]) -> Found:
    levels = {
        level: [(each.name, each.settings) for each in placed]
        for level, placed in chains.items()
    }
    for level, place, sentence in check_order(levels):
        yield (*path, level, place), sentence


def _no_service(name: str, services: Iterable[str]) -> str:
    services = list(services)
    near = nearest(name, services)
    known = f"; the services are {', '.join(services)}" if services else ""
    return f"no service is named {name}{near or known}"
