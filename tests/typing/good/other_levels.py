"""Filters of connections and of dialling."""

from __future__ import annotations

import attrs
import trio

from meshfilters.api import Configured, ConnectionFilter, DialFilter, Service, chain
from meshfilters.env import Env
from meshfilters.errors import ConnectFailed
from meshfilters.exchange import Connection, Endpoint
from meshfilters.stream import Stream


@attrs.frozen
class Patient:
    """A connection filter: its service returns nothing."""

    seconds: float = 5

    def build(self, env: Env) -> ConnectionFilter:
        async def patient(
            connection: Connection, inner: Service[Connection, None], /
        ) -> None:
            with trio.move_on_after(self.seconds):
                await connection.stream.peek(1)
            await inner(connection.with_(connection.stream))

        return patient


@attrs.frozen
class OnlyLoopback:
    """A dial filter: an endpoint in, a stream out."""

    def build(self, env: Env) -> DialFilter:
        async def only_loopback(
            endpoint: Endpoint, inner: Service[Endpoint, Stream], /
        ) -> Stream:
            if not endpoint.address.startswith("127."):
                raise ConnectFailed(endpoint.address)
            return await inner(endpoint)

        return only_loopback


of_connections: Configured[ConnectionFilter] = Patient()
of_dialling: Configured[DialFilter] = OnlyLoopback()


def in_a_chain(env: Env, dial: Service[Endpoint, Stream]) -> Service[Endpoint, Stream]:
    return chain([OnlyLoopback().build(env)], dial)
