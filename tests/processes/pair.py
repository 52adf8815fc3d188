"""Two sidecars in one proxy, and a plain listener beside them: three ways to an app."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import attrs

from tests.authority import API, WEB, root
from tests.wire.running import Running, free_ports, running

WAYS = ("plain", "pair")
"""Through one listener; through an outbound one, mutual TLS, and an inbound one."""

TOP = """\
version: 1
admin: 127.0.0.1:{admin}
listeners:
"""
LISTENERS = """\
  {app}-plain: {{address: "127.0.0.1:{plain}", to: {app}}}
  {app}-outbound: {{address: "127.0.0.1:{pair}", to: {app}-peer}}
  {app}-inbound:
    address: "127.0.0.1:{inbound}"
    direction: inbound
    to: {app}
    connection: [{{tls: {{certificate: api.pem, key: api.key, clients: roots.pem}}}}]
"""
SERVICES = """\
  {app}: {{endpoints: ["127.0.0.1:{behind}"], protocol: {protocol}}}
  {app}-peer:
    endpoints: ["127.0.0.1:{inbound}"]
    dial: [{{tls: {{roots: roots.pem, name: "{api}", certificate: web.pem, key: web.key}}}}]
"""


@attrs.frozen
class Pair:
    """A running proxy's ports, by app and way."""

    folder: Path
    admin: int
    ports: Mapping[tuple[str, str], int]
    process: Running

    def port(self, app: str, way: str) -> int:
        return self.ports[app, way]


@contextmanager
def paired(
    folder: Path, apps: Mapping[str, int], protocols: Mapping[str, str] | None = None
) -> Iterator[Pair]:
    """Run the proxy, configured with addresses and certificates, and hardly more.

    ``protocols`` are of the apps for which it is not ``auto``.
    """
    authority = root()
    authority.write(folder)
    authority.issue(uris=[API]).write(folder, "api")
    authority.issue(uris=[WEB]).write(folder, "web")
    admin, *free = free_ports(1 + 3 * len(apps))
    ports: dict[tuple[str, str], int] = {}
    text, services = TOP.format(admin=admin), "services:\n"
    for app, behind in apps.items():
        for way in (*WAYS, "inbound"):
            ports[app, way] = free.pop()
        chosen = {way: ports[app, way] for way in (*WAYS, "inbound")}
        text += LISTENERS.format(app=app, **chosen)
        protocol = (protocols or {}).get(app, "auto")
        services += SERVICES.format(
            app=app, behind=behind, api=API, protocol=protocol, **chosen
        )
    (folder / "mesh.yaml").write_text(text + services)
    arguments = ["-c", str(folder / "mesh.yaml")]
    with running(arguments, [*ports.values()], folder / "proxy.log") as process:
        yield Pair(folder, admin, ports, process)
