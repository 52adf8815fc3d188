from __future__ import annotations

from pathlib import Path

import pytest

from meshfilters.trace import Trace
from proxy.config import parse

TEXT = """
version: 1
tracing: {{ratio: 0.25}}
listeners: {{in: {{address: "127.0.0.1:1", to: app, request: [{chain}]}}}}
services: {{app: {{endpoints: ["127.0.0.1:2"]}}}}
"""


@pytest.mark.parametrize(
    ("chain", "ratio"), [("trace", 0.25), ("{trace: {ratio: 0.5}}", 0.5)]
)
def test_a_trace_without_a_ratio_takes_that_of_the_file(
    chain: str, ratio: float
) -> None:
    config = parse(TEXT.format(chain=f"metrics, {chain}"), Path("mesh.yaml"))

    settings = [each.settings for each in config.listeners["in"].request]
    assert settings[1] == Trace(ratio=ratio)
