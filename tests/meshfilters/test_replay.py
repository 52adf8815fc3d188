from __future__ import annotations

import pytest
import trio
import trio.testing

from meshfilters.message import Body, Buffered, Headers
from meshfilters.replay import Replay
from meshfilters.testing import Chunks, Fields, read

TRAILERS = [(b"grpc-status", b"0")]


async def test_a_body_is_replayed_whole_with_its_trailers() -> None:
    replay = Replay(Chunks(b"hello ", b"world", trailers=TRAILERS), keep=100)
    for _ in range(3):
        reader = replay.start()

        assert await read(reader) == b"hello world"
        assert reader.trailers == Headers(TRAILERS)


async def test_trailers_alone_are_replayed() -> None:
    replay = Replay(Chunks(trailers=TRAILERS), keep=100)
    for _ in range(2):
        reader = replay.start()

        assert await reader.receive() == b""
        assert reader.trailers == Headers(TRAILERS)


async def test_an_empty_body_is_replayed() -> None:
    replay = Replay(Chunks(), keep=0)
    await read(replay.start())

    assert await read(replay.start()) == b""


async def test_trailers_edited_by_one_try_are_not_the_nexts() -> None:
    replay = Replay(Chunks(b"x", trailers=TRAILERS), keep=100)
    reader = replay.start()
    await read(reader)
    reader.trailers.set(b"grpc-status", b"13")
    again = replay.start()
    await read(again)

    assert again.trailers == Headers(TRAILERS)


async def test_there_are_no_trailers_before_the_end() -> None:
    reader = Replay(Chunks(b"x", trailers=TRAILERS), keep=100).start()
    await reader.receive()

    assert reader.trailers == Headers()


async def test_nothing_is_collected_ahead() -> None:
    source = Chunks(b"a", b"b", b"c")
    reader = Replay(source, keep=100).start()

    assert source.received == 0
    assert await reader.receive() == b"a"
    assert source.received == 1


async def test_switches_to_the_source_where_the_last_try_stopped() -> None:
    source = Chunks(b"a", b"b", b"c")
    replay = Replay(source, keep=100)
    first = replay.start()
    assert await first.receive() == b"a"
    await first.aclose()
    second = replay.start()

    assert await second.receive() == b"a"
    assert source.received == 1
    assert await second.receive() == b"b"
    assert await second.receive() == b"c"
    assert await second.receive() == b""


async def test_a_try_may_stop_within_what_was_kept() -> None:
    replay = Replay(Chunks(b"a", b"b", b"c"), keep=100)
    await read(replay.start())
    await replay.start().receive()

    assert await read(replay.start()) == b"abc"


async def test_a_body_too_big_goes_on_but_is_spilled() -> None:
    replay = Replay(Chunks(b"aaa", b"bbb", b"ccc"), keep=5)
    reader = replay.start()

    assert await reader.receive() == b"aaa"
    assert repr(replay) == "<Replay 3 bytes kept, room for 2>"
    assert await read(reader) == b"bbbccc"
    assert replay.is_spilled
    assert repr(replay) == "<Replay spilled>"


async def test_the_cap_itself_is_kept() -> None:
    replay = Replay(Chunks(b"aaa", b"bb"), keep=5)
    await read(replay.start())

    assert not replay.is_spilled
    assert await read(replay.start()) == b"aaabb"


async def test_the_cap_holds_across_replays() -> None:
    replay = Replay(Chunks(b"aaa", b"bbb", b"ccc"), keep=8)
    first = replay.start()
    await first.receive()
    second = replay.start()
    assert await second.receive() == b"aaa"
    assert await second.receive() == b"bbb"
    assert repr(replay) == "<Replay 6 bytes kept, room for 2>"

    assert await second.receive() == b"ccc"
    assert replay.is_spilled


async def test_replaying_takes_no_room() -> None:
    replay = Replay(Chunks(b"aaaa"), keep=5)
    for _ in range(5):
        await read(replay.start())

    assert repr(replay) == "<Replay 4 bytes kept, room for 1>"


async def test_a_spilled_body_is_not_started_again() -> None:
    replay = Replay(Chunks(b"aaa"), keep=1)
    await read(replay.start())

    with pytest.raises(AssertionError):
        replay.start()


async def test_a_body_known_to_be_too_big_is_not_kept() -> None:
    replay = Replay(Chunks(b"a", b"aa", length=3), keep=2)
    reader = replay.start()

    assert reader.length == 3
    assert repr(replay) == "<Replay 0 bytes kept, room for 0>"
    assert await reader.receive() == b"a"
    assert replay.is_spilled


