"""Bodies end where they say, and what follows them is left alone."""

from __future__ import annotations

from itertools import pairwise

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshfilters.message import Headers
from proxy.codec.h1 import grammar
from proxy.codec.h1.framing import (
    AT_A_STRETCH,
    TRAILER_LIMITS,
    Chunked,
    Sized,
    UntilClose,
)
from proxy.codec.h1.reader import Reader
from proxy.codec.h1.wire import WireError
from proxy.codec.h1.write import write_chunk, write_last_chunk
from tests.proxy.codec.h1.arriving import BOTH_WAYS, Pieces, body


@BOTH_WAYS
def test_a_sized_body_ends_at_its_size(pieces: Pieces) -> None:
    reader, decoder = Reader(), Sized(5)

    assert body(pieces, decoder, b"helloGET /", reader) == b"hello"
    assert decoder.is_done
    assert decoder.length == 5
    assert decoder.trailers == Headers()
    assert reader.take(99) == b"GET /"


def test_a_sized_body_is_not_done_a_byte_early() -> None:
    reader, decoder = Reader(b"hell"), Sized(5)

    assert decoder.decode(reader) == b"hell"
    assert decoder.decode(reader) == b""
    assert not decoder.is_done


def test_a_body_of_no_bytes_is_done_when_it_is_asked() -> None:
    reader, decoder = Reader(b"GET /"), Sized(0)

    assert decoder.decode(reader) == b""
    assert decoder.is_done
    assert len(reader) == 5


@BOTH_WAYS
def test_a_body_until_the_close_never_ends_by_itself(pieces: Pieces) -> None:
    decoder = UntilClose()

    assert body(pieces, decoder, b"0\r\n\r\n", Reader()) == b"0\r\n\r\n"
    assert not decoder.is_done
    assert decoder.length is None


@BOTH_WAYS
def test_chunks_are_joined_and_extensions_dropped(pieces: Pieces) -> None:
    reader, decoder = Reader(), Chunked()
    data = b'5\r\nhello\r\n00A ; a="b;\t"\r\n, 3 words!\r\n0;last\r\n\r\nGET /'

    assert body(pieces, decoder, data, reader) == b"hello, 3 words!"
    assert decoder.is_done
    assert decoder.length is None
    assert decoder.trailers == Headers()
    assert decoder.decode(reader) == b""
    assert reader.take(99) == b"GET /"


def test_whole_chunks_that_are_here_come_as_one_piece() -> None:
    reader = Reader(b"1\r\na\r\n2\r\nbc\r\n3\r\nd")

    assert Chunked().decode(reader) == b"abcd"


@BOTH_WAYS
@pytest.mark.parametrize(
    ("data", "detail"),
    [
        (b"\r\n", "malformed chunk size"),
        (b"x\r\n", "malformed chunk size"),
        (b"0x5\r\nhello\r\n", "malformed chunk size"),
        (b"-1\r\n", "malformed chunk size"),
        (b" 5\r\nhello\r\n", "malformed chunk size"),
        (b"5 \r\nhello\r\n", "malformed chunk size"),
        (b"5 x\r\nhello\r\n", "malformed chunk size"),
        (b"5\nhello\r\n0\r\n\r\n", "malformed chunk size"),
        (b"5;a\nb\r\nhello\r\n", "malformed chunk size"),
        (b"5;a\rb\r\nhello\r\n", "malformed chunk size"),
        (b"5\r\rhello\r\n", "malformed chunk size"),
        (b"1" * 16 + b"\r\n", "malformed chunk size"),
        (b"5\r\nhelloX", "longer than its size"),
        (b"5\r\nhello\n0\r\n\r\n", "longer than its size"),
        (b"5\r\nhello\rX", "longer than its size"),
        (b"0\r\nA: 1\nB: 2\r\n\r\n", "field|CRLF"),
        (b"0\r\nA: 1\rB: 2\r\n\r\n", "field|CRLF"),
        (b"0\r\nA : 1\r\n\r\n", "malformed header field"),
        (b"0\r\n A: 1\r\n\r\n", "malformed header field"),
        (b"0\r\nContent_Length: 1\r\n\r\n", "underscore"),
    ],
)
def test_what_are_no_chunks_is_refused(
    pieces: Pieces, data: bytes, detail: str
) -> None:
    with pytest.raises(WireError, match=detail) as caught:
        body(pieces, Chunked(), data, Reader())
    assert caught.value.status == 400


