"""``python -m tests.soak``: mixed traffic for minutes, memory and descriptors watched.

Ends with 1 when a request failed that should not have, or when a process of the proxy's
holds more than it did after the first fifth of the time.
"""

from __future__ import annotations

import random
import re
import signal
import ssl
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import attrs
import click
import httpx

from tests.authority import API, WEB, root
from tests.processes.nginx import nginx
from tests.processes.origin import Origin
from tests.processes.talk import echoing
from tests.soak.traffic import Traffic
from tests.wire.running import Running, free_ports, running

MESH = """\
version: 1
workers: 2
admin: "127.0.0.1:{admin}"
log: {{level: warning}}
listeners:
  web: {{address: "127.0.0.1:{web}", to: app,
         request: [metrics, trace, {{timeout: {{head: {head}}}}}, retry]}}
  nginx: {{address: "127.0.0.1:{nginx}", to: nginx}}
  echo: {{address: "127.0.0.1:{echo}", to: echo}}
  lost: {{address: "127.0.0.1:{lost}", to: lost}}
  tcp: {{address: "127.0.0.1:{tcp}", protocol: opaque, to: app}}
  tls:
    address: "127.0.0.1:{tls}"
    direction: inbound
    to: app
    connection: [{{tls: {{certificate: api.pem, key: api.key, clients: roots.pem}}}}]
    request: [metrics, trace, identity, timeout]
services:
  app: {{endpoints: ["127.0.0.1:{app}"]}}
  nginx: {{endpoints: ["127.0.0.1:{fast}"]}}
  echo: {{endpoints: ["127.0.0.1:{echoing}"]}}
  lost: {{endpoints: ["127.0.0.1:{nobody}"]}}
"""
LISTENERS = ("web", "nginx", "echo", "lost", "tcp", "tls")
RELOAD = 5.0
"""Seconds from one change of the file to the next."""
SETTLE = 10.0
SPARE = 12 * 1024 * 1024
"""Bytes a process may have grown by: its allocator's slack, not a leak's."""
SPARE_FILES = 150
"""What pools and connections under way may differ by."""


@attrs.frozen
class Sample:
    """What one process holds."""

    resident: int
    files: int


def sample(pid: int) -> Sample:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return Sample(pages * 4096, len(list(Path(f"/proc/{pid}/fd").iterdir())))


@attrs.define
class Soak:
    """The clients, what they did, and what went wrong."""

    traffic: Callable[[], Traffic]
    over: threading.Event = attrs.field(factory=threading.Event)
    done: Counter[str] = attrs.field(factory=Counter)
    failed: Counter[str] = attrs.field(factory=Counter)

    def client(self) -> None:
        traffic = self.traffic()
        kinds = list(traffic.kinds().items())
        while not self.over.is_set():
            name, act = traffic.random.choice(kinds)
            try:
                act()
            except Exception as error:
                self.failed[f"{name}: {type(error).__name__} {error}"[:160]] += 1
            else:
                self.done[name] += 1


def write_mesh(folder: Path, ports: dict[str, int], turn: int) -> None:
    """Another file each time: the chains of ``web`` change with it."""
    text = MESH.format(**ports, head=30 + turn % 7)
    (folder / "mesh.new").write_text(text)
    (folder / "mesh.new").replace(folder / "mesh.yaml")


def watch(
    proxy: Running, soak: Soak, seconds: float, reload: Callable[[int], None]
) -> list[dict[int, Sample]]:
    """Change the file, look at the processes, print a line, until the time is over."""
    samples = []
    begun = time.monotonic()
    with suppress(KeyboardInterrupt):
        for turn in range(int(seconds / RELOAD)):
            reload(turn)
            if turn % 2:
                proxy.process.send_signal(signal.SIGHUP)
            soak.over.wait(begun + (turn + 1) * RELOAD - time.monotonic())
            held = {pid: sample(pid) for pid in {proxy.process.pid, *proxy.workers}}
            samples.append(held)
            shown = "  ".join(
                f"{pid} {each.resident / 2**20:.1f} MiB {each.files} fds"
                for pid, each in sorted(held.items())
            )
            click.echo(
                f"{(turn + 1) * RELOAD:5.0f} s  {soak.done.total()} done"
                f" {soak.failed.total()} failed  {shown}"
            )
    return samples


def judge(samples: list[dict[int, Sample]]) -> list[str]:
    """What a process holds more of at the end than when it was warm."""
    warm, last = samples[len(samples) // 5], samples[-1]
    if warm.keys() != last.keys():
        return [f"processes came and went: {sorted(warm)}, {sorted(last)}"]
    grown = [pid for pid in last if last[pid].resident > warm[pid].resident + SPARE]
    opened = [pid for pid in last if last[pid].files > warm[pid].files + SPARE_FILES]
    return [f"{pid} grew" for pid in grown] + [f"{pid} keeps files" for pid in opened]


def left(admin: int) -> list[str]:
    """What connections the workers hold a while after the last client has gone."""
    end = time.monotonic() + SETTLE
    while True:
        page = httpx.get(f"http://127.0.0.1:{admin}/stats").text
        # A pool keeps its idle connections for seconds only.
        busy = [each for each in re.findall(r"(\d+) active", page) if each != "0"]
        busy += re.findall(r'"active": [1-9]\d*', page)
        if not busy or time.monotonic() > end:
            return [f"still active: {page}"] if busy else []
        time.sleep(0.1)


def tls_client(folder: Path) -> ssl.SSLContext:
    """Make certificates for the proxy and for a client of its."""
    authority = root()
    authority.write(folder)
    authority.issue(uris=[API], dns=["api.test"]).write(folder, "api")
    certificate, key = authority.issue(uris=[WEB]).write(folder, "web")
    context = ssl.create_default_context(cafile=str(folder / "roots.pem"))
    context.load_cert_chain(certificate, key)
    return context


@click.command()
@click.option("--seconds", default=600.0, show_default=True)
@click.option("--clients", default=12, show_default=True)
def main(seconds: float, clients: int) -> None:
    """Put mixed traffic through a proxy of two workers whose file keeps changing."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        context = tls_client(folder)
        names = (*LISTENERS, "admin", "nobody")
        listening = dict(zip(names, free_ports(len(names)), strict=True))
        ports = {
            **listening,
            "app": stack.enter_context(Origin()).port,
            "fast": stack.enter_context(nginx(folder)),
            "echoing": stack.enter_context(echoing()),
        }
        write_mesh(folder, ports, 0)
        soak = Soak(lambda: Traffic(ports, context, random.Random()))
        proxy = stack.enter_context(
            running(
                ["-c", str(folder / "mesh.yaml")],
                [ports[name] for name in LISTENERS],
                folder / "proxy.log",
            )
        )
        threads = [threading.Thread(target=soak.client) for _ in range(clients)]
        for thread in threads:
            thread.start()
        try:
            samples = watch(
                proxy, soak, seconds, lambda turn: write_mesh(folder, ports, turn)
            )
        finally:
            soak.over.set()
            for thread in threads:
                thread.join()
        for name, count in sorted(soak.done.items()):
            click.echo(f"{count:8} {name}")
        for reason, count in soak.failed.most_common(20):
            click.echo(f"{count:8} FAILED {reason}")
        click.echo((folder / "proxy.log").read_text()[-4000:])
        wrong = judge(samples) + left(ports["admin"])
        click.echo("\n".join(wrong) or "memory and descriptors are flat")
        sys.exit(bool(wrong or soak.failed))


if __name__ == "__main__":
    main()
