from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import attrs
import pytest
from attrs.validators import ge, in_, instance_of

from proxy.config.document import Document
from proxy.config.structure import Hook, Reader, default_of, expected, fields


@attrs.frozen
class Inner:
    ratio: float = attrs.field(default=0.5, validator=ge(0))


@attrs.frozen
class Outer:
    name: str = attrs.field()
    count: int = attrs.field(default=1, validator=[ge(1)])
    kind: str = attrs.field(default="a", validator=in_(("a", "b")))
    inner: Inner = Inner()
    words: tuple[str, ...] = attrs.field(factory=tuple)
    made: str = attrs.field(init=False, default="by us")

    @name.validator
    def _name_is_short(self, attribute: object, value: str) -> None:
        if len(value) > 9 + self.count:
            raise ValueError("expected a shorter name")


def read(hint: object, text: str, **hooks: Hook) -> tuple[object, list[str]]:
    document = Document(text, "f")
    assert document.root is not None
    by_field: dict[tuple[type, str], Hook] = {
        (Outer, key): hook for key, hook in hooks.items()
    }
    reader = Reader(document, Path("/base"), by_field)
    value = reader.read(hint, document.root)
    return value, [str(each) for each in document.problems]


@pytest.mark.parametrize(
    ("hint", "text", "value"),
    [
        (str, "a", "a"),
        (int, "1", 1),
        (float, "1.5", 1.5),
        (float, "1", 1.0),
        (bool, "yes", True),
        (type(None), "~", None),
        (Path, "a.pem", Path("/base/a.pem")),
        (Path, "/etc/a.pem", Path("/etc/a.pem")),
        (Literal["a", "b"], "b", "b"),
        (Literal[1], "1", 1),
        (int | None, "~", None),
        (int | Literal["auto"], "auto", "auto"),
        (list[int], "[1, 2]", [1, 2]),
        (tuple[int, ...], "[1, 2]", (1, 2)),
        (Sequence[int], "[1, 2]", (1, 2)),
        (frozenset[int], "[1, 2]", frozenset({1, 2})),
        (dict[str, float], "{a: 1}", {"a": 1.0}),
        (Mapping[int, str], "{1: a}", {1: "a"}),
        (Inner, "{ratio: 1}", Inner(1.0)),
        (Inner | None, "{ratio: 1}", Inner(1.0)),
        (Outer, "{name: x, inner: {ratio: 1}}", Outer("x", inner=Inner(1.0))),
    ],
)
def test_a_value_that_fits_its_type_is_read(
    hint: object, text: str, value: object
) -> None:
    assert read(hint, text) == (value, [])


def test_a_whole_number_becomes_a_float_where_any_number_will_do() -> None:
    assert type(read(float, "1")[0]) is float


@pytest.mark.parametrize(
    ("hint", "text", "problem"),
    [
        (str, "1", "1: expected text; put it in quotes"),
        (str, "no", "false: expected text; put it in quotes"),
        (str, "~", "null: expected text"),
        (str, "[a]", "a list: expected text"),
        (int, "1.0", "1.0: expected a whole number"),
        (int, "yes", "true: expected a whole number"),
        (float, "yes", "true: expected a number"),
        (float, "ten", '"ten": expected a number'),
        (bool, "1", "1: expected true or false"),
        (Path, "1", "1: expected a path"),
        (Literal["a", "b"], "c", '"c": expected "a" or "b"'),
        (Literal[1], "yes", "true: expected 1"),
        (Literal["a"], "[]", 'an empty list: expected "a"'),
        (int | Literal["auto"], "all", '"all": expected a whole number or "auto"'),
        (int | None, "ten", '"ten": expected a whole number or null'),
        (
            tuple[int, ...],
            "1",
            "1: expected a list, each item a whole number",
        ),
        (dict[str, int], "1", "1: expected a map, each value a whole number"),
        (Inner, "1", "1: expected a map"),
        (Inner | None, "1", "1: expected a map or null"),
        (
            bytes,
            "a",
            "\"a\": expected <class 'bytes'>, which a file cannot hold",
        ),
    ],
)
def test_a_value_that_does_not_fit_is_told_with_what_is_expected(
    hint: object, text: str, problem: str
) -> None:
    assert read(hint, text)[1] == [f"f:1: {problem}"]


def test_what_is_wrong_inside_is_told_by_its_path() -> None:
    assert read(tuple[int, ...] | None, "[1, a, b]")[1] == [
        'f:1: [1]: "a": expected a whole number',
        'f:1: [2]: "b": expected a whole number',
    ]
    assert read(dict[str, int], "{a: 1, 2: b}")[1] == [
        'f:1: 2: "b": the key 2: expected text',
        'f:1: 2: "b": expected a whole number',
    ]


