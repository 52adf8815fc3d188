"""Opening connections: the innermost service of the dial chain."""

from __future__ import annotations

import errno
import os
import socket

import trio

from meshfilters.errors import ConnectFailed, ConnectTimeout, MeshError
from meshfilters.exchange import Endpoint
from meshfilters.stream import Stream
from proxy.chain.pipeline import FORWARD
from proxy.config.address import Unix, parse_address
from proxy.transport.descriptors import OUT, Relieve, nothing_unused
from proxy.transport.readiness import Readiness
from proxy.transport.stream import SocketStream
from proxy.transport.tuning import tune


class Dialer:
    """Connects to one address, over TCP or a UNIX socket."""

    def __init__(
        self,
        readiness: Readiness,
        timeout: float,
        relieve: Relieve = nothing_unused,
    ) -> None:
        self._readiness = readiness
        self._timeout = timeout
        self._relieve = relieve

    async def __call__(self, endpoint: Endpoint, /) -> Stream:
        """A connected stream. Raises ConnectFailed or ConnectTimeout."""
        try:
            # Once a connection, not once a request.
            with trio.fail_after(self._timeout):
                return await self._connect(endpoint)
        except trio.TooSlowError as error:
            detail = f"{endpoint.address} within {self._timeout:g} s"
            raise _ours(ConnectTimeout(detail)) from error
        except OSError as error:
            reason = error.strerror or str(error)
            raise _ours(ConnectFailed(f"{endpoint.address}: {reason}")) from error

    async def _connect(self, endpoint: Endpoint) -> Stream:
        address = parse_address(endpoint.address)
        if isinstance(address, Unix):
            sock = self._socket(socket.AF_UNIX)
            target: str | tuple[str, int] = address.path
        else:
            family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
            sock = self._socket(family)
            target = (address.host, address.port)
        try:
            tune(sock)
            if (code := sock.connect_ex(target)) == errno.EINPROGRESS:
                await trio.lowlevel.wait_writable(sock)
                code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                raise OSError(code, os.strerror(code))
            return SocketStream(sock, self._readiness)
        except BaseException:
            sock.close()
            raise

    def _socket(self, family: socket.AddressFamily) -> socket.socket:
        try:
            return socket.socket(family)
        except OSError as error:
            if error.errno not in OUT or not self._relieve():
                raise
        return socket.socket(family)


def _ours(error: MeshError) -> MeshError:
    error.by = FORWARD
    return error
