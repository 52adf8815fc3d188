from __future__ import annotations

from typing import ClassVar

import attrs
import pytest

from tulle.settings import Key, keys, rules


@attrs.frozen
class Inner:
    ratio: float = 0.2
    """How many."""


@attrs.frozen
class Outer:
    outside: ClassVar[dict[str, str]] = {"retry": "once"}
    inside: ClassVar[dict[str, str]] = {"metrics": "counted"}
    requires: ClassVar[dict[str, str]] = {"tls": "names"}

    weights: dict[str, int]
    """Each one's
    share."""
    name: str | None = None
    inner: Inner = Inner()
    """Not told: its keys are."""
    words: tuple[str, ...] = ("a", "b")
    numbers: frozenset[int] = frozenset({3, 1})
    shares: dict[str, int] = attrs.field(factory=lambda: {"a": 1})


def test_every_key_is_told_with_type_default_and_doc() -> None:
    assert list(keys(Outer)) == [
        Key("weights", "a map, each value a whole number", None, "Each one's\nshare."),
        Key("name", "text or null", "null", ""),
        Key("inner.ratio", "a number", "0.2", "How many."),
        Key("words", "a list, each item text", '["a", "b"]', ""),
        Key("numbers", "a list, each item a whole number", "[1, 3]", ""),
        Key("shares", "a map, each value a whole number", "{a: 1}", ""),
    ]


def test_rules_of_order_are_sentences() -> None:
    assert list(rules(Outer)) == [
        "must be listed before retry: once",
        "must be listed behind metrics: counted",
        "needs tls in the chain: names",
    ]
    assert list(rules(Inner)) == []


def test_a_class_without_source_has_no_docs() -> None:
    made = attrs.make_class("Made", {"a": attrs.field(type=int)})

    assert list(keys(made)) == [Key("a", "a whole number", None, "")]


def test_a_class_whose_source_is_no_class_statement_has_no_docs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("inspect.getsource", lambda cls: "Inner = make()")

    assert [each.doc for each in keys(Inner)] == [""]
