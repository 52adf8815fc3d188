"""YAML text as a tree of values that know their line and their path.

Composed, not constructed: PyYAML's constructor forgets lines and lets the last of
two equal keys win. What YAML 1.1 reads as dates or sexagesimals is text here.
"""

from __future__ import annotations

import json

import attrs
import yaml
from yaml.constructor import SafeConstructor
from yaml.events import CollectionEndEvent, CollectionStartEvent
from yaml.nodes import Node, ScalarNode, SequenceNode

from proxy.config.problems import Path, Problem, dotted

MAX_DEPTH = 50
TOO_DEEP = f"nested too deeply: expected at most {MAX_DEPTH} levels"
MAX_VALUES = 200_000
"""Aliases can stand for more values than memory holds ("a billion laughs")."""
LARGEST = 2**63 - 1
"""Of numbers: larger ones are more than a float may hold, or Python may print, and a
time that long is infinite once it is counted in nanoseconds."""

# libyaml's parser takes a tenth of the time, which a worker spends on its loop.
_Loader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_PLAIN = {_TAG + each for each in ("int", "float", "bool", "null")}


@attrs.frozen
class Value:
    """A value of the file."""

    path: Path
    line: int
    """Where its key stands, or the value itself where it has none."""
    content: object
    """str, int, float, bool, None, list[Value] or dict[object, Value]."""

    def __str__(self) -> str:
        if isinstance(self.content, dict):
            return "a map" if self.content else "an empty map"
        if isinstance(self.content, list):
            return "a list" if self.content else "an empty list"
        return written(self.content)


def written(scalar: object) -> str:
    """Write a scalar nearly as a file would have it, cut to a readable length."""
    if isinstance(scalar, str):
        text = json.dumps(scalar, ensure_ascii=False)
        return text if len(text) <= 80 else f'{text[:76]}…"'
    if scalar is None:
        return "null"
    return str(scalar).lower() if isinstance(scalar, bool) else str(scalar)


def _is_deep(text: str) -> bool:
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                return True
        elif isinstance(event, CollectionEndEvent):
            depth -= 1
    return False


class Document:
    """A file's values by path, and the problems found in them so far."""

    def __init__(self, text: str, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self.values: dict[Path, Value] = {}
        self.root: Value | None = None
        try:
            # Composing recurses, in libyaml until the stack is gone; parsing does not.
            if _is_deep(text):
                self._add(0, (), "", TOO_DEEP)
                return
            node = yaml.compose(text, Loader=_Loader)
        except yaml.YAMLError as error:
            self._unreadable(error)
            return
        if node is None:
            self._add(0, (), "", "the file is empty: expected listeners and services")
            return
        self.root = self._value(node, (), 1, frozenset())

    def complain(
        self, value: Value, wanted: str, *, detail: str = "", broken: bool = False
    ) -> None:
        """Record that ``value`` is not what is ``wanted``."""
        self._add(value.line, value.path, str(value), wanted, detail, broken)

    def complain_at(self, path: Path, wanted: str) -> None:
        """Record a problem at ``path``, or at what is nearest above it in the file."""
        value = self.values.get(path)
        above = path
        while above and above not in self.values:
            above = above[:-1]
        line = self.values[above].line if above in self.values else 0
        self._add(line, path, str(value) if value else "", wanted)

    def _add(
        self,
        line: int,
        path: Path,
        found: str,
        wanted: str,
        detail: str = "",
        broken: bool = False,
    ) -> None:
        self.problems.append(
            Problem(self.file, line, dotted(path), found, wanted, detail, broken)
        )

    def _unreadable(self, error: yaml.YAMLError) -> None:
        mark = getattr(error, "problem_mark", None)
        reason = getattr(error, "problem", None) or str(error).splitlines()[0]
        if (
            "nesting depth" in reason
        ):  # newer versions of libyaml have a bound of their own
            self._add(0, (), "", TOO_DEEP)
            return
        self._add(mark.line + 1 if mark else 0, (), "", f"not YAML: {reason}")

    def _value(
        self, node: Node, path: Path, line: int, around: frozenset[int]
    ) -> Value:
        content: object = None
        if len(path) > MAX_DEPTH:
            self._add(line, path[:1], "", TOO_DEEP)
        elif id(node) in around:
            self._add(line, path, "", "an alias of what it stands in")
        elif len(self.values) >= MAX_VALUES:
            if len(self.values) == MAX_VALUES:
                self._add(line, path, "", f"more than {MAX_VALUES} values")
        elif isinstance(node, ScalarNode):
            content = self._scalar(node)
        elif isinstance(node, SequenceNode):
            content = [
                self._value(
                    each,
                    (*path, index),
                    each.start_mark.line + 1,
                    around | {id(node)},
                )
                for index, each in enumerate(node.value)
            ]
        else:
            content = self._map(node, path, around | {id(node)})
        value = Value(path, line, content)
        self.values[path] = value
        return value

    def _map(
        self, node: Node, path: Path, around: frozenset[int]
    ) -> dict[object, Value]:
        found: dict[object, Value] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, ScalarNode):
                self._add(line, path, "", "a key must be a word")
                continue
            key = self._scalar(key_node)
            if key_node.tag == _TAG + "merge":
                self._add(
                    line, path, '"<<"', "merge keys are not read: write the keys out"
                )
            elif key in found:
                again = f"the key stands twice, first on line {found[key].line}"
                self._add(line, (*path, key_node.value), "", again)
            else:
                found[key] = self._value(
                    value_node, (*path, key_node.value), line, around
                )
        return found

    def _scalar(self, node: ScalarNode) -> object:
        if node.tag not in _PLAIN or ":" in node.value:
            return node.value
        try:
            scalar: object = SafeConstructor().construct_object(node)
        except (KeyError, ValueError):  # "!!int ten"
            return node.value
        # No field of any configuration means infinity or no number at all.
        if isinstance(scalar, (int, float)) and not abs(scalar) <= LARGEST:
            return node.value
        return scalar
