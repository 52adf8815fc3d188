"""What gRPC's libraries do with one another: a service of bytes, its calls, their results.

The calls are those of gRPC's interoperability tests
(https://github.com/grpc/grpc/blob/master/doc/interop-test-descriptions.md) that need no
generated code, no credentials and no hour: all but ``cacheable_unary``, a GET, which none
of these libraries sends. Each library has a server and a client of them in ``peers``; a
client makes all calls of ``EXPECTED`` and tells what it saw in this table's words. The
service's methods:

- ``Echo`` sends its message back, and the metadata ``x-initial`` and ``x-trailing-bin``
  as initial and as trailing metadata;
- ``Chat`` does so with each message of a stream;
- ``Collect`` tells how many bytes its messages had;
- ``Spread`` sends messages of the sizes that it is asked for, ``"3 1 4"``;
- all three compress where the metadata ``x-compressed`` asks for it and the library can,
  and ``Spread`` every other message alone;
- ``Fail`` ends with the code and the message of ``"2 what went wrong"``, and with
  nothing else ("trailers-only");
- ``FailLate`` sends one message before that;
- ``Sleep`` never answers.
"""

from __future__ import annotations

from collections.abc import Mapping

SERVICE = "tulle.test.Interop"
SIZES = [31415, 9, 2653, 58979]
"""Of the messages of a stream."""
LARGE = 1_000_000
"""Bytes of one message, many windows' worth."""
MESSAGE = "test status message"
SPECIAL = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n"
INITIAL = "test_initial_metadata_value"
TRAILING = "0a0b0a0b0a0b00ff"
"""In hexadecimal: the bytes of a field whose name ends in ``-bin``."""
AT_ONCE = 250
"""Calls at the same time: more than the streams that a connection grants."""
SOAK = 20
"""Calls one after another, or as many connections."""

GIVEN = {
    "service": SERVICE,
    "sizes": SIZES,
    "large": LARGE,
    "message": MESSAGE,
    "special": SPECIAL,
    "initial": INITIAL,
    "trailing": TRAILING,
    "at_once": AT_ONCE,
    "soak": SOAK,
}
"""What clients in other languages are told."""

EXPECTED: Mapping[str, list[object]] = {
    "empty_unary": [0, 0],
    "large_unary": [0, True],
    "client_compressed_unary": [0, True],
    "server_compressed_unary": [0, True],
    "client_streaming": [0, str(sum(SIZES))],
    "client_compressed_streaming": [0, str(sum(SIZES))],
    "server_streaming": [0, SIZES],
    "server_compressed_streaming": [0, SIZES],
    "ping_pong": [0, SIZES],
    "empty_stream": [0, []],
    "unary_metadata": [0, INITIAL, TRAILING],
    "stream_metadata": [0, INITIAL, TRAILING],
    "status_code_and_message": [2, MESSAGE],
    "special_status_message": [2, SPECIAL],
    "status_behind_a_message": [2, MESSAGE, 1],
    "unimplemented_method": [12],
    "unimplemented_service": [12],
    "cancel_after_begin": [1],
    "cancel_after_first_response": [1, 1],
    "timeout_on_sleeping_server": [4],
    "concurrent_large_unary": [[0] * 10, True],
    "many_at_once": [[0] * AT_ONCE],
    "rpc_soak": [[0] * SOAK],
    "channel_soak": [[0] * SOAK],
}
"""The calls; what a client sees of each, its code first."""
COMPRESSED = frozenset(each for each in EXPECTED if "_compressed_" in each)
"""Those of them that grpclib cannot make or answer."""
