from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner, Result

from tulle.cli import main

RIGHT = """
listeners:
  in:
    address: 127.0.0.1:8080
    direction: inbound
    connection: [{tls: {mode: passthrough}}]
    request: [metrics, timeout]
    to: app
  original: {address: "127.0.0.1:4140", to: {by: original}, request: []}
  by-host: {address: "127.0.0.1:8081", protocol: grpc, to: {by: host}, request: []}
services:
  app: {endpoints: ["127.0.0.1:9000", "127.0.0.1:9001"], dial: [tls]}
  api: {endpoints: ["127.0.0.1:9002"], protocol: http2, addresses: ["10.0.0.7:80"]}
"""


def check(file: Path) -> Result:
    return CliRunner().invoke(main, ["check", "-c", str(file)])


def test_a_file_that_is_right_is_told_in_words(tmp_path: Path) -> None:
    file = tmp_path / "mesh.yaml"
    file.write_text(RIGHT)
    result = check(file)

    assert result.exit_code == 0, result.output
    assert result.output.splitlines() == [
        f"{file}: ok",
        "listener in: detect, inbound, 127.0.0.1:8080",
        "  connection: tls",
        "  request: metrics > timeout",
        "  to: app",
        "listener original: detect, outbound, 127.0.0.1:4140",
        "  to: the service that has the original address, or the address itself",
        "listener by-host: grpc, outbound, 127.0.0.1:8081",
        "  to: the service named by Host",
        "service app: 127.0.0.1:9000, 127.0.0.1:9001",
        "  dial: tls",
        "service api: http2, 127.0.0.1:9002",
        "  addresses: 10.0.0.7:80",
        "workers: 1",
        "admin: none",
    ]


def test_each_problem_is_a_line_and_the_exit_code_is_2(tmp_path: Path) -> None:
    file = tmp_path / "mesh.yaml"
    file.write_text(RIGHT.replace("to: app", "to: ap").replace("8081", "808l"))
    result = check(file)

    assert result.exit_code == 2
    assert result.stdout.splitlines() == [
        f'{file}:8: listeners.in.to: "ap": no service is named ap; did you mean app?',
        f'{file}:10: listeners.by-host.address: "127.0.0.1:808l": expected a port '
        'from 0 to 65535 behind the colon, not "808l"',
    ]
    assert result.stderr == f"2 problems in {file}\n"


def test_a_file_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    result = check(tmp_path / "mesh.yaml")

    assert result.exit_code == 2
    assert result.stdout == f"{tmp_path / 'mesh.yaml'}: no such file\n"
    assert result.stderr == f"1 problem in {tmp_path / 'mesh.yaml'}\n"


def test_a_filter_whose_code_fails_is_exit_code_3(tmp_path: Path) -> None:
    file = tmp_path / "mesh.yaml"
    file.write_text(RIGHT.replace("[metrics, timeout]", "['nowhere.at_all:Filter']"))
    result = check(file)

    assert result.exit_code == 3
    assert "ModuleNotFoundError: No module named 'nowhere'" in result.stdout


def test_without_a_file_there_is_nothing_to_check() -> None:
    result = CliRunner().invoke(main, ["check"])

    assert result.exit_code == 2
    assert "Missing option '-c'" in result.output
