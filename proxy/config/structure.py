"""Values of the file into values of types, strictly, telling everything that is wrong.

The types of an attrs class's fields say what the file may hold: nothing is
converted but whole numbers where any number will do. Every field is read and every
validator runs on its own, so that three bad fields make three problems.

A class with a problem is still returned, as a *draft*: what could not be read is
None there. That way one mistake does not hide others or cause more of them.
"""

from __future__ import annotations

import collections.abc
import types
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import attrs

from proxy.config.document import Document, Value, written
from proxy.config.problems import Problem, dotted, nearest

NAMES: Mapping[object, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    type(None): "null",
    Path: "a path",
}
_LISTS: Mapping[object, Callable[[list[object]], object]] = {
    list: list,
    tuple: tuple,
    frozenset: frozenset,
    collections.abc.Sequence: tuple,
}
_MAPS = (dict, collections.abc.Mapping)


@attrs.frozen
class Hook:
    """How a field is read that the file writes otherwise than the model has it."""

    read: Callable[[Value], object]
    expected: str


FACTORY: type[Any] = type(attrs.Factory(list))
"""The class behind ``attrs.Factory``, which attrs types as a function."""

Hooks = Mapping[tuple[type, str], Hook]


def expected(hint: object) -> str:
    """Say in words what a type accepts."""
    origin, options = get_origin(hint), get_args(hint)
    if origin is Literal:
        return " or ".join(map(written, options))
    if origin in (Union, types.UnionType):
        return " or ".join(map(expected, options))
    if origin in _LISTS:
        return f"a list, each item {expected(options[0])}"
    if origin in _MAPS:
        return f"a map, each value {expected(options[1])}"
    if isinstance(hint, type) and attrs.has(hint):
        return "a map"
    return NAMES.get(hint, f"{hint}, which a file cannot hold")


def fields(cls: type) -> dict[str, attrs.Attribute[object]]:
    """The keys that a class has in the file, with the types behind them resolved."""
    attributes: tuple[attrs.Attribute[object], ...] = attrs.fields(cls)
    return {each.alias or each.name: each for each in attributes if each.init}


def default_of(field: attrs.Attribute[object]) -> object:
    """The value of a key that is not given; NOTHING where it must be."""
    default = field.default
    if isinstance(default, FACTORY):
        return None if default.takes_self else default.factory()
    return default


