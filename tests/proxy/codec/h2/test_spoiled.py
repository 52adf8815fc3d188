"""Whatever bytes come, nothing is raised, nothing is sent for ever.

The seeds are the byte strings of the wire corpus, whose cases say what must come of each;
here they are cut and spoiled at random, the same way every time.
"""

from __future__ import annotations

from itertools import islice
from random import Random

import pytest

from proxy.codec import h2
from proxy.codec.h2.codec import PREFACE
from tests.proxy.codec.h2.ends import GET, LIBRARIES, End
from tests.wire.conformance import definitions, generic, messages, streams
from tests.wire.mistakes import connections, exchanges
from tests.wire.raw import settings

Role = h2.Role

ASKED = [*generic.CASES, *streams.CASES, *definitions.CASES, *messages.CASES]
ANSWERED = [*connections.CASES, *exchanges.CASES]
SOME = 20
"""Frames of an answer that may have no end."""
VARIANTS = 20
"""Spoiled ones of each seed."""


def of_clients() -> list[bytes]:
    """What the clients of the corpus send, each in one piece and behind its greeting."""
    sent = (b"".join(s for s in case.steps if isinstance(s, bytes)) for case in ASKED)
    return sorted({settings() + each for each in sent})


def of_servers() -> list[bytes]:
    """What its origins send to one request."""
    mistakes = (case.mistake for case in ANSWERED)
    return sorted({m.greeting + b"".join(islice(m.answer(1), SOME)) for m in mistakes})


SEEDS: dict[Role, list[bytes]] = {"server": of_clients(), "client": of_servers()}
"""What each role gets."""


def spoiled(seed: bytes, seeds: list[bytes], random: Random) -> bytes:
    """Some bytes changed, left out or put in, or a piece of another seed."""
    data = bytearray(seed)
    for _ in range(random.randint(1, 4)):
        at = random.randrange(len(data) + 1)
        size = random.choice((1, 1, 4, 9, 17))
        other = random.choice(seeds)
        start = random.randrange(len(other) + 1)
        piece = random.choice((b"", random.randbytes(1), other[start : start + size]))
        data[at : at + random.choice((0, size))] = piece
    return bytes(data)


def fed(role: Role, library: str, *pieces: bytes) -> End:
    """One end that has got these bytes, as long as it took any."""
    end = End(role, library=library)
    if role == "client":
        end.codec.open(GET, is_end=True)
    sent = len(end.codec.take())
    for each in pieces:
        if each and not end.codec.is_over:
            end.codec.receive(each)
            sent += len(end.codec.take())
    assert sent < 100_000, pieces
    return end


@pytest.mark.slow
@pytest.mark.parametrize("role", SEEDS)
@pytest.mark.parametrize("library", LIBRARIES)
def test_what_is_spoiled_or_cut_harms_nothing(library: str, role: Role) -> None:
    random = Random(9)
    start = PREFACE if role == "server" else b""
    ends = []
    for seed in SEEDS[role]:
        variants = (spoiled(seed, SEEDS[role], random) for _ in range(VARIANTS))
        for data in (seed, *variants):
            cut = random.randrange(len(data) + 1)
            ends.append(fed(role, library, start + data[:cut], data[cut:]))

    # They come far: some live, and some have heard of a message.
    assert len(ends) > 500
    assert sum(not each.codec.is_over for each in ends) > len(ends) / 10
    assert sum(bool(each.heads) for each in ends) > len(ends) / 50


@pytest.mark.parametrize("library", LIBRARIES)
def test_what_has_no_preface_harms_nothing(library: str) -> None:
    for seed in SEEDS["server"]:
        assert fed("server", library, seed, seed).codec.is_over
