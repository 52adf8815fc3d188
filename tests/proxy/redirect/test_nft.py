"""The nftables backend replaces its table in one transaction."""

from __future__ import annotations

import ipaddress

from proxy.redirect.nft import GONE, Nft
from proxy.redirect.rules import Options, chains
from tests.proxy.redirect.machine import Machine

ALL = chains(
    Options(
        uid=2102,
        gid=7,
        skip_inbound=((22, 22), (8000, 8010)),
        skip_outbound=((25, 25),),
        skip_subnets=(
            ipaddress.ip_network("10.0.0.0/8"),
            ipaddress.ip_network("192.0.2.0/24"),
            ipaddress.ip_network("fd00::/8"),
        ),
        only_inbound=((80, 90),),
    )
)

TABLE = """\
table inet tulle {
	chain TULLE_INBOUND {
		type nat hook prerouting priority -100; policy accept;
		iifname "lo" return comment "loopback"
		fib daddr type != local return comment "routed, not for this machine"
		tcp dport { 22, 4191, 8000-8010 } return comment "skipped inbound ports"
		ip6 daddr { fe80::/10 } return comment "link-local"
		ip saddr { 10.0.0.0/8, 192.0.2.0/24 } return comment "skipped subnets"
		ip6 saddr { fd00::/8 } return comment "skipped subnets"
		tcp dport { 80-90 } redirect to :4143 comment "to the inbound proxy"
	}
	chain TULLE_OUTBOUND {
		type nat hook output priority -100; policy accept;
		meta skuid 2102 return comment "the proxy's own"
		meta skgid 7 return comment "the proxy's own"
		oifname "lo" return comment "loopback"
		tcp dport { 25 } return comment "skipped outbound ports"
		ip6 daddr { fe80::/10 } return comment "link-local"
		ip daddr { 10.0.0.0/8, 192.0.2.0/24 } return comment "skipped subnets"
		ip6 daddr { fd00::/8 } return comment "skipped subnets"
		meta l4proto tcp redirect to :4140 comment "to the outbound proxy"
	}
}
"""


def test_the_old_table_goes_and_the_new_one_comes_at_once() -> None:
    machine = Machine("nft")
    Nft(machine).apply(ALL, ipv6=True)
    [step] = machine.ran

    assert step.argv == ("nft", "-f", "-")
    assert step.text == GONE + TABLE


def test_without_ipv6_its_connections_return_first() -> None:
    [step] = Nft(Machine()).steps(ALL, ipv6=False)
    lines = step.text.splitlines()
    first = [lines[at + 1] for at, line in enumerate(lines) if "type nat" in line]

    left_alone = '\t\tmeta nfproto ipv6 return comment "IPv6 is left alone"'
    assert first == [left_alone] * 2


def test_the_table_is_removed_if_it_is_there() -> None:
    machine = Machine("nft")
    machine.answers["nft list tables inet"] = "table inet other\ntable inet tulle\n"

    assert Nft(machine).remove()
    assert machine.changes == [GONE]


def test_a_table_of_another_name_is_none_of_ours() -> None:
    machine = Machine("nft")
    machine.answers["nft list tables inet"] = "table inet tulle2\n"

    assert not Nft(machine).remove()
    assert machine.changes == []
