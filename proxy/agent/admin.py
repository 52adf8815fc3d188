"""What the admin port answers: a request service over what the agent knows."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Awaitable, Callable
from typing import Protocol

import attrs

from meshfilters.message import Buffered, Headers, Request, Response
from proxy.agent.exposition import OPENMETRICS, PROMETHEUS, render, wants_openmetrics
from proxy.ipc.families import Families

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"


class Knowledge(Protocol):
    """What there is to show: the agent."""

    @property
    def is_ready(self) -> bool: ...

    async def families(self) -> Families:
        """Every metric of the proxy, as of now."""
        ...

    async def ask(self, what: str) -> dict[str, object]:
        """Every worker's answer, by the worker's name."""
        ...

    async def shut_down(self) -> None: ...


@attrs.define(eq=False)
class Admin:
    """Answers GET /metrics /live /ready /chain /stats and POST /shutdown."""

    knowledge: Knowledge
    can_shut_down: bool

    async def __call__(self, request: Request, /) -> Response:
        path = request.target.partition(b"?")[0]
        if path == b"/shutdown":
            return await self._shut_down(request)
        page: Callable[[Request], Awaitable[Response]] | None = {
            b"/metrics": self._metrics,
            b"/live": self._live,
            b"/ready": self._ready,
            b"/chain": self._chain,
            b"/stats": self._stats,
        }.get(path)
        if page is None:
            return answer(404, "there are /metrics /live /ready /chain and /stats\n")
        if request.method not in {b"GET", b"HEAD"}:
            return answer(405, "only GET\n", allow="GET, HEAD")
        return await page(request)

    async def _metrics(self, request: Request) -> Response:
        accept = b",".join(request.headers.getall(b"accept")).decode("latin-1")
        openmetrics = wants_openmetrics(accept)
        families = await self.knowledge.families()
        page = render(families.values(), openmetrics=openmetrics)
        return answer(200, page, OPENMETRICS if openmetrics else PROMETHEUS)

    async def _live(self, request: Request) -> Response:
        return answer(200, "live\n")

    async def _ready(self, request: Request) -> Response:
        if self.knowledge.is_ready:
            return answer(200, "ready\n")
        return answer(503, "not ready\n")

    async def _chain(self, request: Request) -> Response:
        return shown(await self.knowledge.ask("chains"))

    async def _stats(self, request: Request) -> Response:
        return shown(await self.knowledge.ask("statistics"))

    async def _shut_down(self, request: Request) -> Response:
        if not self.can_shut_down:
            return answer(404, "shutdown endpoint is not enabled\n")
        if request.method != b"POST":
            return answer(405, "only POST\n", allow="POST")
        if not is_loopback(request.exchange.connection.client):
            return answer(403, "Requests are only permitted from localhost.\n")
        if not is_plain_host(request.headers.get(b"host", b"") or b""):
            return answer(403, "The Host must be an IP address or localhost.\n")
        if b"origin" in request.headers.index:
            return answer(403, "Requests are not permitted from web pages.\n")
        await self.knowledge.shut_down()
        return answer(200, "shutdown\n")


def answer(
    status: int, page: str | bytes, kind: str = TEXT, allow: str | None = None
) -> Response:
    """A response with a page in it, not to be kept by anybody."""
    headers = Headers(
        [(b"content-type", kind.encode()), (b"cache-control", b"no-store")]
    )
    if allow is not None:
        headers.add(b"allow", allow.encode())
    data = page.encode() if isinstance(page, str) else page
    return Response(status, headers, Buffered(data))


def shown(value: object) -> Response:
    """A value as JSON for people and programs."""
    return answer(200, json.dumps(value, indent=2, sort_keys=True) + "\n", JSON)


def is_loopback(client: str) -> bool:
    """Whether a connection's other end, as ``Connection.client`` has it, is here."""
    if client == "unix":
        return True
    host = client.rpartition(":")[0].strip("[]")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def is_plain_host(host: bytes) -> bool:
    """Whether a Host header names an address: a name may be a DNS-rebinding attack."""
    name = host.decode("latin-1").lower()
    bracketed, bracket, _ = name.partition("]")
    name = bracketed.removeprefix("[") if bracket else name.partition(":")[0]
    if name == "localhost":
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
