"""What is redirected, and what is left alone, in the order a connection meets it."""

from __future__ import annotations

import ipaddress

from proxy.redirect.rules import Options, Rule, chains

SUBNET = ipaddress.ip_network("10.0.0.0/8")


def comments(rules: tuple[Rule, ...]) -> list[str]:
    return [rule.comment for rule in rules]


def test_without_options_everything_but_the_fixed_exceptions_is_redirected() -> None:
    inbound, outbound = chains(Options(uid=2102))

    assert comments(inbound.rules) == [
        "loopback",
        "routed, not for this machine",
        "skipped inbound ports",
        "link-local",
        "to the inbound proxy",
    ]
    assert comments(outbound.rules) == [
        "the proxy's own",
        "loopback",
        "link-local",
        "to the outbound proxy",
    ]


def test_only_the_last_rule_redirects() -> None:
    inbound, outbound = chains(Options(inbound_port=1, outbound_port=2, uid=3, gid=4))

    for chain, port in ((inbound, 1), (outbound, 2)):
        assert chain.rules[-1].to == port
        assert all(rule.to is None for rule in chain.rules[:-1])


def test_the_admin_port_is_always_skipped() -> None:
    for options in (Options(), Options(skip_inbound=((22, 22),))):
        inbound, outbound = chains(options)

        assert (4191, 4191) in inbound.rules[2].ports
        assert not any(rule.ports for rule in outbound.rules)


def test_the_proxys_user_and_group_are_each_enough() -> None:
    _, outbound = chains(Options(uid=0, gid=7))

    assert [(rule.uid, rule.gid) for rule in outbound.rules[:2]] == [
        (0, None),
        (None, 7),
    ]


def test_subnets_are_skipped_as_the_peer_they_are() -> None:
    inbound, outbound = chains(Options(skip_subnets=(SUBNET,)))

    assert inbound.rules[-2].sources == (SUBNET,)
    assert outbound.rules[-2].destinations == (SUBNET,)


def test_ports_are_skipped_or_chosen() -> None:
    options = Options(skip_outbound=((25, 25),), only_inbound=((80, 90),))
    inbound, outbound = chains(options)

    assert inbound.rules[-1].ports == ((80, 90),)
    assert [rule.ports for rule in outbound.rules if rule.ports] == [((25, 25),)]
