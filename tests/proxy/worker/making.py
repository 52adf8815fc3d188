"""Configurations of one listener and one service, and filters to put into them."""

from __future__ import annotations

from pathlib import Path

import attrs

from meshfilters.api import RequestFilter, Service
from meshfilters.env import Env
from meshfilters.errors import ConfigError
from meshfilters.message import Request, Response
from proxy.config import parse
from proxy.config.model import Config

FILE = """
version: 1
listeners:
  web: {{address: 127.0.0.1:4143, to: {to}, protocol: {protocol}, request: [{chain}]}}
services:
  app: {{endpoints: ["127.0.0.1:9000"]{service}}}
"""


def config(
    *, to: str = "app", protocol: str = "detect", chain: str = "", service: str = ""
) -> Config:
    """A configuration, with the rest as users have it by default."""
    text = FILE.format(to=to, protocol=protocol, chain=chain, service=service)
    return parse(text, Path("mesh.yaml"))


@attrs.frozen
class Noting:
    """A request filter that notes being closed."""

    closed: list[str] = attrs.field(eq=False)

    def build(self, env: Env) -> RequestFilter:
        env.on_close(lambda: self.closed.append(env.listener))

        async def note(
            request: Request, inner: Service[Request, Response], /
        ) -> Response:
            return await inner(request)

        return note


@attrs.frozen
class Unbuildable:
    """A filter that is refused."""

    def build(self, env: Env) -> RequestFilter:
        raise ConfigError("no such key")
