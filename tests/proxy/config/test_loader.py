from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest

from proxy.config.loader import load, parse, read_text
from proxy.config.model import ByHost, ByOriginal, Config, Http2, Log, Tracing
from proxy.config.problems import ConfigErrors
from tests.authority import root

if TYPE_CHECKING:
    from tests.proxy.config.conftest import Install

BASE = Path("/base")

FULL = """
version: 1
workers: auto
admin: 127.0.0.1:4191
grace: 5
log: {level: debug, format: json}
tracing: {endpoint: "http://127.0.0.1:4318", ratio: 0.5}
listeners:
  inbound:
    address: ["[::]:4143", "unix:run/app.sock"]
    direction: inbound
    protocol: http1
    to: app
    connection: []
    request: [metrics, {timeout: {head: 10, idle: 60}}]
    http: {max_headers: 50}
    http2: {max_streams: 10, max_age: null}
  by-host:
    address: 127.0.0.1:4140
    protocol: grpc
    detect_timeout: 3
    to: {by: host}
services:
  app: {endpoints: "127.0.0.1:8080", dial: [], pool_size: 0}
  db: {endpoints: [db.local:5432], protocol: http2, http2: {ping_interval: 30}}
"""

SMALL = """
listeners: {{in: {{address: "127.0.0.1:0", to: app, {0}}}}}
services: {{app: {{endpoints: ["127.0.0.1:9"]}}}}
"""


def small(*keys: str) -> Config:
    return parse(SMALL.format(", ".join(keys)), BASE / "mesh.yaml")


def words(config: Config) -> list[str]:
    [listener] = config.listeners.values()
    return [each.name for each in listener.request]


def told(text: str) -> list[str]:
    with pytest.raises(ConfigErrors) as raised:
        parse(textwrap.dedent(text), BASE / "mesh.yaml")
    file = f"{BASE / 'mesh.yaml'}:"
    return [str(each).removeprefix(file) for each in raised.value.problems]


def told_small(*keys: str) -> list[str]:
    return told(SMALL.format(", ".join(keys)))


def test_a_file_becomes_a_configuration() -> None:
    config = parse(FULL, BASE / "mesh.yaml")
    inbound, by_host = config.listeners.values()
    app, db = config.services.values()

    assert (config.workers, config.admin, config.grace) == ("auto", "127.0.0.1:4191", 5)
    assert config.log == Log("debug", "json")
    assert config.tracing == Tracing("http://127.0.0.1:4318", ratio=0.5)
    assert (inbound.name, inbound.direction, inbound.to) == (
        "inbound",
        "inbound",
        "app",
    )
    assert inbound.address == ("[::]:4143", "unix:/base/run/app.sock")
    assert inbound.http.max_headers == 50
    assert inbound.http2 == Http2(max_streams=10, max_age=None)
    assert (by_host.protocol, by_host.detect_timeout) == ("grpc", 3)
    assert [each.name for each in inbound.request] == ["metrics", "timeout"]
    assert attrs.asdict(inbound.request[1].settings)["head"] == 10
    assert by_host.to == ByHost()
    assert (app.name, app.endpoints, app.pool_size) == ("app", ("127.0.0.1:8080",), 0)
    assert (db.endpoints, db.protocol) == (("db.local:5432",), "http2")
    assert (app.protocol, db.http2) == ("auto", Http2(ping_interval=30))


def test_equal_files_make_equal_configurations() -> None:
    assert parse(FULL, BASE / "a") == parse(FULL, BASE / "b")


@pytest.mark.parametrize(
    ("keys", "chain"),
    [
        (["direction: outbound"], ["metrics", "trace", "timeout", "retry"]),
        ([], ["metrics", "trace", "timeout", "retry"]),
        (["direction: inbound"], ["metrics", "trace", "timeout"]),
        (["protocol: http1"], ["metrics", "trace", "timeout", "retry"]),
        (["protocol: grpc"], ["metrics", "trace", "timeout", "retry"]),
        (["protocol: opaque"], []),
        (["protocol: tls"], []),
        (["request: []"], []),
        (["request: [{timeout: }]"], ["timeout"]),
    ],
)
def test_a_listener_that_names_no_filters_has_the_default_ones(
    keys: list[str], chain: list[str]
) -> None:
    assert words(small(*keys)) == chain


def test_a_filter_may_stand_twice() -> None:
    config = small("request: [{headers: {}}, timeout, {headers: {}}]")

    assert words(config) == ["headers", "timeout", "headers"]


def test_a_misspelt_chain_is_told_where_the_default_one_stands_in() -> None:
    assert told("""\
        listeners: {in: {address: "[::]:80", to: app, requests: [metrics]}}
        services: {app: {endpoints: ["[::1]:80"]}}
        """) == ["1: listeners.in.requests: a list: unknown key; did you mean request?"]


