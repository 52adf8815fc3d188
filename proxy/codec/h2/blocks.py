"""Header blocks for a library that has no bounds of its own for them: ``h2``."""

from __future__ import annotations

from h2.errors import ErrorCodes
from h2.exceptions import DenialOfServiceError, ProtocolError
from hpack import Decoder, HeaderTuple, HPACKError, OversizedHeaderListError

UPDATES = 2
"""Changes of its table's size that a block may begin with (RFC 7541, 4.2). Each is a byte
of the peer's and a microsecond of ours."""


class BrokenBlock(ProtocolError):
    """A block that can't be decoded: the connection's table is lost (RFC 9113, 4.3)."""

    error_code = ErrorCodes.COMPRESSION_ERROR


class Blocks(Decoder):
    """The peer's blocks of one connection.

    Raises BrokenBlock, and DenialOfServiceError for too many fields.
    """

    def __init__(self, max_header_list: int, max_fields: int) -> None:
        super().__init__(max_header_list)
        self._max_fields = max_fields
        self._updates = 0

    def decode(self, data: bytes, raw: bool = False) -> list[HeaderTuple]:
        self._updates = 0
        try:
            fields = [*super().decode(data, raw)]
        except OversizedHeaderListError:
            raise
        except HPACKError as error:
            raise BrokenBlock(str(error)) from error
        if len(fields) > self._max_fields:
            raise DenialOfServiceError("a head of too many fields")
        return fields

    def _update_encoding_context(self, data: bytes | memoryview) -> int:
        # hpack's own, not its interface: should it go, so does no more than this check.
        self._updates += 1
        if self._updates > UPDATES:
            raise BrokenBlock("a table whose size changes again and again")
        return super()._update_encoding_context(data)
