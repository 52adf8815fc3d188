"""What is redirected, as data: two chains of rules that each backend writes its way.

Linkerd's proxy-init made the order: whatever is left alone returns first, and the
rest is redirected by the last rule. Three things are never redirected: what stays on
``lo``, what the proxy itself sends, and UDP.
"""

from __future__ import annotations

import ipaddress

import attrs

from proxy.redirect.ports import Ports, merged

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

ADMIN = 4191
"""Whoever probes or scrapes the proxy means the proxy."""

LINK_LOCAL = ipaddress.ip_network("fe80::/10")
"""Of no use without an interface, which a redirected connection does not tell."""


@attrs.frozen
class Options:
    """What the rules depend on."""

    inbound_port: int = 4143
    """Where the proxy takes what others send to this machine."""
    outbound_port: int = 4140
    """Where the proxy takes what this machine sends to others."""
    uid: int | None = None
    gid: int | None = None
    """The user or the group the proxy runs as. Without either it would meet itself."""
    skip_inbound: Ports = ()
    skip_outbound: Ports = ()
    skip_subnets: tuple[Network, ...] = ()
    """Peers whose connections are left alone, both ways."""
    only_inbound: Ports = ()
    """Nothing is every port."""
    ipv6: bool = True


@attrs.frozen
class Rule:
    """One rule about TCP: its conditions, all of which must hold, and what follows."""

    comment: str
    to: int | None = None
    """The port to redirect to; None leaves the connection alone."""
    ports: Ports = ()
    """Of the destination."""
    sources: tuple[Network, ...] = ()
    destinations: tuple[Network, ...] = ()
    uid: int | None = None
    gid: int | None = None
    is_loopback: bool = False
    """Whether it is about what comes from ``lo``, or leaves through it."""
    is_routed: bool = False
    """Whether it is about what only passes through this machine."""


@attrs.frozen
class Chain:
    """Rules in the order a connection's first packet meets them."""

    name: str
    rules: tuple[Rule, ...]


def chains(options: Options) -> tuple[Chain, Chain]:
    """Return the inbound chain, for PREROUTING, and the outbound one, for OUTPUT."""
    return (
        Chain("TULLE_INBOUND", tuple(_inbound(options))),
        Chain("TULLE_OUTBOUND", tuple(_outbound(options))),
    )


def _inbound(options: Options) -> list[Rule]:
    skipped = merged([*options.skip_inbound, (ADMIN, ADMIN)])
    rules = [
        Rule("loopback", is_loopback=True),
        Rule("routed, not for this machine", is_routed=True),
        Rule("skipped inbound ports", ports=skipped),
        Rule("link-local", destinations=(LINK_LOCAL,)),
    ]
    if options.skip_subnets:
        rules.append(Rule("skipped subnets", sources=options.skip_subnets))
    to, only = options.inbound_port, options.only_inbound
    return [*rules, Rule("to the inbound proxy", to, ports=only)]


def _outbound(options: Options) -> list[Rule]:
    rules = []
    if options.uid is not None:
        rules.append(Rule("the proxy's own", uid=options.uid))
    if options.gid is not None:
        rules.append(Rule("the proxy's own", gid=options.gid))
    rules.append(Rule("loopback", is_loopback=True))
    if options.skip_outbound:
        rules.append(Rule("skipped outbound ports", ports=options.skip_outbound))
    rules.append(Rule("link-local", destinations=(LINK_LOCAL,)))
    if options.skip_subnets:
        rules.append(Rule("skipped subnets", destinations=options.skip_subnets))
    return [*rules, Rule("to the outbound proxy", options.outbound_port)]
