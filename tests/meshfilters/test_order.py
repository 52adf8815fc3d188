from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pytest

from meshfilters.order import check_order

Rules = Mapping[str, str]


class Free:
    """Has no rules."""


class Counting:
    outside: ClassVar[Rules] = {"retry": "once a request"}


class Nested:
    inside: ClassVar[Rules] = {"identity": "it reads what that one wrote"}


class Authorising:
    requires: ClassVar[Rules] = {"tls": "nobody is known without"}


def broken(**levels: list[tuple[str, object]]) -> list[tuple[str, int, str]]:
    return list(check_order(levels))


def test_filters_without_rules_stand_anywhere() -> None:
    assert broken(request=[("a", Free()), ("b", Free())]) == []


def test_outside_means_listed_before() -> None:
    counting, retry = ("metrics", Counting()), ("retry", Free())

    assert broken(request=[counting, retry]) == []
    assert broken(request=[retry, counting]) == [
        ("request", 1, "metrics must be listed before retry: once a request")
    ]


def test_inside_means_listed_behind() -> None:
    nested, identity = ("nested", Nested()), ("identity", Free())

    assert broken(request=[identity, nested]) == []
    assert broken(request=[nested, identity]) == [
        (
            "request",
            0,
            "nested must be listed behind identity: it reads what that one wrote",
        )
    ]


@pytest.mark.parametrize("rule", [Counting(), Nested()])
def test_a_rule_about_a_filter_that_is_not_there_is_kept(rule: object) -> None:
    assert broken(request=[("rule", rule)]) == []


def test_required_is_in_whatever_level() -> None:
    authorising = ("authorise", Authorising())

    assert broken(connection=[("tls", Free())], request=[authorising]) == []
    assert broken(request=[authorising, ("tls", Free())]) == []
    assert broken(connection=[], request=[("x", Free()), authorising]) == [
        ("request", 1, "authorise needs tls in the chain: nobody is known without")
    ]


def test_connection_filters_are_met_before_request_filters() -> None:
    assert broken(connection=[("retry", Free())], request=[("m", Counting())]) == [
        ("request", 0, "m must be listed before retry: once a request")
    ]


def test_each_of_two_instances_is_checked() -> None:
    chain = [("m", Counting()), ("retry", Free()), ("m", Counting())]

    assert [place for _, place, _ in broken(request=chain)] == [2]


def test_all_that_is_wrong_is_told() -> None:
    chain = [("n", Nested()), ("a", Authorising()), ("identity", Free())]

    assert [place for _, place, _ in broken(request=chain)] == [0, 1]
