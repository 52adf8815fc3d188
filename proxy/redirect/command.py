"""Running the programs that change the kernel's rules, and what keeps them from it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import attrs

NET_ADMIN = 12
"""CAP_NET_ADMIN, see capabilities(7)."""

STATUS = Path("/proc/self/status")

PATIENCE = 30.0
"""Seconds for one program; the lock of legacy iptables alone may take five."""

FOLDERS = "/usr/sbin:/sbin:/usr/local/sbin"
"""Where these programs are, and a user's PATH may not go."""


class CannotRedirect(Exception):
    """The rules cannot be put in place; one sentence for people, and what to do."""


@attrs.frozen
class Step:
    """One program to run, and what it reads."""

    argv: tuple[str, ...]
    text: str = ""

    def __str__(self) -> str:
        """As a shell would run it."""
        command = " ".join(self.argv)
        return f"{command} <<'END'\n{self.text}END" if self.text else command


class Programs:
    """The machine's programs. Tests have a script in its place."""

    def has(self, program: str) -> bool:
        """Whether the program is installed."""
        return self._found(program) is not None

    def run(self, step: Step) -> str:
        """Run it to its end and return what it wrote. Raises CannotRedirect."""
        program, *arguments = step.argv
        found = self._found(program)
        if found is None:
            raise CannotRedirect(f"{program} is not installed")
        try:
            done = subprocess.run(
                [found, *arguments],
                input=step.text,
                capture_output=True,
                text=True,
                timeout=PATIENCE,
                env={**os.environ, "LC_ALL": "C"},
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise CannotRedirect(f"{program}: {error}") from error
        if done.returncode:
            said = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
            raise CannotRedirect(f"{program}: {said}")
        return done.stdout

    def _found(self, program: str) -> str | None:
        return shutil.which(program, path=f"{os.environ.get('PATH', '')}:{FOLDERS}")


def require_privilege(status: Path = STATUS) -> None:
    """Raise CannotRedirect unless this process may change the rules."""
    fields = dict(
        line.split(":\t", 1)
        for line in status.read_text().splitlines()
        if ":\t" in line
    )
    if not int(fields["CapEff"], 16) >> NET_ADMIN & 1:
        raise CannotRedirect(
            "changing the rules needs the capability NET_ADMIN, which this process does "
            "not have: run it as root, or give its container the capabilities NET_ADMIN "
            "and NET_RAW; --dry-run needs neither"
        )
