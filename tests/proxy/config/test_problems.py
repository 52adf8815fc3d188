from __future__ import annotations

import pytest

from meshfilters.errors import ConfigError
from proxy.config.problems import ConfigErrors, Problem, dotted, nearest

WRONG = Problem("mesh.yaml", 3, "grace", '"long"', "expected a number")
BROKEN = Problem("mesh.yaml", 9, "a", "", "no", "Traceback…\n", is_broken_filter=True)


def test_a_path_is_written_as_users_read_it() -> None:
    assert dotted(("listeners", "in", "request", 2, "tls")) == (
        "listeners.in.request[2].tls"
    )
    assert dotted(()) == ""


def test_a_near_word_is_offered_and_a_far_one_is_not() -> None:
    assert nearest("retri", ["retry", "split"]) == "; did you mean retry?"
    assert nearest("zzz", ["retry", "split"]) == ""


def test_a_problem_is_one_line_of_place_path_value_and_wish() -> None:
    assert str(WRONG) == 'mesh.yaml:3: grace: "long": expected a number'


def test_what_a_problem_does_not_have_leaves_no_gap() -> None:
    assert str(Problem("mesh.yaml", 0, "", "", "no such file")) == (
        "mesh.yaml: no such file"
    )


def test_details_follow_on_lines_of_their_own() -> None:
    assert str(BROKEN) == "mesh.yaml:9: a: no\nTraceback…"


def test_errors_tell_every_problem() -> None:
    errors = ConfigErrors([WRONG, BROKEN])

    assert isinstance(errors, ConfigError)
    assert str(errors) == f"{WRONG}\n{BROKEN}"
    assert errors.problems == (WRONG, BROKEN)


@pytest.mark.parametrize(
    ("problems", "code"), [([WRONG], 2), ([WRONG, BROKEN], 2), ([BROKEN], 3)]
)
def test_only_broken_filters_make_it_fail_to_boot(
    problems: list[Problem], code: int
) -> None:
    assert ConfigErrors(problems).exit_code == code
