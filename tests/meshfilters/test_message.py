from __future__ import annotations

from collections.abc import Callable

import pytest

from meshfilters.message import EMPTY, IDEMPOTENT, Buffered, Headers, Request, Response
from meshfilters.testing import Kit, read

FIELDS = [(b"Host", b"a"), (b"X-One", b"1"), (b"accept", b"*/*"), (b"x-one", b"2")]


def parsed() -> Headers:
    """As a codec hands them over: every byte checked."""
    return Headers.parsed(list(FIELDS), {name.lower(): value for name, value in FIELDS})


class TestHeaders:
    def test_a_name_is_found_in_any_case(self) -> None:
        headers = Headers(FIELDS)

        assert headers.get(b"hOST") == b"a"
        assert b"ACCEPT" in headers
        assert b"cookie" not in headers

    def test_the_last_of_several_values_is_the_value(self) -> None:
        assert Headers(FIELDS).get(b"x-one") == b"2"

    def test_every_value_is_there_in_order(self) -> None:
        assert Headers(FIELDS).getall(b"X-ONE") == [b"1", b"2"]
        assert Headers(FIELDS).getall(b"cookie") == []

    def test_a_missing_name_gives_the_default(self) -> None:
        assert Headers(FIELDS).get(b"cookie") is None
        assert Headers(FIELDS).get(b"cookie", b"none") == b"none"

    def test_order_and_spelling_are_kept(self) -> None:
        assert list(Headers(FIELDS)) == FIELDS
        assert Headers(FIELDS).raw == FIELDS
        assert len(Headers(FIELDS)) == 4

    def test_the_index_has_lower_case_names(self) -> None:
        assert Headers(FIELDS).index == {
            b"host": b"a",
            b"x-one": b"2",
            b"accept": b"*/*",
        }

    def test_an_added_field_stands_last_beside_its_namesake(self) -> None:
        headers = Headers(FIELDS)
        assert headers.get(b"host") == b"a"
        headers.add(b"HOST", b"b")

        assert headers.raw == [*FIELDS, (b"HOST", b"b")]
        assert headers.get(b"host") == b"b"

    def test_a_set_field_stands_where_the_first_was_as_it_was_spelt(self) -> None:
        headers = Headers(FIELDS)
        headers.set(b"X-ONE", b"3")

        assert headers.raw == [
            (b"Host", b"a"),
            (b"X-One", b"3"),
            (b"accept", b"*/*"),
        ]
        assert headers.get(b"x-one") == b"3"

    def test_a_field_that_is_not_there_is_set_at_the_end(self) -> None:
        headers = Headers(FIELDS)
        headers.set(b"Via", b"x")

        assert headers.raw == [*FIELDS, (b"Via", b"x")]

    @pytest.mark.parametrize(
        ("name", "value"), [("x", b"a"), (b"x", "a"), (b"Host", "a"), ("host", "a")]
    )
    def test_text_is_refused_where_it_is_written(
        self, name: bytes, value: bytes
    ) -> None:
        for edit in (Headers.add, Headers.set):
            headers = Headers([(b"Host", b"a")])
            with pytest.raises(TypeError, match=f"{name!r}: {value!r} is not bytes"):
                edit(headers, name, value)
            assert headers.raw == [(b"Host", b"a")]

    @pytest.mark.parametrize(
        "look", [Headers.get, Headers.getall, Headers.remove, Headers.__contains__]
    )
    def test_a_name_that_is_text_is_not_looked_up(
        self, look: Callable[..., object]
    ) -> None:
        with pytest.raises(TypeError, match="'str'"):
            look(Headers(FIELDS), "host")

    def test_removing_takes_every_field_of_the_names(self) -> None:
        headers = Headers(FIELDS)
        headers.remove(b"X-ONE", b"cookie", b"ACCEPT")

        assert headers.raw == [(b"Host", b"a")]
        assert headers.get(b"x-one") is None

    def test_removing_what_is_not_there_changes_nothing(self) -> None:
        headers = Headers(FIELDS)
        raw = headers.raw
        headers.remove(b"cookie")

        assert headers.raw is raw

    def test_the_fields_given_are_never_edited(self) -> None:
        given = list(FIELDS)
        headers = Headers(given)
        headers.add(b"a", b"b")
        headers.set(b"host", b"c")
        headers.remove(b"accept")

        assert given == FIELDS

    @pytest.mark.parametrize("edited", ["copy", "original"])
    def test_an_edit_of_a_copy_leaves_the_other(self, edited: str) -> None:
        original = parsed()
        copy = original.copy()
        changed, left = (copy, original) if edited == "copy" else (original, copy)
        changed.set(b"host", b"b")
        changed.add(b"via", b"x")

        assert left.raw == FIELDS
        assert left.get(b"host") == b"a"
        assert not left.is_edited
        assert changed.is_edited

    def test_what_a_codec_has_checked_is_not_edited(self) -> None:
        assert not parsed().is_edited
        assert Headers(FIELDS).is_edited

    def test_an_edit_is_for_the_codec_to_check(self) -> None:
        added, replaced = parsed(), parsed()
        added.add(b"a", b"b")
        replaced.set(b"host", b"b")

        assert added.is_edited
        assert replaced.is_edited

    def test_what_is_left_after_a_removal_stays_checked(self) -> None:
        headers = parsed()
        headers.remove(b"host")

        assert headers.raw == FIELDS[1:]
        assert not headers.is_edited

    def test_a_removal_does_not_make_an_edit_checked(self) -> None:
        headers = parsed()
        headers.add(b"a", b"b")
        headers.remove(b"host")

        assert headers.is_edited

    def test_they_are_equal_by_their_fields(self) -> None:
        assert Headers(FIELDS) == parsed()
        assert Headers(FIELDS) != Headers(FIELDS[1:])
        assert Headers(FIELDS) != FIELDS

    def test_they_are_no_key_of_a_map(self) -> None:
        with pytest.raises(TypeError, match="unhashable"):
            hash(Headers())

    def test_their_repr_shows_the_fields(self) -> None:
        assert repr(Headers([(b"a", b"b")])) == "Headers([(b'a', b'b')])"


