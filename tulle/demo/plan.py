"""What the demo consists of: workloads, their addresses, the files of their sidecars."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import attrs
import yaml

TRUST_DOMAIN = "spiffe://demo.tulle"
SIDECARS = ("client", "web", "api-v1", "api-v2", "rates")
WEIGHTS = {"api-v1": 90, "api-v2": 10}
V2_FAILS = 0.3
"""The share of its requests that ``api`` v2 answers with 503."""

RATES_FAIL = 0.05
"""The share of its calls that ``rates`` answers with UNAVAILABLE."""

ROOTS = "roots.pem"


def identity(workload: str) -> str:
    """The SPIFFE ID a workload proves; both versions of ``api`` are one account."""
    account = "api" if workload in WEIGHTS else workload
    return f"{TRUST_DOMAIN}/ns/demo/sa/{account}"


@attrs.frozen
class Addresses:
    """``host:port`` of everything that listens, by workload."""

    app: dict[str, str]
    inbound: dict[str, str]
    outbound: dict[str, str]
    """By the service that is called there."""
    admin: dict[str, str]

    @classmethod
    def over(cls, apps: dict[str, str], ports: Iterator[int]) -> Addresses:
        """Give every sidecar its ports, in turn from those that are free."""

        def place(names: tuple[str, ...]) -> dict[str, str]:
            return {name: f"127.0.0.1:{next(ports)}" for name in names}

        called = tuple(edge.service for edge in EDGES)
        return cls(apps, place(SIDECARS[1:]), place(called), place(SIDECARS))


PORTS = 4 + 3 + 5
"""How many ports the sidecars need: inbound, outbound, admin."""


@attrs.frozen
class Edge:
    """Who calls whom, and which sidecars saw it."""

    client: str
    service: str
    parts: tuple[str, ...]
    """The services that requests really go to, each named as its workload."""
    chain: tuple[object, ...] = ()
    """The filters of the caller's sidecar, but for the time limit."""
    listener: str = "outbound"

    @property
    def name(self) -> str:
        return f"{self.client} → {self.service}"


EDGES = (
    Edge("client", "web", ("web",), ("metrics",)),
    Edge(
        "web",
        "api",
        tuple(WEIGHTS),
        ("metrics", {"retry": {"retries": 2}}, {"split": {"weights": WEIGHTS}}),
    ),
    Edge(
        "web",
        "rates",
        ("rates",),
        (
            {"metrics": {"grpc": {"demo.Rates": ["Get"]}}},
            {"retry": {"retries": 2, "grpc": ["unavailable"]}},
        ),
        "outbound-grpc",
    ),
)


def config(workload: str, addresses: Addresses) -> str:
    """The file of one workload's sidecar."""
    listeners: dict[str, object] = {}
    services: dict[str, object] = {}
    if workload in addresses.inbound:
        listeners["inbound"] = _inbound(workload, addresses)
        services["app"] = {"endpoints": [addresses.app[workload]]}
    for edge in EDGES:
        if edge.client == workload:
            listeners[edge.listener] = _outbound(edge, addresses)
            services |= _upstreams(edge, addresses)
    document = {
        "version": 1,
        "admin": addresses.admin[workload],
        "grace": 1,
        "log": {"level": "warning"},
        "listeners": listeners,
        "services": services,
    }
    text = yaml.safe_dump(document, sort_keys=False, default_flow_style=None)
    return (
        f"# The sidecar of {workload}. It is read again whenever it is saved.\n{text}"
    )


def _inbound(workload: str, addresses: Addresses) -> dict[str, object]:
    own = {"certificate": f"{workload}.pem", "key": f"{workload}.key"}
    return {
        "address": addresses.inbound[workload],
        "direction": "inbound",
        "to": "app",
        "max_connections": 1000,
        "connection": [{"tls": {**own, "clients": ROOTS}}],
        "request": ["metrics", "identity", {"timeout": {"head": 5}}],
    }


def _outbound(edge: Edge, addresses: Addresses) -> dict[str, object]:
    metrics, *rest = (copy.deepcopy(each) for each in edge.chain)
    return {
        "address": addresses.outbound[edge.service],
        "direction": "outbound",
        "to": edge.service,
        "max_connections": 1000,
        "request": [metrics, {"timeout": {"request": 5}}, *rest],
    }


def _upstreams(edge: Edge, addresses: Addresses) -> dict[str, object]:
    tls = {
        "name": identity(edge.parts[0]),
        "roots": ROOTS,
        "certificate": f"{edge.client}.pem",
        "key": f"{edge.client}.key",
    }
    # A service that is split has endpoints too: it is what a chain without a split
    # would send everything to.
    named = {edge.service: edge.parts} | {part: (part,) for part in edge.parts}
    return {
        name: {
            "endpoints": [addresses.inbound[part] for part in parts],
            "dial": [{"tls": dict(tls)}],
        }
        for name, parts in named.items()
    }


def weights(text: str) -> dict[str, float] | None:
    """The shares that a sidecar's file asks for; None while somebody is writing it."""
    try:
        chain = yaml.safe_load(text)["listeners"]["outbound"]["request"]
        split = next(each["split"] for each in chain if "split" in each)
        found = {str(name): float(weight) for name, weight in split["weights"].items()}
    except (yaml.YAMLError, LookupError, TypeError, ValueError, AttributeError):
        return None
    except StopIteration:
        return {}
    total = sum(found.values())
    return {name: weight / total for name, weight in found.items()} if total else None
