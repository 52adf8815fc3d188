"""Configurations of one listener and one service."""

from __future__ import annotations

from pathlib import Path

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