class TestBuffered:
    async def test_it_is_one_chunk_and_then_the_end(self) -> None:
        body = Buffered(b"abc")

        assert body.length == 3
        assert await body.receive() == b"abc"
        assert await body.receive() == b""
        assert await body.receive() == b""
        assert body.length == 3

    async def test_it_is_whole_until_it_is_received(self) -> None:
        body = Buffered(b"abc")
        assert body.is_whole
        await body.receive()

        assert repr(body) == "<Buffered 0 of 3 bytes left>"
        assert not body.is_whole

    async def test_closing_it_drops_the_rest(self) -> None:
        body = Buffered(b"abc")
        await body.aclose()
        await body.aclose()

        assert await body.receive() == b""

    def test_it_may_have_trailers(self) -> None:
        trailers = Headers(FIELDS)

        assert Buffered(b"", trailers).trailers is trailers
        assert Buffered(b"abc", trailers).length is None
        assert Buffered(b"", trailers).has_trailers
        plain = Buffered(b"")
        assert plain.trailers == Headers()
        assert not plain.has_trailers
        plain.trailers.add(b"x", b"y")
        assert plain.has_trailers

    async def test_the_empty_body_has_no_state_to_lose(self) -> None:
        await EMPTY.aclose()

        assert await read(EMPTY) == b""
        assert EMPTY.is_whole
        assert EMPTY.length == 0


class TestRequest:
    def test_a_copy_has_what_is_named_and_shares_the_rest(self) -> None:
        request = Kit().ask(b"POST", b"/x", body=Buffered(b"abc"))
        copy = request.with_(destination="other")

        assert copy.destination == "other"
        assert request.destination == "service"
        for name in ("method", "target", "headers", "exchange", "body"):
            assert getattr(copy, name) is getattr(request, name)

    def test_each_part_can_be_named(self) -> None:
        headers, body = Headers(FIELDS), Buffered(b"abc")
        request = Kit().ask()
        copy = request.with_(
            method=b"PUT", target=b"/y", headers=headers, destination="", body=body
        )

        assert (copy.method, copy.target, copy.destination) == (b"PUT", b"/y", "")
        assert copy.headers is headers
        assert copy.body is body
        assert request.with_().destination == "service"

    def test_it_has_no_body_unless_given_one(self) -> None:
        asked = Kit().ask()

        assert Request(b"GET", b"/", Headers(), "a", asked.exchange).body is EMPTY

    @pytest.mark.parametrize("method", sorted(IDEMPOTENT))
    def test_an_idempotent_method_is_known(self, method: bytes) -> None:
        assert Kit().ask(method).is_idempotent

    @pytest.mark.parametrize("method", [b"POST", b"PATCH", b"CONNECT", b"get"])
    def test_no_other_method_is(self, method: bytes) -> None:
        assert not Kit().ask(method).is_idempotent

    def test_its_repr_is_its_line(self) -> None:
        assert repr(Kit().ask(b"GET", b"/\xe9")) == "<Request GET /é to service>"


class TestResponse:
    def test_it_is_empty_unless_told(self) -> None:
        response = Response(204)

        assert response.headers == Headers()
        assert response.body is EMPTY
        assert response.upgrade is None

    def test_a_copy_has_what_is_named_and_shares_the_rest(self) -> None:
        stream = Kit().ask().exchange.connection.stream
        response = Response(101, Headers(FIELDS), Buffered(b"a"), stream)
        copy = response.with_(status=200)

        assert (copy.status, response.status) == (200, 101)
        for name in ("headers", "body", "upgrade"):
            assert getattr(copy, name) is getattr(response, name)

    def test_each_part_can_be_named(self) -> None:
        headers, body = Headers(FIELDS), Buffered(b"a")
        stream = Kit().ask().exchange.connection.stream
        copy = Response(200).with_(headers=headers, body=body, upgrade=stream)

        assert copy.status == 200
        assert copy.headers is headers
        assert copy.body is body
        assert copy.upgrade is stream

    def test_its_repr_is_its_status(self) -> None:
        assert repr(Response(404)) == "<Response 404>"