class Reader:
    """Reads values of one document; what is wrong goes to the document."""

    def __init__(self, document: Document, base: Path, hooks: Hooks) -> None:
        self._document = document
        self._base = base
        self._hooks = hooks

    def read(self, hint: object, value: Value) -> object:
        """Return what ``value`` is as ``hint``; None, and a problem, where it is not."""
        origin, options = get_origin(hint), get_args(hint)
        content = value.content
        if origin in (Union, types.UnionType):
            return self._union(hint, value)
        if origin in _LISTS and isinstance(content, list):
            return _LISTS[origin]([self.read(options[0], each) for each in content])
        if origin in _MAPS and isinstance(content, dict):
            return self._map(options[0], options[1], value)
        if isinstance(hint, type) and attrs.has(hint):
            return self.make(hint, value)
        if hint is Path and isinstance(content, str):
            return self._base / content
        if hint is float and type(content) is int:
            return float(content)
        # By type as well: 1 == True, and True is an int.
        if origin is Literal and (type(content), content) in _typed(options):
            return content
        if type(content) is hint:
            return content
        quotes = "; put it in quotes" if hint is str and _is_plain(content) else ""
        self._document.complain(value, f"expected {expected(hint)}{quotes}")
        return None

    def make(self, cls: type, value: Value, **preset: object) -> object:
        """Return a ``cls``; ``preset`` fields are ours and no keys of the file."""
        content = value.content
        if not isinstance(content, dict):
            self._document.complain(value, "expected a map")
            return _draft(cls, preset)
        try:
            hints = get_type_hints(cls)
        except Exception as error:  # a filter's own code
            wanted = f"the types of {cls.__qualname__} cannot be read: {error}"
            self._document.complain(value, wanted, broken=True)
            return _draft(cls, preset)
        before = len(self._document.problems)
        known = {key: each for key, each in fields(cls).items() if key not in preset}
        made = dict(preset)
        sound: dict[str, Value] = {}
        for key, each in content.items():
            if key not in known:
                # A preset that the file may have all the same is read by a hook.
                keys = [
                    one
                    for one in fields(cls)
                    if one in known or (cls, one) in self._hooks
                ]
                self._document.complain(each, _unknown(key, keys))
                continue
            so_far = len(self._document.problems)
            hook = self._hooks.get((cls, key))
            read = hook.read(each) if hook else self.read(hints[known[key].name], each)
            if len(self._document.problems) == so_far:
                sound[key] = each
            # Of a value that does not fit nothing is left; of a map or list, the rest.
            if key in sound or read is not None:
                made[key] = read
        for key, field in known.items():
            if key not in content and field.default is attrs.NOTHING:
                hook = self._hooks.get((cls, key))
                what = hook.expected if hook else expected(hints[field.name])
                self._document.complain_at(
                    (*value.path, key), f"the key is missing: expected {what}"
                )
        draft = _draft(cls, made)
        for key, each in sound.items():
            self._validate(draft, known[key], made[key], each)
        if len(self._document.problems) > before:
            return draft
        try:
            return cls(**made)
        except Exception as error:  # a filter's own code
            self._document.complain(value, str(error) or repr(error))
            return draft

    def _validate(
        self, draft: object, field: attrs.Attribute[object], made: object, value: Value
    ) -> None:
        if field.validator is None:
            return
        try:
            field.validator(draft, field, made)
        except ValueError as error:
            text = str(error.args[0] if error.args else error)
            # attrs names the field and repeats the value; the problem has both.
            text = text.removeprefix(f"'{field.name}' ").removesuffix(f": {made!r}")
            text = text.removesuffix(f" (got {made!r})")
            self._document.complain(value, text)
        except (
            Exception
        ) as error:  # a filter's own code, perhaps over a None of a draft
            self._document.complain(value, repr(error))

    def _union(self, hint: object, value: Value) -> object:
        problems = self._document.problems
        before = len(problems)
        nested: list[Problem] = []
        for option in get_args(hint):
            made = self.read(option, value)
            if len(problems) == before:
                return made
            tried = problems[before:]
            del problems[before:]
            # What is wrong inside says more than "expected a list or a word".
            if not nested and any(each.path != dotted(value.path) for each in tried):
                nested = tried
        problems += nested
        if not nested:
            self._document.complain(value, f"expected {expected(hint)}")
        return None

    def _map(self, key_hint: object, hint: object, value: Value) -> object:
        assert isinstance(value.content, dict)
        made = {}
        for key, each in value.content.items():
            if type(key) is not key_hint:
                self._document.complain(
                    each, f"the key {written(key)}: expected {expected(key_hint)}"
                )
            made[key] = self.read(hint, each)
        return made


def _draft(cls: type, made: Mapping[str, object]) -> object:
    draft: object = object.__new__(cls)
    for key, field in fields(cls).items():
        default = default_of(field)
        if default is attrs.NOTHING:
            default = None
        object.__setattr__(draft, field.name, made.get(key, default))
    return draft


def _unknown(key: object, known: Collection[str]) -> str:
    near = nearest(str(key), known)
    keys = f"the keys here are {', '.join(known)}" if known else "there are none here"
    return f"unknown key{near or '; ' + keys}"


def _typed(options: tuple[object, ...]) -> list[tuple[type, object]]:
    return [(type(each), each) for each in options]


def _is_plain(content: object) -> bool:
    return content is not None and not isinstance(content, (str, list, dict))