@BOTH_WAYS
def test_an_extension_is_let_through_up_to_the_limit(pieces: Pieces) -> None:
    longest = b"1;" + b"x" * (grammar.MAX_CHUNK_LINE - 4) + b"\r\n"
    assert len(longest) == grammar.MAX_CHUNK_LINE

    assert body(pieces, Chunked(), longest + b"a", Reader()) == b"a"
    with pytest.raises(WireError, match="extension too long"):
        body(pieces, Chunked(), longest[:-2] + b"x\r\n", Reader())


@BOTH_WAYS
def test_trailers_come_without_what_the_head_decides(pieces: Pieces) -> None:
    reader, decoder = Reader(), Chunked()
    data = (
        b"1\r\na\r\n0\r\nChecksum: 1 \r\nContent-Length: 9\r\nTransfer-Encoding: x\r\n"
        b"Host: b\r\ngrpc-status: 0\r\nCookie: c\r\n\r\nnext"
    )

    assert body(pieces, decoder, data, reader) == b"a"
    assert decoder.is_done
    assert decoder.trailers.raw == [(b"Checksum", b"1"), (b"grpc-status", b"0")]
    assert not decoder.trailers.is_edited
    assert reader.take(9) == b"next"


@BOTH_WAYS
def test_trailers_are_let_through_up_to_their_limit(pieces: Pieces) -> None:
    def trailers(size: int) -> bytes:
        return b"0\r\nA: " + b"x" * (size - 7) + b"\r\n\r\n"

    decoder = Chunked()
    body(pieces, decoder, trailers(TRAILER_LIMITS.max_head), Reader())
    assert decoder.is_done
    with pytest.raises(WireError, match="too large") as caught:
        body(pieces, Chunked(), trailers(TRAILER_LIMITS.max_head + 1), Reader())
    assert caught.value.status == 431


@BOTH_WAYS
def test_trailers_without_end_are_refused(pieces: Pieces) -> None:
    endless = b"0\r\n" + b"A: 1\r\n" * (TRAILER_LIMITS.max_head // 6 + 1)

    with pytest.raises(WireError, match="too large"):
        body(pieces, Chunked(), endless, Reader())


def test_there_may_be_as_many_trailers_as_the_limit() -> None:
    def trailers(count: int) -> bytes:
        lines = [b"A%d: 1\r\n" % number for number in range(count)]
        return b"0\r\n" + b"".join(lines) + b"\r\n"

    Chunked().decode(Reader(trailers(TRAILER_LIMITS.max_headers)))
    with pytest.raises(WireError, match="too many"):
        Chunked().decode(Reader(trailers(TRAILER_LIMITS.max_headers + 1)))


CHUNKS = st.lists(st.binary(min_size=1, max_size=40), max_size=6)
VALUES = st.from_regex(rb"[!-~\x80-\xff](?:[ -~]*[!-~])?", fullmatch=True)
TRAILERS = st.lists(
    st.tuples(st.from_regex(rb"x-[a-z0-9]{1,8}", fullmatch=True), VALUES)
)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    bounds = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in pairwise(bounds)]


@given(CHUNKS, TRAILERS, st.lists(st.integers(min_value=0), max_size=5))
def test_what_is_written_is_read_wherever_it_is_cut(
    chunks: list[bytes], trailers: list[tuple[bytes, bytes]], places: list[int]
) -> None:
    written = b"".join(map(write_chunk, chunks)) + write_last_chunk(Headers(trailers))
    reader, decoder = Reader(), Chunked()

    decoded = body(lambda data: cut(data, places), decoder, written + b"NEXT", reader)

    assert decoded == b"".join(chunks)
    assert decoder.is_done
    assert decoder.trailers.raw == trailers
    assert reader.take(9) == b"NEXT"


@given(CHUNKS)
def test_h11_reads_the_same_in_what_is_written(chunks: list[bytes]) -> None:
    theirs = h11.Connection(h11.SERVER)
    theirs.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\n")
    theirs.receive_data(b"Transfer-Encoding: chunked\r\n\r\n")
    assert type(theirs.next_event()) is h11.Request

    theirs.receive_data(
        b"".join(map(write_chunk, chunks)) + write_last_chunk(Headers())
    )

    read = b""
    while type(event := theirs.next_event()) is h11.Data:
        read += bytes(event.data)
    assert type(event) is h11.EndOfMessage
    assert read == b"".join(chunks)


def test_small_chunks_are_decoded_in_stretches() -> None:
    reader, decoder = (
        Reader(b"1\r\na\r\n" * (AT_A_STRETCH + 1) + b"0\r\n\r\n"),
        Chunked(),
    )

    assert decoder.decode(reader) == b"a" * AT_A_STRETCH
    assert (decoder.is_cut, decoder.is_done) == (True, False)
    assert decoder.decode(reader) == b"a"
    assert (decoder.is_cut, decoder.is_done) == (False, True)
