from __future__ import annotations

from functools import partial

import pytest

from meshfilters.api import chain
from meshfilters.headers import FRAMING, Edits, HeaderRules
from meshfilters.message import Headers as Fields
from meshfilters.message import Response
from meshfilters.testing import Kit, check_filter

SENT = [(b"Host", b"service"), (b"X-Old", b"1"), (b"Accept", b"*/*"), (b"x-old", b"2")]


async def sent_through(edits: Edits) -> list[tuple[bytes, bytes]]:
    kit = Kit("headers")
    upstream = kit.script(Response(200))
    service = chain([HeaderRules(request=edits).build(kit.env)], upstream)
    await service(kit.ask(headers=SENT))
    return [*upstream.requests[0].headers]


async def answered_through(edits: Edits) -> list[tuple[bytes, bytes]]:
    kit = Kit("headers")
    upstream = kit.script(Response(200, Fields(SENT)))
    service = chain([HeaderRules(response=edits).build(kit.env)], upstream)
    return [*(await service(kit.ask())).headers]


async def test_a_removed_header_is_gone_in_every_case_and_the_rest_keeps_its_order() -> (
    None
):
    assert await sent_through(Edits(remove=("X-OLD",))) == [
        (b"Host", b"service"),
        (b"Accept", b"*/*"),
    ]


async def test_a_set_header_replaces_all_of_its_name() -> None:
    assert await sent_through(Edits(set={"X-Old": "new"})) == [
        (b"Host", b"service"),
        (b"Accept", b"*/*"),
        (b"X-Old", b"new"),
    ]


async def test_a_set_header_that_was_not_there_comes_to_the_end() -> None:
    assert await sent_through(Edits(set={"x-env": "prod"})) == [
        *SENT,
        (b"x-env", b"prod"),
    ]


async def test_an_added_header_leaves_those_of_its_name() -> None:
    assert await sent_through(Edits(add={"x-old": "3"})) == [*SENT, (b"x-old", b"3")]


async def test_a_header_may_be_set_and_then_added_to() -> None:
    edits = Edits(set={"x-old": "first"}, add={"x-old": "second"})

    assert (await sent_through(edits))[-2:] == [
        (b"x-old", b"first"),
        (b"x-old", b"second"),
    ]


async def test_headers_of_the_response_are_edited() -> None:
    edits = Edits(set={"x-env": "prod"}, remove=("x-old",))

    assert await answered_through(edits) == [
        (b"Host", b"service"),
        (b"Accept", b"*/*"),
        (b"x-env", b"prod"),
    ]


async def test_the_request_that_came_in_is_left_as_it_was() -> None:
    kit = Kit("headers")
    request = kit.ask(headers=SENT)
    rules = HeaderRules(request=Edits(remove=("x-old",)))
    await chain([rules.build(kit.env)], kit.script(Response(200)))(request)

    assert request.headers.raw == SENT


async def test_without_rules_the_request_itself_goes_on() -> None:
    kit = Kit("headers")
    upstream = kit.script(Response(200))
    request = kit.ask()
    await chain([HeaderRules().build(kit.env)], upstream)(request)

    assert upstream.requests == [request]


@pytest.mark.parametrize("name", ["", "a b", "a:", "caf\u00e9", "x\r\ny"])
def test_what_is_not_a_token_is_no_name(name: str) -> None:
    for edits in (
        partial(Edits, set={name: "v"}),
        partial(Edits, add={name: "v"}),
        partial(Edits, remove=(name,)),
    ):
        with pytest.raises(ValueError, match="is not a header name"):
            edits()


@pytest.mark.parametrize("name", sorted(FRAMING))
def test_headers_that_frame_a_message_are_refused(name: str) -> None:
    for edits in (
        partial(Edits, set={name.upper(): "v"}),
        partial(Edits, add={name: "v"}),
        partial(Edits, remove=(name,)),
    ):
        with pytest.raises(ValueError, match="not for filters to change"):
            edits()


@pytest.mark.parametrize("value", ["a\rb", "a\nb", "a\0b", "\x1b", "\x7f"])
def test_a_value_with_a_control_character_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="the value of x-env has a control character"):
        Edits(add={"x-env": value})


def test_a_value_with_white_space_around_it_is_refused() -> None:
    with pytest.raises(ValueError, match="white space"):
        Edits(set={"x-env": "prod "})


@pytest.mark.parametrize(
    "edits",
    [
        partial(Edits, set={"X-A": "1", "x-a": "2"}),
        partial(Edits, set={"X-A": "1"}, remove=("x-a",)),
    ],
)
def test_a_name_set_or_removed_twice_is_refused(edits: partial[Edits]) -> None:
    with pytest.raises(ValueError, match="x-a is set or removed twice"):
        edits()


async def test_it_does_what_every_filter_must_do() -> None:
    edits = Edits(set={"x-env": "prod"})
    await check_filter(HeaderRules(request=edits, response=edits).build)