def test_every_field_is_read_and_every_validator_runs() -> None:
    text = "name: x\ncount: 0\nkind: c\ninner: {ratio: -1}\nwords: [1]\nmade: x\n"

    assert read(Outer, text)[1] == [
        "f:4: inner.ratio: -1: must be >= 0",
        "f:5: words[0]: 1: expected text; put it in quotes",
        'f:6: made: "x": unknown key; the keys here are name, count, kind, inner, words',
        "f:2: count: 0: must be >= 1",
        "f:3: kind: \"c\": must be in ('a', 'b')",
    ]


def test_a_validator_sees_the_other_fields() -> None:
    assert read(Outer, "{name: elevenchars, count: 1}")[1] == [
        'f:1: name: "elevenchars": expected a shorter name'
    ]
    assert read(Outer, "{name: elevenchars, count: 2}")[1] == []


def test_a_key_that_is_nearly_right_is_offered() -> None:
    assert read(Outer, "{name: x, cuont: 1}")[1] == [
        "f:1: cuont: 1: unknown key; did you mean count?"
    ]


def test_a_class_without_keys_says_so() -> None:
    @attrs.frozen
    class Nothing:
        pass

    assert read(Nothing, "{a: 1}")[1] == ["f:1: a: 1: unknown key; there are none here"]


def test_a_key_that_must_be_given_is_missed() -> None:
    assert read(Outer, "{}")[1] == ["f:1: name: the key is missing: expected text"]


def test_a_hook_reads_its_field_and_says_what_it_expects() -> None:
    hook = Hook(lambda value: f"<{value.content}>", "a name in brackets")

    assert read(Outer, "{name: x}", name=hook) == (Outer("<x>"), [])
    assert read(Outer, "{}", name=hook)[1] == [
        "f:1: name: the key is missing: expected a name in brackets"
    ]


def test_a_draft_has_what_could_be_read_defaults_and_none() -> None:
    draft, problems = read(Outer, "{count: ten, kind: b, words: [a, 1]}")

    assert len(problems) == 3
    assert isinstance(draft, Outer)
    name: object = draft.name
    words: object = draft.words
    assert name is None
    assert (draft.count, draft.kind, draft.inner) == (1, "b", Inner())
    assert words == ("a", None)


def test_preset_fields_are_no_keys_of_the_file() -> None:
    document = Document("{name: mine, count: 2}", "f")
    assert document.root is not None
    Reader(document, Path(), {}).make(Outer, document.root, name="ours")

    assert [str(each) for each in document.problems] == [
        'f:1: name: "mine": unknown key; the keys here are count, kind, inner, words'
    ]


def test_a_class_that_refuses_its_fields_together_is_told() -> None:
    @attrs.frozen
    class Pair:
        low: int = 0
        high: int = attrs.field(default=0, validator=instance_of(int))

        def __attrs_post_init__(self) -> None:
            if self.low > self.high:
                raise ValueError("low must not be above high")

    assert read(Pair, "{low: 2, high: 1}")[1] == [
        "f:1: a map: low must not be above high"
    ]
    assert read(Pair, "{low: 1, high: 1}")[1] == []


def test_a_validator_with_a_bug_is_told_and_harms_nothing_else() -> None:
    def stumble(draft: object, attribute: object, value: int) -> None:
        raise ZeroDivisionError("oops")

    @attrs.frozen
    class Odd:
        a: int = attrs.field(validator=stumble)
        b: int

    assert read(Odd, "{a: 1, b: x}")[1] == [
        'f:1: b: "x": expected a whole number',
        "f:1: a: 1: ZeroDivisionError('oops')",
    ]


def test_fields_are_named_as_the_file_names_them() -> None:
    @attrs.frozen
    class Private:
        _hidden: int = 1

    assert list(fields(Private)) == ["hidden"]
    assert read(Private, "{hidden: 2}") == (Private(2), [])


def test_a_default_may_be_made() -> None:
    @attrs.frozen
    class Made:
        given: int
        words: list[str] = attrs.field(factory=list)
        double: object = attrs.field(
            default=attrs.Factory(lambda self: self.given * 2, takes_self=True)
        )

    defaults = [default_of(each) for each in fields(Made).values()]

    assert defaults == [attrs.NOTHING, [], None]
    assert read(Made, "{given: 2}") == (Made(2, [], 4), [])


def test_what_is_expected_is_said_in_words() -> None:
    assert expected(dict[str, int] | None) == (
        "a map, each value a whole number or null"
    )


def test_types_that_only_a_type_checker_imports_are_told() -> None:
    @attrs.frozen
    class Untold:
        when: Nowhere = None  # type: ignore[name-defined]  # noqa: F821 - the point

    assert read(Untold, "{}")[1] == [
        "f:1: an empty map: the types of "
        "test_types_that_only_a_type_checker_imports_are_told.<locals>.Untold "
        "cannot be read: name 'Nowhere' is not defined"
    ]
