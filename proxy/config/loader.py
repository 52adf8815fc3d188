"""The file's text into a Config, or everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import cast

import attrs

from meshfilters.api import Configured
from proxy.config.address import Unix, parse_address, parse_original
from proxy.config.check import Checks, check, check_destinations, check_files
from proxy.config.document import Document, Value
from proxy.config.filters import BrokenFilter, Registry, UnknownFilter
from proxy.config.inherit import inherit
from proxy.config.model import (
    HTTP,
    ByHost,
    ByOriginal,
    Config,
    Level,
    Listener,
    Placed,
    Protocol,
    Service,
)
from proxy.config.problems import ConfigErrors, Problem
from proxy.config.structure import Hook, Reader, expected

DEFAULT_REQUEST = {
    "inbound": ("metrics", "trace", "timeout"),
    "outbound": ("metrics", "trace", "timeout", "retry"),
}
"""The chain of a listener that names none, where there can be requests."""

CHAIN = "a list of filters"
FORMS = "host:port, [v6]:port or unix:/path"
TO = "a service's name, {by: host} or {by: original}"
ORIGINALS = "IP addresses with ports"


def load(path: Path) -> Config:
    """Read a file, and look into the files it names. Raises ConfigErrors."""
    return parse(read_text(path), path, looks_inside=True)


def read_text(path: Path) -> str:
    """The text of a configuration file. Raises ConfigErrors with one sentence."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        wanted = "no such file"
    except IsADirectoryError:
        wanted = "a directory: expected a YAML file"
    except UnicodeDecodeError:
        wanted = "not a text file: expected YAML in UTF-8"
    except OSError as error:
        wanted = f"cannot be read: {error.strerror}"
    raise ConfigErrors([Problem(str(path), 0, "", "", wanted)])


def parse(text: str, path: Path, *, looks_inside: bool = False) -> Config:
    """Read a file's text. ``path`` names it in problems, and its folder is where
    relative paths start. Raises ConfigErrors with every problem.

    ``looks_inside`` also has filters check what their files hold. Not for a worker: a
    certificate that has expired since must not keep it from coming back.
    """
    document = Document(text, str(path))
    config = _Loader(document, path.parent, looks_inside).config()
    if document.problems or config is None:
        raise ConfigErrors(sorted(document.problems, key=lambda each: each.line))
    return inherit(config)