def test_everything_wrong_is_told_at_once_in_the_order_of_the_lines() -> None:
    assert told("""\
        worker: 2
        admin: 4191
        listeners:
          in:
            address: ":80"
            to: ap
            direction: sideways
            http: {max_headers: 0, keep_alive: long}
            request:
              - {timeout: {head: ten, idle: -1, rquest: 3}}
              - metrics
              - {split: {weights: {app: 9, ap: 1}}}
              - retri
          raw: {address: "unix:", protocol: tcp, to: {by: hosts}}
          none: 7
        services:
          app: {endpoints: [localhost, "[::1]:80"], dial: {tls: }}
          empty: {endpoints: []}
        """) == [
        "1: worker: 2: unknown key; did you mean workers?",
        "2: admin: 4191: expected an address: host:port, [v6]:port or unix:/path",
        '5: listeners.in.address: ":80": expected a host before the colon: '
        "0.0.0.0:80 or [::]:80",
        '6: listeners.in.to: "ap": no service is named ap; did you mean app?',
        '7: listeners.in.direction: "sideways": expected "inbound" or "outbound"',
        '8: listeners.in.http.keep_alive: "long": expected a number',
        "8: listeners.in.http.max_headers: 0: must be >= 1",
        '10: listeners.in.request[0].timeout.head: "ten": expected a number or null',
        "10: listeners.in.request[0].timeout.rquest: 3: unknown key; "
        "did you mean request?",
        "10: listeners.in.request[0].timeout.idle: -1: must be > 0.0",
        '11: listeners.in.request[1]: "metrics": metrics must be listed before '
        "timeout: a request that timed out is still counted",
        "12: listeners.in.request[2].split: a map: no service is named ap; "
        "did you mean app?",
        '13: listeners.in.request[3]: "retri": no such request filter is installed; '
        "did you mean retry?; installed: access_log, headers, identity, metrics, "
        "retry, split, timeout, trace",
        '14: listeners.raw.address: "unix:": expected a path behind unix:',
        '14: listeners.raw.protocol: "tcp": expected opaque, which tcp was renamed to',
        "14: listeners.raw.to: a map: expected a service's name, {by: host} or {by: original}",
        "15: listeners.none: 7: expected a map",
        '17: services.app.endpoints[0]: "localhost": expected host:port, [v6]:port '
        "or unix:/path; the port is missing",
        "17: services.app.dial: a map: expected a list of filters",
        "18: services.empty.endpoints: an empty list: expected at least one endpoint",
    ]


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("", [" the file is empty: expected listeners and services"]),
        ("{}", ["1: listeners: expected at least one listener"]),
        (
            "just words",
            [
                '1: "just words": expected a map',
                "1: listeners: expected at least one listener",
            ],
        ),
        (
            "listeners: []\nservices: []",
            [
                "1: listeners: an empty list: expected a map with a key for each name",
                "1: listeners: an empty list: expected at least one listener",
                "2: services: an empty list: expected a map with a key for each name",
            ],
        ),
        ("a: [\n", ["2: not YAML: did not find expected node content"]),
    ],
)
def test_a_file_that_is_hardly_one_is_told_so(text: str, problems: list[str]) -> None:
    assert told(text) == problems


@pytest.mark.parametrize(
    ("item", "problem"),
    [
        ("7", "7: expected a filter: a word, or a map with one key"),
        ("{}", "an empty map: expected a filter: a word, or a map with one key"),
        ("{7: }", "a map: expected a filter: a word, or a map with one key"),
        (
            "{timeout: , head: 1}",
            "a map: expected a filter: a word, or a map with one key; "
            "indent the settings of timeout further than timeout",
        ),
    ],
)
def test_what_is_no_filter_is_told(item: str, problem: str) -> None:
    assert told_small(f"request: [{item}]") == [
        f"2: listeners.in.request[0]: {problem}"
    ]


