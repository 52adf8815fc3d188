"""What the admin port answers, to whom."""

from __future__ import annotations

import json

import attrs
import pytest

from meshfilters.testing import Kit, read
from proxy.agent.admin import Admin, is_loopback, is_plain_host
from proxy.ipc.families import Families, Family


@attrs.define
class Known:
    is_ready: bool = True
    shutdowns: int = 0

    async def families(self) -> Families:
        return {"a_total": Family("counter", "a_total", "As.", (), (), {(): [3]})}

    async def ask(self, what: str) -> dict[str, object]:
        return {"worker-0": {"asked": what}}

    async def shut_down(self) -> None:
        self.shutdowns += 1


async def get(
    admin: Admin,
    path: bytes,
    method: bytes = b"GET",
    client: str = "127.0.0.1:5",
    **headers: bytes,
) -> tuple[int, bytes, dict[bytes, bytes]]:
    fields = [(name.encode(), value) for name, value in headers.items()]
    request = Kit().ask(method, path, headers=fields, client=client)
    response = await admin(request)
    return response.status, await read(response.body), dict(response.headers)


async def test_metrics_are_written_as_the_client_likes() -> None:
    admin = Admin(Known(), can_shut_down=False)

    status, page, headers = await get(admin, b"/metrics")
    assert (status, page.splitlines()[-1]) == (200, b"a_total 3")
    assert headers[b"content-type"].startswith(b"text/plain; version=0.0.4")
    accept = b"application/openmetrics-text"
    _, page, headers = await get(admin, b"/metrics?x=1", accept=accept)
    assert page.endswith(b"# EOF\n")
    assert headers[b"content-type"].startswith(accept)


async def test_ready_says_whether_it_is() -> None:
    known = Known()
    admin = Admin(known, can_shut_down=False)

    assert (await get(admin, b"/ready"))[0] == 200
    known.is_ready = False
    assert (await get(admin, b"/ready"))[0] == 503
    assert (await get(admin, b"/live", b"HEAD"))[0] == 200


@pytest.mark.parametrize(
    ("path", "what"), [(b"/chain", "chains"), (b"/stats", "statistics")]
)
async def test_workers_are_asked_for_what_they_do(path: bytes, what: str) -> None:
    status, page, _ = await get(Admin(Known(), can_shut_down=False), path)

    assert (status, json.loads(page)) == (200, {"worker-0": {"asked": what}})


async def test_other_paths_and_methods_are_refused() -> None:
    admin = Admin(Known(), can_shut_down=True)

    assert (await get(admin, b"/"))[0] == 404
    status, _, headers = await get(admin, b"/metrics", b"POST")
    assert (status, headers[b"allow"]) == (405, b"GET, HEAD")
    status, _, headers = await get(admin, b"/shutdown")
    assert (status, headers[b"allow"]) == (405, b"POST")


async def test_shutdown_is_off_unless_configured() -> None:
    known = Known()

    assert (await get(Admin(known, False), b"/shutdown", b"POST", host=b"::1"))[
        0
    ] == 404
    assert not known.shutdowns


@pytest.mark.parametrize(
    ("client", "host", "status"),
    [
        ("127.0.0.1:5", b"localhost:4191", 200),
        ("[::1]:5", b"[::1]:4191", 200),
        ("10.0.0.7:5", b"localhost", 403),
        ("127.0.0.1:5", b"evil.example:4191", 403),
        ("127.0.0.1:5", b"", 403),
    ],
)
async def test_shutdown_is_for_this_machine_by_address(
    client: str, host: bytes, status: int
) -> None:
    known = Known()
    admin = Admin(known, can_shut_down=True)

    answer = await get(admin, b"/shutdown", b"POST", client, host=host)

    assert answer[0] == status
    assert known.shutdowns == (status == 200)


async def test_shutdown_is_for_no_web_page() -> None:
    known = Known()
    admin = Admin(known, can_shut_down=True)

    for origin in (b"http://evil.example", b"null", b""):
        answer = await get(
            admin, b"/shutdown", b"POST", host=b"localhost", origin=origin
        )
        assert answer[0] == 403

    assert not known.shutdowns


def test_loopback_is_known_in_every_spelling() -> None:
    assert all(
        map(is_loopback, ["127.8.8.8:1", "[::1]:1", "[::ffff:127.0.0.1]:1", "unix"])
    )
    assert not any(map(is_loopback, ["10.0.0.1:1", "[::2]:1", "localhost:1", ""]))


def test_a_host_that_is_a_name_is_not_plain() -> None:
    assert all(
        map(is_plain_host, [b"127.0.0.1", b"10.0.0.1:80", b"LOCALHOST", b"[::1]"])
    )
    assert not any(map(is_plain_host, [b"a.example", b"", b"localhost.evil", b"[x]:1"]))
