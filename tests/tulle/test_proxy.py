from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from click.testing import CliRunner, Result

from meshfilters.errors import ConfigError
from proxy.config import parse
from tulle.cli import main

Run = Callable[[str, Path | None], int]


class Supervisor:
    """Stands for ``proxy.supervisor.supervisor``: remembers what it was to run."""

    def __init__(self) -> None:
        self.ran: list[tuple[str, Path | None]] = []
        self.outcome: int | ConfigError = 0

    def run(self, text: str, path: Path | None) -> int:
        self.ran.append((text, path))
        if isinstance(self.outcome, ConfigError):
            raise self.outcome
        return self.outcome


@pytest.fixture
def supervisor(monkeypatch: pytest.MonkeyPatch) -> Supervisor:
    stands_in = Supervisor()
    module = ModuleType("proxy.supervisor.supervisor")
    module.__dict__["run"] = stands_in.run
    monkeypatch.setitem(sys.modules, "proxy.supervisor.supervisor", module)
    return stands_in


def proxy(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["proxy", *arguments])


def test_a_file_is_run_with_its_path(supervisor: Supervisor, tmp_path: Path) -> None:
    file = tmp_path / "mesh.yaml"
    file.write_text("version: 1\n")
    result = proxy("-c", str(file))

    assert result.exit_code == 0
    assert supervisor.ran == [("version: 1\n", file)]


def test_a_listener_and_a_target_need_no_file(supervisor: Supervisor) -> None:
    result = proxy("--listen", "127.0.0.1:0", "--to", "127.0.0.1:9000")
    [(text, path)] = supervisor.ran

    assert result.exit_code == 0
    assert path is None
    assert parse(text, Path("f")).listeners["proxy"].address == ("127.0.0.1:0",)


def test_the_exit_code_is_the_supervisors(supervisor: Supervisor) -> None:
    supervisor.outcome = 3

    assert proxy("--listen", "127.0.0.1:0", "--to", "127.0.0.1:9").exit_code == 3


def test_a_wrong_configuration_is_told_without_a_traceback(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    file = tmp_path / "mesh.yaml"
    file.write_text("versoin: 1\n")
    with pytest.raises(ConfigError) as raised:
        parse(file.read_text(), file)
    supervisor.outcome = raised.value
    result = proxy("-c", str(file))

    assert result.exit_code == 2
    assert result.stderr == f"{raised.value}\n"


def test_any_other_error_of_configuration_is_exit_code_2(
    supervisor: Supervisor,
) -> None:
    supervisor.outcome = ConfigError("key.pem is not the certificate's")
    result = proxy("--listen", "127.0.0.1:0", "--to", "127.0.0.1:9")

    assert result.exit_code == 2
    assert result.stderr == "key.pem is not the certificate's\n"


def test_the_file_that_is_stood_for_can_be_printed(supervisor: Supervisor) -> None:
    result = proxy(
        *("--listen", "[::]:80", "--to", "tcp://db.local:5432"),
        *("--admin", "127.0.0.1:4191", "--workers", "2", "--print-config"),
    )

    assert supervisor.ran == []
    assert yaml.safe_load(result.output) == {
        "version": 1,
        "workers": 2,
        "admin": "127.0.0.1:4191",
        "listeners": {
            "proxy": {"address": "[::]:80", "protocol": "opaque", "to": "upstream"}
        },
        "services": {"upstream": {"endpoints": ["db.local:5432"]}},
    }


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "give -c FILE, or --listen and --to"),
        (["--listen", "127.0.0.1:80"], "give -c FILE, or --listen and --to"),
        (["-c", "f", "--workers", "2"], "-c says everything"),
        (["-c", "f", "--print-config"], "-c says everything"),
        (["--listen", ":80", "--to", "a:1"], "'--listen': ':80': expected a host"),
        (["--listen", "a:1", "--to", "a:1/x"], "--to: 'a:1/x': expected an address"),
        (["--admin", "x"], "'--admin': 'x': expected host:port"),
        (["--workers", "0"], "'--workers': 0 is not in the range"),
    ],
)
def test_a_wrong_command_line_is_told(
    arguments: list[str], sentence: str, supervisor: Supervisor
) -> None:
    result = proxy(*arguments)

    assert result.exit_code == 2
    assert sentence in result.stderr
    assert supervisor.ran == []


def test_a_file_that_cannot_be_read_is_one_sentence(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    result = proxy("-c", str(tmp_path))

    assert result.exit_code == 2
    assert result.stderr == f"{tmp_path}: a directory: expected a YAML file\n"


def test_a_supervisor_that_executes_itself_anew_needs_no_arguments(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TULLE_RESUME", "7")

    assert proxy().exit_code == 0
    assert supervisor.ran == [("", None)]
