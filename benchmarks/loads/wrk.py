"""HTTP/1.1 as fast as it goes, by wrk."""

from __future__ import annotations

import re
import subprocess

import attrs

from benchmarks.loads.load import Done, Failed, Target

TOLERATED = 1e-3
"""Errors a request: more of them, and it is not this load that was measured."""
UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


@attrs.frozen
class Wrk:
    """GET a path, or POST ``body`` bytes, on so many connections."""

    connections: int = 64
    path: str = "/"
    body: int = 0
    is_new_each: bool = False
    """Whether each request has a connection of its own."""

    def __call__(self, target: Target, seconds: int) -> Done:
        script = target.folder / "wrk.lua"
        script.write_text(self._script())
        command = ["wrk", "-t", "1", "-c", str(self.connections), "-d", f"{seconds}s"]
        command += ["--timeout", "10s", "-s", str(script)]
        command.append(f"http://127.0.0.1:{target.port}{self.path}")
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return parse(done.stdout)

    def _script(self) -> str:
        lines = []
        if self.body:
            lines = ['wrk.method = "POST"', f'wrk.body = string.rep("x", {self.body})']
        if self.is_new_each:
            lines.append('wrk.headers["Connection"] = "close"')
        return "\n".join(lines) + "\n"


def parse(output: str) -> Done:
    """The requests and seconds in wrk's words; raises ``Failed`` over errors."""
    counted = re.search(r"(\d+) requests in ([\d.]+)([a-z]+),", output)
    if counted is None:
        raise Failed("wrk said nothing of requests")
    requests = int(counted.group(1))
    errors = sum(int(each) for each in re.findall(r"responses: (\d+)", output))
    for line in re.findall(r"Socket errors: (.*)", output):
        errors += sum(int(each) for each in re.findall(r"\d+", line))
    if requests == 0 or errors > TOLERATED * requests:
        raise Failed(f"{errors} errors in {requests} requests")
    return Done(requests, float(counted.group(2)) * UNITS[counted.group(3)])
