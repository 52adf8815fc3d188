"""Traffic that the kernel redirects, in namespaces: it passes the proxy and arrives."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import attrs
import pytest

from tests.processes import namespaces
from tests.processes.far_end import ECHO, GREETS
from tests.processes.namespaces import USER, Namespace, add_address, connect, namespace
from tests.processes.programs import needed
from tests.processes.waiting import eventually

pytestmark = pytest.mark.slow

PAGE = namespaces.ROOT / "docs/transparent.md"
BACKENDS = ("nft", "iptables-nft", "iptables-legacy")
HERE, FAR = "10.77.0.1", "10.77.0.2"
HERE6, FAR6 = "fd77::1", "fd77::2"
ELSEWHERE = "10.77.9.2"
METADATA = "169.254.169.254"

MESH = f"""\
version: 1
admin: "0.0.0.0:4191"
listeners:
  outbound:
    address: ["127.0.0.1:4140", "[::1]:4140"]
    to: {{by: original}}
    detect_timeout: 0.2
    request: [metrics, {{headers: {{response: {{set: {{x-by: outbound}}}}}}}}]
  inbound:
    address: "[::]:4143"
    direction: inbound
    to: {{by: original}}
    request: [metrics, {{headers: {{response: {{set: {{x-by: inbound}}}}}}}}]
services:
  named: {{endpoints: ["{FAR}:9090"], addresses: ["{FAR}:9000", "[{FAR6}]:9000"]}}
"""

SEND = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 15) as sock:
    sock.sendall(sys.stdin.buffer.read())
    sys.stdout.write(ascii(sock.recv(100)))
"""


@attrs.frozen
class Answer:
    """What curl got."""

    status: int
    by: str
    """The listener of the proxy that it passed, if it passed one."""
    error: str
    body: str


