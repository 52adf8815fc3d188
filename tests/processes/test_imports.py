"""What a process does not import, it does not keep in memory. Megabytes, each of them."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = (
    *("OpenSSL", "cryptography", "opentelemetry", "rich", "requests", "asyncio"),
    *("ngh2", "h2", "hyperframe", "email", "importlib.metadata", "difflib"),
)

COMMAND = """
import importlib, sys
importlib.import_module(sys.argv[1])
print(*(name for name in sys.argv[2:] if name in sys.modules))
"""


def loaded_by(module: str) -> list[str]:
    """Which of the heavy packages are there once ``module`` is imported."""
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, module, *HEAVY],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout.split()


pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "module", ["proxy.supervisor.supervisor", "proxy.config.loader", "tulle.proxy"]
)
def test_what_every_worker_is_forked_from_brings_nothing_heavy(module: str) -> None:
    assert loaded_by(module) == []


@pytest.mark.parametrize(
    "word",
    [
        *("access_log", "headers", "identity", "metrics", "retry"),
        *("split", "timeout", "tls", "trace"),
    ],
)
def test_a_filter_brings_nothing_heavy_before_it_is_built(word: str) -> None:
    assert loaded_by(f"meshfilters.{word}") == []
