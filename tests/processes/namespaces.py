"""Two machines and the wire between them, as network namespaces of this one."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import attrs
import pytest

import meshfilters
from tests.processes.programs import DAEMONS, needed
from tests.processes.waiting import PATIENCE

ROOT = Path(__file__).parents[2]
SITE = Path(meshfilters.__file__).parents[1]
"""Where the packages are: the checkout, or site-packages when the wheel is tested."""

USER = 2102
"""The proxy's. No account is needed for a number."""

NEEDED = ("ip", "nft", "iptables-nft", "iptables-legacy", "curl", "setpriv")

AS_USER = (
    *("setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"),
    # It may have to read a checkout, or a Python, in somebody's private folder.
    *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
)


@attrs.frozen
class Namespace:
    """A machine, as far as its network goes."""

    name: str

    def _argv(self, command: tuple[str, ...], as_user: bool) -> list[str]:
        user = AS_USER if as_user else ()
        return ["ip", "netns", "exec", self.name, *user, *command]

    def run(self, *command: str, as_user: bool = False, text: str = "") -> str:
        """Run a command there to its end; returns what it wrote, both ways out."""
        done = subprocess.run(
            self._argv(command, as_user),
            input=text,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment(),
            timeout=PATIENCE * 2,
        )
        if done.returncode:
            raise subprocess.CalledProcessError(done.returncode, done.args, done.stdout)
        return done.stdout

    @contextmanager
    def running(
        self, *command: str, as_user: bool = False, log: Path | None = None
    ) -> Iterator[subprocess.Popen[str]]:
        """Have a command run there; it is told to end, and made to."""
        errors = log.open("wb") if log is not None else subprocess.DEVNULL
        process = subprocess.Popen(
            self._argv(command, as_user),
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=environment(),
        )
        try:
            yield process
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(PATIENCE)
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()
            if not isinstance(errors, int):
                errors.close()

    def python(self, *arguments: str, as_user: bool = False, text: str = "") -> str:
        return self.run(sys.executable, *arguments, as_user=as_user, text=text)


def environment() -> Mapping[str, str]:
    return {**os.environ, "PATH": DAEMONS, "PYTHONPATH": f"{SITE}:{ROOT}"}


def require() -> None:
    """Go no further where namespaces cannot be had."""
    for each in NEEDED:
        needed(each)
    if os.geteuid() != 0:
        pytest.skip("needs root")
    if not Path("/proc/sys/net/ipv6").is_dir():
        pytest.skip("no IPv6")


@contextmanager
def namespace(word: str) -> Iterator[Namespace]:
    """A new namespace, gone behind the block with all that is in it."""
    made = Namespace(f"tulle-{word}-{os.getpid()}-{secrets.token_hex(3)}")
    try:
        _ip("netns", "add", made.name)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network namespaces: {error.stderr}")
    try:
        _ip("-n", made.name, "link", "set", "lo", "up")
        yield made
    finally:
        _ip("netns", "delete", made.name)


def connect(one: Namespace, other: Namespace, *networks: tuple[str, str]) -> None:
    """Lay a wire, and give both ends an address of each network."""
    cable = ("type", "veth", "peer", "name", "eth0", "netns", other.name)
    _ip("-n", one.name, "link", "add", "eth0", *cable)
    for place, end in enumerate((one, other)):
        for network in networks:
            address = network[place]
            # Without it, IPv6 first asks whether anybody else has the address.
            flags = ("nodad",) if ":" in address else ()
            _ip("-n", end.name, "address", "add", address, "dev", "eth0", *flags)
        _ip("-n", end.name, "link", "set", "eth0", "up")


def add_address(end: Namespace, other: Namespace, address: str) -> None:
    """Give one end an address that the other has to be told the way to."""
    _ip("-n", end.name, "address", "add", address, "dev", "eth0")
    _ip("-n", other.name, "route", "add", address, "dev", "eth0")


def _ip(*arguments: str) -> None:
    subprocess.run(
        ["ip", *arguments],
        check=True,
        capture_output=True,
        text=True,
        env=environment(),
        timeout=PATIENCE,
    )