@attrs.frozen
class World:
    """A machine with a proxy, and another one."""

    here: Namespace
    far: Namespace

    def redirect(self, *options: str, backend: str = "nft") -> str:
        user = f"--proxy-uid={USER}"
        arguments = ("redirect", user, f"--backend={backend}", *options)
        return self.here.python("-m", "tulle", *arguments)

    def release(self) -> str:
        return self.here.python("-m", "tulle", "redirect", "--remove")

    def rules(self) -> str:
        """Everything the kernel has, without times and counts."""
        programs = [
            f"ip{v}tables-{kind}" for v in ("", 6) for kind in ("nft", "legacy")
        ]
        commands = ["nft -s list table inet tulle 2>&1 || true"]
        commands += [f"echo {each}; {each}-save -t nat" for each in programs]
        text = self.here.run("sh", "-c", "; ".join(commands))
        return re.sub(r"\[\d+:\d+\]|^#.*\n", "", text, flags=re.MULTILINE)

    def chains(self) -> list[str]:
        """Where there are chains of ours, by what listed them."""
        place, found = "nft", []
        for line in self.rules().splitlines():
            if re.fullmatch(r"ip6?tables-(nft|legacy)", line):
                place = line
            if re.match(r"\s*(chain |:)TULLE_INBOUND ", line):
                found.append(place)
        return found

    def ask(
        self,
        host: str,
        port: int,
        *options: str,
        path: str = "",
        far: bool = False,
        user: bool = False,
    ) -> Answer:
        end = self.far if far else self.here
        shown = f"[{host}]" if ":" in host else host
        url = f"http://{shown}:{port}/{path}"
        form = r"\n%{http_code}\n%header{x-by}\n%header{tulle-error}\n"
        command = ("curl", "-sS", "-m", "15", *options, "-w", form, url)
        lines = end.run(*command, as_user=user).split("\n")
        status, by, error = lines[-4:-1]
        return Answer(int(status), by, error, "\n".join(lines[:-4]).rstrip())

    def send(self, host: str, port: int, data: str) -> str:
        """Send bytes that are no HTTP; what comes back first, as Python writes it."""
        return self.here.python("-c", SEND, host, str(port), text=data)

    def counted(self, start: str) -> float:
        page = self.here.run("curl", "-sS", "http://127.0.0.1:4191/metrics")
        return sum(
            float(line.rpartition(" ")[2])
            for line in page.splitlines()
            if line.startswith(start)
        )

    def is_ready(self) -> bool:
        try:
            self.here.run("curl", "-sSf", "http://127.0.0.1:4191/ready")
        except subprocess.CalledProcessError:
            return False
        return True


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """One that the proxy's user may read, as pytest's own is not."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "mesh.yaml").write_text(MESH)
        yield folder


@pytest.fixture(scope="module")
def machines(folder: Path) -> Iterator[World]:
    namespaces.require()
    proxy = ("-m", "tulle", "proxy", "-c", str(folder / "mesh.yaml"))
    server = ("-m", "tests.processes.far_end")
    python = sys.executable
    with namespace("here") as here, namespace("far") as far:
        networks = [(f"{HERE}/16", f"{FAR}/16"), (f"{HERE6}/64", f"{FAR6}/64")]
        connect(here, far, *networks)
        add_address(far, here, f"{ELSEWHERE}/32")
        add_address(far, here, f"{METADATA}/32")
        with (
            far.running(python, *server, "far", "8080", "9000", "9090") as servers,
            here.running(python, *server, "here", "8080", "8081") as own,
            here.running(python, *proxy, as_user=True, log=folder / "log"),
        ):
            for each in (servers, own):
                assert each.stdout is not None
                assert each.stdout.readline() == "ready\n"
            world = World(here, far)
            eventually(world.is_ready)
            yield world
        assert "Traceback" not in (folder / "log").read_text()


@pytest.fixture
def world(machines: World) -> Iterator[World]:
    yield machines
    machines.release()
    assert machines.chains() == []


@pytest.fixture
def redirected(world: World) -> World:
    world.redirect()
    return world


@pytest.fixture(params=BACKENDS)
def by_each(world: World, request: pytest.FixtureRequest) -> World:
    world.redirect(backend=request.param)
    return world


def test_without_rules_nothing_passes_the_proxy(world: World) -> None:
    assert world.ask(FAR, 8080) == Answer(200, "", "", f"far 8080 ::ffff:{HERE}")


@pytest.mark.parametrize(("host", "seen"), [(FAR, f"::ffff:{HERE}"), (FAR6, HERE6)])
def test_outbound_passes_the_proxy_and_arrives_where_it_was_going(
    by_each: World, host: str, seen: str
) -> None:
    answer = by_each.ask(host, 8080)

    assert answer == Answer(200, "outbound", "", f"far 8080 {seen}")


@pytest.mark.parametrize("host", [HERE, HERE6])
def test_inbound_passes_the_proxy_and_arrives_where_it_was_going(
    by_each: World, host: str
) -> None:
    answer = by_each.ask(host, 8081, far=True)

    assert (answer.status, answer.by) == (200, "inbound")
    assert answer.body.startswith("here 8081 ")


@pytest.mark.parametrize("backend", BACKENDS)
def test_applied_twice_is_applied_once_and_what_changes_converges(
    world: World, backend: str
) -> None:
    before = world.rules()
    world.redirect("--skip-outbound-ports=25", backend=backend)
    first = world.rules()
    world.redirect("--skip-outbound-ports=25", backend=backend)
    assert world.rules() == first
    world.redirect("--skip-outbound-ports=26", "--no-ipv6", backend=backend)
    changed = world.rules()
    world.redirect("--skip-outbound-ports=25", backend=backend)

    assert changed != first
    assert world.rules() == first
    assert world.release() == "removed\n"
    assert world.chains() == []
    # Empty tables may be left: nobody but their makers knows that they are empty.
    assert "TULLE" not in before
    assert world.release() == "there was nothing to remove\n"


def test_another_backend_takes_over(world: World) -> None:
    found = []
    for backend in BACKENDS:
        world.redirect(backend=backend)
        found.append(world.chains())

    assert found == [
        ["nft"],
        ["iptables-nft", "ip6tables-nft"],
        ["iptables-legacy", "ip6tables-legacy"],
    ]


def test_jumps_of_others_and_their_order_are_left_alone(world: World) -> None:
    other = "-A OUTPUT -p tcp -m tcp --dport 1 -j RETURN"
    world.here.run("iptables-nft", "-t", "nat", *other.split())
    world.redirect(backend="iptables-nft")
    world.here.run("iptables-nft", "-t", "nat", *other.replace(" 1 ", " 2 ").split())
    world.redirect("--skip-outbound-ports=9", backend="iptables-nft")
    saved = world.here.run("iptables-nft-save", "-t", "nat")
    order = [line for line in saved.splitlines() if line.startswith("-A OUTPUT")]
    world.here.run("iptables-nft", "-t", "nat", "-F", "OUTPUT")

    assert order[0] == other
    assert order[1].endswith("-j TULLE_OUTBOUND")
    assert order[2] == other.replace(" 1 ", " 2 ")


@pytest.mark.parametrize("backend", BACKENDS)
def test_skipped_ports_and_subnets_are_left_alone(world: World, backend: str) -> None:
    options = ("--skip-outbound-ports=9000-9089", "--skip-inbound-ports=8080")
    world.redirect(*options, f"--skip-subnets={ELSEWHERE}/32", backend=backend)
    by = {
        "skipped port": world.ask(FAR, 9000).by,
        "other port": world.ask(FAR, 9090).by,
        "skipped subnet": world.ask(ELSEWHERE, 8080).by,
        "skipped port of ours": world.ask(HERE, 8080, far=True).by,
        "other port of ours": world.ask(HERE, 8081, far=True).by,
        "from a skipped subnet": world.ask(
            *(HERE, 8081, "--interface", ELSEWHERE), far=True
        ).by,
    }

    assert by == {
        "skipped port": "",
        "other port": "outbound",
        "skipped subnet": "",
        "skipped port of ours": "",
        "other port of ours": "inbound",
        "from a skipped subnet": "",
    }


@pytest.mark.parametrize("backend", BACKENDS)
def test_only_some_inbound_ports_may_be_redirected(world: World, backend: str) -> None:
    world.redirect("--only-inbound-ports=8081", backend=backend)

    assert world.ask(HERE, 8080, far=True).by == ""
    assert world.ask(HERE, 8081, far=True).by == "inbound"


@pytest.mark.parametrize("backend", BACKENDS)
def test_ipv6_may_be_left_alone(world: World, backend: str) -> None:
    world.redirect("--no-ipv6", backend=backend)

    assert world.ask(FAR6, 8080).by == ""
    assert world.ask(FAR, 8080).by == "outbound"


def test_what_the_proxys_user_sends_is_left_alone(by_each: World) -> None:
    assert by_each.ask(FAR, 8080, user=True).by == ""


def test_a_group_of_the_proxys_will_do(world: World) -> None:
    rule = ("redirect", f"--proxy-gid={USER}")
    world.here.python("-m", "tulle", *rule)

    assert world.ask(FAR, 8080).by == "outbound"
    assert world.ask(FAR, 8080, user=True).by == ""


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", HERE])
def test_what_stays_on_the_machine_is_left_alone(by_each: World, host: str) -> None:
    answer = by_each.ask(host, 8080)

    assert (answer.by, answer.body.split()[0]) == ("", "here")


def test_the_admin_port_is_left_alone(by_each: World) -> None:
    answer = by_each.ask(HERE, 4191, far=True)

    assert (answer.status, answer.by) == (404, "")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_direct_connection_to_the_proxy_ends_within_one_hop(
    redirected: World, host: str
) -> None:
    before = redirected.counted("request_total{")
    answer = redirected.ask(host, 4140)
    asked = redirected.counted("request_total{") - before

    assert answer.status == 508
    assert answer.error == "loop detected; by=forward"
    assert asked == 1


def test_a_direct_connection_ends_where_nothing_is_tracked(world: World) -> None:
    assert world.ask("127.0.0.1", 4140).status == 508


@pytest.mark.parametrize(("host", "port"), [(HERE, 4143), (HERE6, 4143), (HERE, 4140)])
def test_nobody_gets_to_a_port_of_the_proxys_through_it(
    redirected: World, host: str, port: int
) -> None:
    answer = redirected.ask(host, port, far=True)

    assert (answer.status, answer.error) == (508, "loop detected; by=forward")


def test_opaque_bytes_that_lead_back_are_hung_up_on(redirected: World) -> None:
    before = redirected.counted('tulle_tcp_errors_total{direction="outbound"')

    assert redirected.send("127.0.0.1", 4140, "\0\1\2\3") == "b''"
    after = redirected.counted('tulle_tcp_errors_total{direction="outbound"')
    assert after == before + 1


def test_credentials_of_the_machine_are_not_handed_out(redirected: World) -> None:
    answer = redirected.ask(METADATA, 8080)

    assert (answer.status, answer.error) == (403, "refused; by=forward")


@pytest.mark.parametrize("host", [FAR, FAR6])
def test_a_known_address_is_its_service_by_name(redirected: World, host: str) -> None:
    before = redirected.counted('request_total{direction="outbound",dst="named"')
    answer = redirected.ask(host, 9000)
    after = redirected.counted('request_total{direction="outbound",dst="named"')

    # Not where it was going: to the service's own endpoint.
    assert (answer.status, answer.body.split()[:2]) == (200, ["far", "9090"])
    assert after == before + 1


def test_http2_goes_through_to_what_speaks_less(redirected: World) -> None:
    answer = redirected.ask(FAR, 8080, "--http2-prior-knowledge")

    assert (answer.status, answer.by) == (200, "outbound")


def test_http2_stays_http2_where_it_is_spoken(redirected: World, folder: Path) -> None:
    (folder / "page.txt").write_text("over HTTP/2")
    server = (needed("nghttpd"), "--no-tls", f"--htdocs={folder}", "8443")
    with redirected.far.running(*server):
        ask = partial(redirected.ask, FAR, 8443, "--http2-prior-knowledge")
        eventually(lambda: ask().status == 404)
        answer = ask(path="page.txt")

    assert answer == Answer(200, "outbound", "", "over HTTP/2")


def test_bytes_that_are_no_http_arrive(redirected: World) -> None:
    name = 'tulle_tcp_sent_bytes_total{direction="outbound",dst="original"'
    before = redirected.counted(name)
    for host in (FAR, FAR6):
        assert redirected.send(host, ECHO, "\0\1hello") == r"b'\x00\x01hello'"

    assert redirected.counted(name) == before + 2 * len("\0\1hello")


def test_a_server_that_speaks_first_is_waited_for(redirected: World) -> None:
    assert redirected.send(FAR, GREETS, "") == r"b'220 far\r\n'"


def test_a_port_where_nobody_listens_is_a_bad_gateway(redirected: World) -> None:
    answer = redirected.ask(FAR, 1)

    assert (answer.status, answer.error) == (502, "connect failed; by=forward")


def test_without_the_capability_nothing_changes(world: World) -> None:
    rule = ("-m", "tulle", "redirect", "--proxy-uid=1")
    with pytest.raises(subprocess.CalledProcessError) as caught:
        world.here.python(*rule, as_user=True)
    told = world.here.python(*rule, "--dry-run", as_user=True)

    assert caught.value.returncode == 3
    assert "capability NET_ADMIN" in caught.value.output
    assert "table inet tulle" in told
    assert world.chains() == []


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_a_dry_run_prints_is_a_script_that_redirects(
    world: World, backend: str
) -> None:
    script = world.redirect("--dry-run", backend=backend)
    assert world.chains() == []
    world.here.run("sh", text=script)

    assert world.ask(FAR, 8080).by == "outbound"


def test_pools_of_original_addresses_are_told(redirected: World) -> None:
    redirected.ask(FAR, 8080)
    page = redirected.here.run("curl", "-sS", "http://127.0.0.1:4191/stats")

    assert f"{FAR}:8080" in json.dumps(json.loads(page))


def test_the_page_shows_what_happens(machines: World, folder: Path) -> None:
    page = PAGE.read_text()
    [file] = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    [script] = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    (folder / "page.yaml").write_text(file)
    number = f"{os.getpid()}-page"
    for written, meant in (
        (r"\b(shop|reviews)\b", rf"\1-{number}"),
        (r"/tmp/transparent.yaml", str(folder / "page.yaml")),
        (r"setpriv .* \\\n", f"{' '.join(namespaces.AS_USER)} "),
        (r"\b(tulle) (proxy|redirect)", rf"{sys.executable} -m \1 \2"),
        (r"\bpython3\b", sys.executable),
    ):
        script, count = re.subn(written, meant, script)
        assert count
    done = run_apart(script, f"shop-{number}", f"reviews-{number}")
    lines = done.splitlines()

    assert "inbound TCP goes to port 4143, outbound TCP to port 4140" in done
    assert any('dst="reviews"' in line for line in lines)
    assert any('dst="original"' in line for line in lines)
    assert "removed" in lines
    assert "not redirected" in done or "loopback" in done


def run_apart(script: str, *names: str) -> str:
    """Run a script and return what it wrote; nothing of it stays, whatever happens."""
    process = subprocess.Popen(
        ["bash", "-euc", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=namespaces.environment(),
        start_new_session=True,
    )
    try:
        told, _ = process.communicate(timeout=60)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)
    assert process.returncode == 0, told
    return told