def test_a_default_filter_that_is_not_installed_is_told_at_its_listener(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = {"inbound": (), "outbound": ("gone",)}
    monkeypatch.setattr("proxy.config.loader.DEFAULT_REQUEST", words)
    [problem] = told_small()

    assert problem.startswith("2: listeners.in: a map: no such request filter is")


@pytest.mark.parametrize("protocol", ["htpt", "[http1]", "1", "null"])
def test_a_wrong_protocol_is_one_problem(protocol: str) -> None:
    [problem] = told_small(f"protocol: {protocol}", "request: [metrics]")

    assert problem.endswith(
        'expected "detect" or "http1" or "http2" or "grpc" or "tls" or "opaque"'
    )


def test_a_wrong_direction_gets_no_chain_and_one_problem() -> None:
    assert len(told_small("direction: up")) == 1


def test_a_unix_path_that_is_too_long_beside_the_file_is_told() -> None:
    [problem] = told(
        f"listeners: {{in: {{address: 'unix:{'p' * 107}', to: app}}}}\n"
        "services: {app: {endpoints: ['127.0.0.1:9']}}"
    )

    assert "at most 107 bytes" in problem


def test_a_filter_that_cannot_be_imported_fails_with_its_name_and_traceback(
    install: Install,
) -> None:
    install("idle", "idle_filter", "import nothing_of_that_name")
    with pytest.raises(ConfigErrors) as raised:
        small("request: [idle]")
    [problem] = raised.value.problems

    assert raised.value.exit_code == 3
    assert "filter idle: idle_filter:Filter cannot be imported" in problem.wanted
    assert "No module named 'nothing_of_that_name'" in problem.detail


def test_a_plugin_is_a_filter_as_any_other(install: Install) -> None:
    install("idle", "idle_filter")
    config = small("request: [idle, {idle: {limit: 5}}]")
    [listener] = config.listeners.values()

    limits = [attrs.asdict(each.settings)["limit"] for each in listener.request]
    assert limits == [3, 5]
    assert told_small("request: [{idle: {limit: many}}]") == [
        '2: listeners.in.request[0].idle.limit: "many": expected a whole number'
    ]


def test_a_filters_missing_file_is_told_by_its_key(tmp_path: Path) -> None:
    text = SMALL.format("connection: [{tls: {certificate: a.pem, key: a.key}}]")
    with pytest.raises(ConfigErrors) as raised:
        parse(text, tmp_path / "mesh.yaml")

    assert [(each.path, each.wanted) for each in raised.value.problems] == [
        (f"listeners.in.connection[0].tls.{key}", f"{tmp_path / name} does not exist")
        for key, name in (("certificate", "a.pem"), ("key", "a.key"))
    ]


def test_a_file_is_loaded_from_disk(tmp_path: Path) -> None:
    file = tmp_path / "mesh.yaml"
    file.write_text(FULL)

    assert load(file).listeners["inbound"].address[1] == f"unix:{tmp_path}/run/app.sock"


def test_no_admin_may_be_written_out() -> None:
    config = parse("admin: null\n" + SMALL.format("backlog: 1"), BASE / "f")

    assert config.admin is None


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda file: None, "no such file"),
        (lambda file: file.mkdir(), "a directory: expected a YAML file"),
        (
            lambda file: file.write_bytes(b"\xff\xfe\x00"),
            "not a text file: expected YAML in UTF-8",
        ),
        (
            lambda file: file.symlink_to(file),
            "cannot be read: Too many levels of symbolic links",
        ),
    ],
)
def test_a_file_that_cannot_be_read_is_one_sentence(
    make: object, sentence: str, tmp_path: Path
) -> None:
    file = tmp_path / "mesh.yaml"
    assert callable(make)
    make(file)

    with pytest.raises(ConfigErrors) as raised:
        read_text(file)
    assert str(raised.value) == f"{file}: {sentence}"


def test_what_files_hold_is_looked_at_when_asked(tmp_path: Path) -> None:
    authority = root()
    certificate, _ = authority.issue(dns=["app.test"]).write(tmp_path, "one")
    _, key = authority.issue(dns=["app.test"]).write(tmp_path, "two")
    chain = f"connection: [{{tls: {{certificate: {certificate}, key: {key}}}}}]"
    text = SMALL.format(chain)

    parse(text, tmp_path / "mesh.yaml")
    with pytest.raises(ConfigErrors) as raised:
        parse(text, tmp_path / "mesh.yaml", looks_inside=True)

    [problem] = raised.value.problems
    assert problem.path == "listeners.in.connection[0].tls"


ORIGINALS = """
listeners: {{out: {{address: "127.0.0.1:4140", to: {{by: original}}}}}}
services: {{api: {{endpoints: ["api.local:80"], addresses: {0}}}}}
"""


def test_original_addresses_are_read_as_one_or_several() -> None:
    one = parse(ORIGINALS.format('"10.0.0.7:80"'), BASE / "f")
    several = parse(ORIGINALS.format('["10.0.0.7:80", "[FD00::7]:80"]'), BASE / "f")

    assert one.listeners["out"].to == ByOriginal()
    assert one.services["api"].addresses == ("10.0.0.7:80",)
    assert several.services["api"].addresses == ("10.0.0.7:80", "[fd00::7]:80")


def test_original_addresses_that_are_none_are_told() -> None:
    with pytest.raises(ConfigErrors) as raised:
        parse(ORIGINALS.format('["10.0.0.7:80", "api.local:80", 80]'), BASE / "f")

    assert [(each.path, each.wanted[:25]) for each in raised.value.problems] == [
        ("services.api.addresses[1]", "expected an IP address an"),
        ("services.api.addresses[2]", "expected host:port, [v6]:"),
    ]