class _Loader:
    """Reads the parts of the file that are not simply fields of their class."""

    def __init__(self, document: Document, base: Path, looks_inside: bool) -> None:
        self._document = document
        self._looks_inside = looks_inside
        self._base = base.absolute()
        self._registry = Registry()
        self._settings: list[tuple[Value, object]] = []
        """Filters' settings that were read in full, and where."""
        hooks = {
            (Config, "listeners"): Hook(self._listeners, "a map"),
            (Config, "services"): Hook(self._services, "a map"),
            (Config, "admin"): Hook(self._address, FORMS),
            (Listener, "address"): Hook(self._addresses, FORMS),
            (Listener, "to"): Hook(self._to, TO),
            (Listener, "protocol"): Hook(self._protocol, expected(Protocol)),
            (Listener, "connection"): Hook(partial(self._chain, "connection"), CHAIN),
            (Listener, "request"): Hook(partial(self._chain, "request"), CHAIN),
            (Service, "endpoints"): Hook(self._addresses, FORMS),
            (Service, "addresses"): Hook(self._originals, ORIGINALS),
            (Service, "dial"): Hook(partial(self._chain, "dial"), CHAIN),
        }
        self._reader = Reader(document, self._base, hooks)

    def config(self) -> Config | None:
        """The configuration; a draft where the document has problems."""
        if self._document.root is None:
            return None
        config = cast(Config, self._reader.make(Config, self._document.root))
        for path, wanted in check(config):
            self._document.complain_at(path, wanted)
        for value, settings in self._settings:
            for wanted in check_destinations(settings, config.services):
                self._document.complain(value, wanted)
        return config

    def _listeners(self, value: Value) -> object:
        return self._named(value, self._listener)

    def _services(self, value: Value) -> object:
        return self._named(value, partial(self._reader.make, Service))

    def _named(self, value: Value, read: Callable[..., object]) -> dict[str, object]:
        if not isinstance(value.content, dict):
            self._document.complain(value, "expected a map with a key for each name")
            return {}
        return {
            str(key): read(each, name=str(key)) for key, each in value.content.items()
        }

    def _listener(self, value: Value, name: str) -> object:
        if not isinstance(value.content, dict) or "request" in value.content:
            return self._reader.make(Listener, value, name=name)
        given = {key: each.content for key, each in value.content.items()}
        words = DEFAULT_REQUEST.get(str(given.get("direction", "outbound")), ())
        if str(given.get("protocol", "detect")) not in HTTP:
            words = ()
        chain = tuple(self._placed("request", word, None, value) for word in words)
        return self._reader.make(Listener, value, name=name, request=chain)

    def _address(self, value: Value) -> str | None:
        """An address; a relative path of a UNIX socket is made absolute."""
        if value.content is None:
            return None
        if not isinstance(value.content, str):
            self._document.complain(value, f"expected an address: {FORMS}")
            return None
        try:
            address = parse_address(value.content)
            if isinstance(address, Unix):
                absolute = f"unix:{self._base / address.path}"
                parse_address(absolute)
                return absolute
        except ValueError as error:
            self._document.complain(value, str(error))
            return None
        return value.content

    def _addresses(self, value: Value) -> tuple[str, ...] | None:
        """One address or several; None where all of them are wrong."""
        several = value.content if isinstance(value.content, list) else [value]
        read = [self._address(each) for each in several]
        addresses = tuple(each for each in read if each is not None)
        return addresses if addresses or not several else None

    def _originals(self, value: Value) -> tuple[str, ...]:
        several = value.content if isinstance(value.content, list) else [value]
        found = []
        for each in several:
            try:
                found.append(parse_original(str(each.content)))
            except ValueError as error:
                self._document.complain(each, str(error))
        return tuple(found)

    def _to(self, value: Value) -> str | ByHost | ByOriginal | None:
        match value.content:
            case str(name):
                return name
            case {"by": Value(content="host"), **rest} if not rest:
                return ByHost()
            case {"by": Value(content="original"), **rest} if not rest:
                return ByOriginal()
        self._document.complain(value, f"expected {TO}")
        return None

    def _protocol(self, value: Value) -> object:
        if value.content == "tcp":
            self._document.complain(value, "expected opaque, which tcp was renamed to")
            return None
        return self._reader.read(Protocol, value)

    def _chain(self, level: Level, value: Value) -> tuple[Placed, ...]:
        if not isinstance(value.content, list):
            self._document.complain(value, "expected a list of filters")
            return ()
        return tuple(filter(None, (self._item(level, each) for each in value.content)))

    def _item(self, level: Level, value: Value) -> Placed | None:
        content = value.content
        if isinstance(content, str):
            return self._placed(level, content, None, value)
        wanted = "expected a filter: a word, or a map with one key"
        if isinstance(content, dict) and len(content) == 1:
            [(word, settings)] = content.items()
            if isinstance(word, str):
                return self._placed(level, word, settings, value)
        elif isinstance(content, dict) and content:
            word = next(iter(content))
            wanted = f"{wanted}; indent the settings of {word} further than {word}"
        self._document.complain(value, wanted)
        return None

    def _placed(
        self, level: Level, word: str, given: Value | None, value: Value
    ) -> Placed:
        """The filter of that word. Its settings are a draft where it has problems."""
        before = len(self._document.problems)
        settings: Configured[object] | None = None
        name = word
        if given is None or given.content is None:
            given = attrs.evolve(given or value, content={})
        try:
            installed = self._registry.find(level, word, self._base)
            name = installed.word
            made = self._reader.make(installed.load(), given)
            settings = cast("Configured[object]", made)
        except UnknownFilter as error:
            self._document.complain(value, str(error))
        except BrokenFilter as error:
            self._document.complain(value, str(error), detail=error.detail, broken=True)
        if settings is not None:
            if len(self._document.problems) == before:
                self._settings.append((given, settings))
            for key, wanted in check_files(settings):
                self._document.complain_at((*given.path, *key), wanted)
            self._look_inside(given, settings, before)
        return Placed(name, cast("Configured[object]", settings))

    def _look_inside(self, given: Value, settings: object, before: int) -> None:
        """Have a filter that can check what its files hold, if nothing else is wrong."""
        is_sound = len(self._document.problems) == before
        if self._looks_inside and is_sound and isinstance(settings, Checks):
            for wanted in settings.check():
                self._document.complain(given, wanted)
