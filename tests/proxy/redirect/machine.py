"""A machine of which a test says what is installed, and what its programs answer."""

from __future__ import annotations

from proxy.redirect.command import CannotRedirect, Programs, Step


class Machine(Programs):
    """Runs nothing; remembers what it was to run."""

    def __init__(self, *installed: str) -> None:
        self.installed = set(installed)
        self.answers: dict[str, str | CannotRedirect] = {}
        """By the start of the command."""
        self.ran: list[Step] = []

    def has(self, program: str) -> bool:
        return program in self.installed

    def run(self, step: Step) -> str:
        assert step.argv[0] in self.installed
        self.ran.append(step)
        command = " ".join(step.argv)
        for start, answer in self.answers.items():
            if command.startswith(start):
                if isinstance(answer, CannotRedirect):
                    raise answer
                return answer
        return ""

    @property
    def changes(self) -> list[str]:
        """What changed the rules, without what only looked."""
        return [step.text for step in self.ran if step.text]


def iptables(suffix: str = "") -> list[str]:
    """The programs that belong together under one name."""
    return [
        f"{family}{suffix}{verb}"
        for family in ("iptables", "ip6tables")
        for verb in ("", "-restore", "-save")
    ]
