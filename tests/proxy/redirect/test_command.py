"""Programs are run with a deadline, and what keeps them from working is told."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from proxy.redirect import command
from proxy.redirect.command import CannotRedirect, Programs, Step, require_privilege


def test_a_step_is_written_as_a_shell_runs_it() -> None:
    assert str(Step(("nft", "-f", "-"), "one\n")) == "nft -f - <<'END'\none\nEND"
    assert str(Step(("nft", "list"))) == "nft list"


def test_a_program_reads_its_text_and_its_output_is_returned() -> None:
    assert Programs().has("cat")
    assert Programs().run(Step(("cat",), "text\n")) == "text\n"


def test_a_program_that_is_not_there_is_named() -> None:
    assert not Programs().has("no-such-program")
    with pytest.raises(CannotRedirect, match="no-such-program is not installed"):
        Programs().run(Step(("no-such-program",)))


def test_what_a_program_complains_of_is_told_in_a_line() -> None:
    failing = Step(("sh", "-c", "echo 'no such'; printf 'not\\n  good\\n' >&2; exit 4"))
    with pytest.raises(CannotRedirect, match=r"^sh: not good$"):
        Programs().run(failing)
    with pytest.raises(CannotRedirect, match=r"^sh: exit code 5$"):
        Programs().run(Step(("sh", "-c", "exit 5")))


def test_a_program_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(*arguments: object, **named: object) -> None:
        raise subprocess.TimeoutExpired("sleep", 30)

    monkeypatch.setattr(subprocess, "run", hang)
    with pytest.raises(CannotRedirect, match=r"sleep: .*timed out after 30 seconds"):
        Programs().run(Step(("sleep", "60")))


def test_the_capability_is_asked_for(tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text("Name:\tsh\nCapEff:\t0000000000001000\nEmpty:\n")
    require_privilege(status)
    status.write_text("Name:\tsh\nCapEff:\t0000000000002fff\n")
    with pytest.raises(CannotRedirect, match=r"NET_ADMIN.*run it as root.*--dry-run"):
        require_privilege(status)


def test_programs_are_found_where_a_users_path_may_not_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "its-name"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.delenv("PATH")
    monkeypatch.setattr(command, "FOLDERS", str(tmp_path))

    assert Programs().has("its-name")
