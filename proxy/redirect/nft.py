"""The rules as nftables has them: one table of ours, replaced in one transaction."""

from __future__ import annotations

from proxy.redirect.command import Programs, Step
from proxy.redirect.ports import written
from proxy.redirect.rules import Chain, Network, Rule

GONE = "table inet tulle\ndelete table inet tulle\n"
"""Declared first, so that deleting it is no error where there is none."""

HOOKS = {"TULLE_INBOUND": "prerouting", "TULLE_OUTBOUND": "output"}
INTERFACES = {"prerouting": "iifname", "output": "oifname"}


class Nft:
    """nftables by its own program. NAT in an ``inet`` table needs Linux 5.2."""

    name = kind = "nft"
    programs: tuple[str, ...] = ("nft",)

    def __init__(self, run: Programs) -> None:
        self._run = run

    def steps(self, chains: tuple[Chain, ...], ipv6: bool) -> list[Step]:
        """Return what puts the rules in place, whatever there is."""
        return [_step(GONE + table(chains, ipv6))]

    def apply(self, chains: tuple[Chain, ...], ipv6: bool) -> None:
        """Put the rules in place of what there is. Raises CannotRedirect."""
        for step in self.steps(chains, ipv6):
            self._run.run(step)

    def remove(self) -> bool:
        """Take the rules away; False when there were none. Raises CannotRedirect."""
        listed = self._run.run(Step(("nft", "list", "tables", "inet")))
        if "table inet tulle" not in listed.splitlines():
            return False
        self._run.run(_step(GONE))
        return True


def table(chains: tuple[Chain, ...], ipv6: bool) -> str:
    """Return the table with its chains."""
    lines = ["table inet tulle {"]
    for chain in chains:
        hook = HOOKS[chain.name]
        lines.append(f"\tchain {chain.name} {{")
        # -100 is dstnat: older versions know that word for prerouting alone.
        lines.append(f"\t\ttype nat hook {hook} priority -100; policy accept;")
        if not ipv6:
            lines.append('\t\tmeta nfproto ipv6 return comment "IPv6 is left alone"')
        for rule in chain.rules:
            lines += [f"\t\t{line}" for line in _lines(rule, INTERFACES[hook])]
        lines.append("\t}")
    return "\n".join([*lines, "}\n"])


def _lines(rule: Rule, interface: str) -> list[str]:
    conditions = []
    if rule.is_loopback:
        conditions.append(f'{interface} "lo"')
    if rule.is_routed:
        conditions.append("fib daddr type != local")
    if rule.uid is not None:
        conditions.append(f"meta skuid {rule.uid}")
    if rule.gid is not None:
        conditions.append(f"meta skgid {rule.gid}")
    if rule.ports:
        conditions.append(f"tcp dport {{ {written(rule.ports, comma=', ')} }}")
    if rule.to is None:
        follows = "return"
    else:
        if not rule.ports:
            conditions.append("meta l4proto tcp")
        follows = f"redirect to :{rule.to}"
    return [
        " ".join([*conditions, *peers, follows, f'comment "{rule.comment}"'])
        for peers in _peers(rule)
    ]


def _peers(rule: Rule) -> list[list[str]]:
    """The conditions about addresses: a line a family, or one without any."""
    found = [
        [f"{family} {field} {{ {', '.join(map(str, networks))} }}"]
        for field, every in (("saddr", rule.sources), ("daddr", rule.destinations))
        for family, version in (("ip", 4), ("ip6", 6))
        if (networks := _of(every, version))
    ]
    return found or [[]]


def _of(networks: tuple[Network, ...], version: int) -> list[Network]:
    return [each for each in networks if each.version == version]


def _step(text: str) -> Step:
    return Step(("nft", "-f", "-"), text)
