from __future__ import annotations

import pytest
import yaml

from proxy.config import document
from proxy.config.document import Document, Value


def found(text: str) -> Value:
    read = Document(text, "mesh.yaml")

    assert read.problems == []
    assert read.root is not None
    return read.root


def problems(text: str) -> list[str]:
    return [str(each) for each in Document(text, "mesh.yaml").problems]


def test_every_value_knows_its_line_and_its_path() -> None:
    read = Document("a:\n  - x\n  - b: 2\nc:\n  1\n", "mesh.yaml")

    assert {path: each.line for path, each in read.values.items()} == {
        (): 1,
        ("a",): 1,
        ("a", 0): 2,
        ("a", 1): 3,
        ("a", 1, "b"): 3,
        ("c",): 4,
    }


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("word", "word"),
        ("7", 7),
        ("0.5", 0.5),
        ("true", True),
        ("~", None),
        ("'7'", "7"),
        # YAML 1.1 makes these 620, a date, and numbers that no field means.
        ("10:20", "10:20"),
        ("2024-01-31", "2024-01-31"),
        (".inf", ".inf"),
        (".nan", ".nan"),
        (f"{2**63 - 1}", 2**63 - 1),
        (f"{2**63}", f"{2**63}"),
        (f"-{2**63}", f"-{2**63}"),
        ("9.0e+18", 9e18),
        ("1.0e+300", "1.0e+300"),
        ("-1.0e+19", "-1.0e+19"),
        ("0x" + "f" * 5000, "0x" + "f" * 5000),
        ("!!int ten", "ten"),
        ("!!bool perhaps", "perhaps"),
        ("!!python/object:os.system x", "x"),
    ],
)
def test_a_scalar_is_what_it_looks_like(text: str, content: object) -> None:
    assert found(text).content == content


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("word", '"word"'),
        ("Straße", '"Straße"'),
        ("7", "7"),
        ("yes", "true"),
        ("null", "null"),
        ("[]", "an empty list"),
        ("[1]", "a list"),
        ("{}", "an empty map"),
        ("{a: 1}", "a map"),
        ("x" * 100, '"' + "x" * 75 + '…"'),
    ],
)
def test_a_value_is_shown_in_few_words(text: str, shown: str) -> None:
    assert str(found(text)) == shown


def test_a_key_that_stands_twice_is_told_with_both_lines() -> None:
    assert problems("a: 1\nb: 2\na: 3\n") == [
        "mesh.yaml:3: a: the key stands twice, first on line 1"
    ]


@pytest.mark.parametrize("loader", ["CSafeLoader", "SafeLoader"])
def test_what_is_not_yaml_is_told_with_its_line(
    loader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(document, "_Loader", getattr(yaml, loader))
    [problem] = problems("a: 1\nb: [1, 2\nc: 3\n")

    assert problem.startswith("mesh.yaml:3: not YAML: ")
    assert "\n" not in problem


def test_bytes_that_yaml_does_not_allow_are_told_in_one_sentence() -> None:
    [problem] = problems("a: \x00\n")

    assert problem.startswith("mesh.yaml")
    assert "not YAML: " in problem


def test_two_documents_in_one_file_are_one_too_many() -> None:
    [problem] = problems("a: 1\n---\nb: 2\n")

    assert "not YAML: " in problem


@pytest.mark.parametrize("text", ["", "# nothing\n", "\n\n"])
def test_an_empty_file_is_told(text: str) -> None:
    assert problems(text) == [
        "mesh.yaml: the file is empty: expected listeners and services"
    ]


def test_an_alias_stands_for_its_value() -> None:
    root = found("a: &x [1]\nb: *x\n")

    assert isinstance(root.content, dict)
    assert str(root.content["b"]) == "a list"


def test_an_alias_of_what_it_stands_in_is_refused() -> None:
    assert problems("a: &x [*x]\n") == [
        "mesh.yaml:1: a[0]: an alias of what it stands in"
    ]


def test_a_billion_laughs_are_cut_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document, "MAX_VALUES", 100)
    bomb = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
    for before, name in zip("abcdef", "bcdefg", strict=True):
        bomb += f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n"

    [problem] = problems(bomb)

    assert "more than 100 values" in problem


@pytest.mark.parametrize("loader", ["CSafeLoader", "SafeLoader"])
@pytest.mark.parametrize("height", [60, 20_000])
def test_a_tower_of_brackets_is_refused(
    loader: str, height: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(document, "_Loader", getattr(yaml, loader))

    assert problems("[" * height + "]" * height) == [f"mesh.yaml: {document.TOO_DEEP}"]


def test_aliases_build_no_tower_either() -> None:
    rows = [f"k{n}: &k{n} [*k{n - 1}]" for n in range(1, 99)]
    [problem, *_] = problems("\n".join(["k0: &k0 [1]", *rows]))

    assert problem.endswith(document.TOO_DEEP)


def test_merge_keys_are_refused() -> None:
    assert problems("a: &x {b: 1}\nc:\n  <<: *x\n") == [
        'mesh.yaml:3: c: "<<": merge keys are not read: write the keys out'
    ]


def test_a_key_must_be_a_word() -> None:
    assert problems("? [a]\n: 1\n") == ["mesh.yaml:1: a key must be a word"]


def test_a_problem_at_a_path_that_is_not_there_has_the_line_above_it() -> None:
    read = Document("a:\n  b: 1\n", "mesh.yaml")
    read.complain_at(("a", "c"), "missing")
    read.complain_at(("a", "b"), "expected 2")

    assert [str(each) for each in read.problems] == [
        "mesh.yaml:1: a.c: missing",
        "mesh.yaml:2: a.b: 1: expected 2",
    ]


def test_a_problem_of_a_file_without_values_has_no_line() -> None:
    read = Document("", "mesh.yaml")
    read.complain_at(("a",), "missing")

    assert str(read.problems[-1]) == "mesh.yaml: a: missing"


def test_a_problem_of_a_value_is_told_with_what_was_found() -> None:
    read = Document("a: {b: 1}\n", "mesh.yaml")
    read.complain(read.values["a",], "expected 2", detail="why", broken=True)
    [problem] = read.problems

    assert str(problem) == "mesh.yaml:1: a: a map: expected 2\nwhy"
    assert problem.is_broken_filter
