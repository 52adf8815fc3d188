"""A block is decoded, or it ends the connection with the code that is its own."""

from __future__ import annotations

import pytest
from h2.errors import ErrorCodes
from h2.exceptions import DenialOfServiceError
from hpack import OversizedHeaderListError

from proxy.codec.h2.blocks import UPDATES, Blocks, BrokenBlock
from tests.wire.raw import block

ZERO, ALL = b"\x20", b"\x3f\xe1\x1f"
"""Sizes of the table: none, and the 4096 bytes that it has at first."""

FIELDS = [(b"one", b"1"), (b"two", b"2")]


@pytest.fixture
def blocks() -> Blocks:
    return Blocks(1000, 10)


def test_a_block_is_its_fields(blocks: Blocks) -> None:
    assert blocks.decode(block(FIELDS), raw=True) == FIELDS


def test_each_block_may_change_the_size_as_often_as_one_may(blocks: Blocks) -> None:
    assert len((ZERO, ALL)) == UPDATES
    for _ in range(3):
        assert blocks.decode(ZERO + ALL + block(FIELDS), raw=True) == FIELDS


@pytest.mark.parametrize(
    "data", [ZERO + ALL + ZERO, ZERO * 16_000, b"\x3f\xe2\xff\x03", b"\xbe"]
)
def test_a_broken_block_is_a_compression_error(blocks: Blocks, data: bytes) -> None:
    with pytest.raises(BrokenBlock) as caught:
        blocks.decode(data + block(FIELDS), raw=True)

    assert caught.value.error_code is ErrorCodes.COMPRESSION_ERROR


def test_too_many_fields_are_denied(blocks: Blocks) -> None:
    assert len(blocks.decode(block(FIELDS * 5), raw=True)) == 10
    with pytest.raises(DenialOfServiceError, match="too many fields"):
        blocks.decode(block(FIELDS * 6), raw=True)


def test_too_much_of_it_is_what_it_was(blocks: Blocks) -> None:
    with pytest.raises(OversizedHeaderListError):
        blocks.decode(block(FIELDS * 100), raw=True)
