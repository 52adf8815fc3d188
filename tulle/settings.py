"""What a filter's class says of itself: its keys, their types, defaults and docs."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from itertools import pairwise
from typing import get_type_hints

import attrs

from proxy.config.document import written
from proxy.config.structure import default_of, expected, fields


@attrs.frozen
class Key:
    """One key that a filter's settings may have."""

    name: str
    """Keys of nested settings are dotted: ``budget.ratio``."""
    accepts: str
    default: str | None
    """None where the key must be given."""
    doc: str


def keys(cls: type, prefix: str = "") -> Iterator[Key]:
    """Yield the keys of an attrs class, those of nested classes behind their own."""
    hints = get_type_hints(cls)
    docs = _docs(cls)
    for name, field in fields(cls).items():
        hint = hints[field.name]
        if isinstance(hint, type) and attrs.has(hint):
            yield from keys(hint, f"{prefix}{name}.")
            continue
        default = default_of(field)
        yield Key(
            f"{prefix}{name}",
            expected(hint),
            None if default is attrs.NOTHING else _written(default),
            docs.get(field.name, ""),
        )


def rules(cls: type) -> Iterator[str]:
    """Yield what the class says of where it must stand."""
    for kind, sentence in (
        ("outside", "must be listed before {}: {}"),
        ("inside", "must be listed behind {}: {}"),
        ("requires", "needs {} in the chain: {}"),
    ):
        for other, reason in getattr(cls, kind, {}).items():
            yield sentence.format(other, reason)


def _written(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_written, value))}]"
    if isinstance(value, frozenset):
        return _written(sorted(value, key=str))
    if isinstance(value, dict):
        items = (f"{key}: {_written(each)}" for key, each in value.items())
        return f"{{{', '.join(items)}}}"
    return written(value)


def _docs(cls: type) -> dict[str, str]:
    """The strings below fields, which Python itself forgets."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    except (OSError, SyntaxError):  # made at run time, or shipped without source
        return {}
    body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
    found = {}
    for statement, behind in pairwise(body):
        match statement, behind:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(doc))),
            ):
                found[name] = inspect.cleandoc(doc)
    return found