async def test_a_body_known_to_be_too_big_can_start_again_if_nothing_was_taken() -> (
    None
):
    replay = Replay(Chunks(b"aaa", length=3), keep=2)
    await replay.start().aclose()

    assert await read(replay.start()) == b"aaa"


async def test_a_reader_cut_off_by_the_next_is_not_at_its_end() -> None:
    replay = Replay(Chunks(b"a", b"b"), keep=10)
    first = replay.start()
    second = replay.start()

    with pytest.raises(trio.ClosedResourceError):
        await first.receive()
    assert await read(second) == b"ab"


class Slow(Chunks):
    """Hands out its chunks when told."""

    def __init__(self, *chunks: bytes, trailers: Fields = ()) -> None:
        super().__init__(*chunks, trailers=trailers)
        self.sender, self._receiver = trio.open_memory_channel[None](10)

    async def receive(self) -> bytes:
        await self._receiver.receive()
        return await super().receive()


async def receive_late(reader: Body) -> None:
    with pytest.raises(trio.ClosedResourceError):
        await reader.receive()


async def test_a_chunk_that_comes_after_the_cut_is_kept_for_the_next() -> None:
    source = Slow(b"a", b"b")
    replay = Replay(source, keep=0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive_late, replay.start())
        await trio.testing.wait_all_tasks_blocked()
        replay.cut()
        source.sender.send_nowait(None)
    source.sender.send_nowait(None)
    source.sender.send_nowait(None)

    assert not replay.is_spilled
    assert await read(replay.start()) == b"ab"


async def test_a_chunk_that_comes_after_the_next_was_started_is_not_lost() -> None:
    source = Slow(b"a", b"b")
    replay = Replay(source, keep=10)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive_late, replay.start())
        await trio.testing.wait_all_tasks_blocked()
        second = replay.start()
        source.sender.send_nowait(None)
    source.sender.send_nowait(None)
    source.sender.send_nowait(None)

    assert await read(second) == b"ab"


async def test_an_end_that_comes_after_the_cut_is_the_next_ones_too() -> None:
    source = Slow(trailers=TRAILERS)
    replay = Replay(source, keep=10)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive_late, replay.start())
        await trio.testing.wait_all_tasks_blocked()
        second = replay.start()
        source.sender.send_nowait(None)
    source.sender.send_nowait(None)

    assert await read(second) == b""
    assert second.trailers == Headers(TRAILERS)


async def test_closing_a_reader_leaves_the_source_open_for_the_next() -> None:
    source = Chunks(b"a")
    replay = Replay(source, keep=10)
    reader = replay.start()
    await reader.aclose()
    await reader.aclose()

    assert not source.is_closed
    with pytest.raises(trio.ClosedResourceError):
        await reader.receive()


async def test_closing_the_last_reader_closes_the_source() -> None:
    source = Chunks(b"a", b"b")
    replay = Replay(source, keep=10)
    reader = replay.start()
    await replay.release()
    assert not source.is_closed
    await reader.aclose()

    assert source.is_closed


async def test_a_reader_closed_before_the_release_has_closed_the_source() -> None:
    source = Chunks(b"a")
    replay = Replay(source, keep=10)
    await replay.start().aclose()
    await replay.release()

    assert source.is_closed


async def test_a_late_close_of_an_earlier_reader_harms_nothing() -> None:
    source = Chunks(b"a")
    replay = Replay(source, keep=10)
    first = replay.start()
    second = replay.start()
    await replay.release()
    await first.aclose()

    assert not source.is_closed
    assert await read(second) == b"a"


async def test_a_release_forgets_what_was_kept_but_not_what_is_still_to_be_read() -> (
    None
):
    replay = Replay(Chunks(b"a", b"b"), keep=10)
    await read(replay.start())
    second = replay.start()
    await replay.release()

    assert replay.is_spilled
    assert await read(second) == b"ab"


async def test_a_cancelled_receive_loses_nothing() -> None:
    replay = Replay(Chunks(b"a"), keep=10)
    with trio.CancelScope() as scope:
        scope.cancel()
        await replay.start().receive()
    assert scope.cancelled_caught

    assert await read(replay.start()) == b"a"


async def test_its_length_is_the_sources() -> None:
    assert Replay(Buffered(b"abc"), keep=10).start().length == 3
    assert Replay(Chunks(b"abc"), keep=10).start().length is None
