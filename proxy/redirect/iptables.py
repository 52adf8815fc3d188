"""The rules as iptables has them: two chains of ours, and a jump to each.

One ``iptables-restore --noflush`` for each family: it commits its table as a whole or
not at all, and to name a chain in it is to make it, or to empty it.
"""

from __future__ import annotations

import re
from pathlib import Path

import attrs

from proxy.redirect.command import CannotRedirect, Programs, Step
from proxy.redirect.ports import grouped, written
from proxy.redirect.rules import Chain, Network, Rule

HOOKS = {"TULLE_INBOUND": "PREROUTING", "TULLE_OUTBOUND": "OUTPUT"}
INTERFACES = {"TULLE_INBOUND": "-i", "TULLE_OUTBOUND": "-o"}

JUMP = re.compile(rf"-A (\S+ .*-[jg] ({'|'.join(HOOKS)}))")
"""What iptables-save writes of a jump to one of our chains, wherever it stands."""

NAMES = Path("/proc/net")
"""Where the kernel lists legacy tables. To ask legacy iptables would make one."""


@attrs.frozen
class Family:
    """IPv4 or IPv6: a program and a table of their own."""

    version: int
    program: str
    names: str


V4 = Family(4, "iptables", "ip_tables_names")
V6 = Family(6, "ip6tables", "ip6_tables_names")


class Iptables:
    """iptables by one of its names: ``iptables``, ``iptables-nft``, ``iptables-legacy``."""

    def __init__(self, run: Programs, name: str = "iptables") -> None:
        self.name = name
        self._run = run
        self._suffix = name.removeprefix("iptables")

    @property
    def programs(self) -> tuple[str, ...]:
        """What must be installed, for IPv4 alone."""
        return (self.name, self._program(V4, "-restore"), self._program(V4, "-save"))

    @property
    def kind(self) -> str:
        """Which of the kernel's tables it speaks to: the bare name may be either."""
        if self._suffix:
            return self._suffix
        told = self._run.run(Step((self.name, "--version")))
        return "-nft" if "nf_tables" in told else "-legacy"

    def steps(self, chains: tuple[Chain, ...], ipv6: bool) -> list[Step]:
        """Return what puts the rules in place where there are none."""
        return [self._restore(each, chains, "") for each in _families(ipv6)]

    def apply(self, chains: tuple[Chain, ...], ipv6: bool) -> None:
        """Put the rules in place of what there is. Raises CannotRedirect."""
        for family in _families(ipv6):
            try:
                self._run.run(self._restore(family, chains, self._saved(family)))
            except CannotRedirect as error:
                if family is V6:
                    more = f"{error}; --no-ipv6 leaves IPv6 as it is"
                    raise CannotRedirect(more) from error
                raise
        if not ipv6:
            self._remove(V6)

    def remove(self) -> bool:
        """Take the rules away; False when there were none. Raises CannotRedirect."""
        found = [self._remove(family) for family in _families(True)]
        return any(found)

    def _remove(self, family: Family) -> bool:
        if not self._run.has(self._program(family, "-save")) or (
            self.kind == "-legacy" and not _has_legacy(family)
        ):
            return False
        saved = self._saved(family)
        chains = [name for name in HOOKS if f"\n:{name} " in saved]
        if chains:
            lines = [f":{name} - [0:0]" for name in chains]
            lines += [f"-D {jump}" for jump in _jumps(saved)]
            lines += [f"-X {name}" for name in chains]
            self._run.run(self._step(family, lines))
        return bool(chains)

    def _restore(self, family: Family, chains: tuple[Chain, ...], saved: str) -> Step:
        there = _jumps(saved)
        wanted = [_jump(chain.name) for chain in chains]
        lines = [f":{chain.name} - [0:0]" for chain in chains]
        # A jump that is right keeps its place among the rules of others.
        keeps = [jump for jump in wanted if there.count(jump) == 1]
        lines += [f"-D {jump}" for jump in there if jump not in keeps]
        lines += [f"-A {jump}" for jump in wanted if jump not in keeps]
        lines += [
            f"-A {chain.name} {line}"
            for chain in chains
            for rule in chain.rules
            for line in _lines(rule, INTERFACES[chain.name], family.version)
        ]
        return self._step(family, lines)

    def _step(self, family: Family, lines: list[str]) -> Step:
        argv = (self._program(family, "-restore"), "--noflush", "--wait", "5")
        return Step(argv, "\n".join(["*nat", *lines, "COMMIT\n"]))

    def _saved(self, family: Family) -> str:
        return self._run.run(Step((self._program(family, "-save"), "-t", "nat")))

    def _program(self, family: Family, verb: str) -> str:
        return f"{family.program}{self._suffix}{verb}"


def _families(ipv6: bool) -> list[Family]:
    # The one that is more likely to fail comes first, and the other stays untouched.
    return [V6, V4] if ipv6 else [V4]


def _has_legacy(family: Family) -> bool:
    try:
        return "nat" in (NAMES / family.names).read_text().split()
    except OSError:
        return False


def _jumps(saved: str) -> list[str]:
    return [found[1] for line in saved.splitlines() if (found := JUMP.fullmatch(line))]


def _jump(chain: str) -> str:
    # Spelled as iptables-save spells it.
    return f'{HOOKS[chain]} -p tcp -m comment --comment "tulle redirect" -j {chain}'


def _lines(rule: Rule, interface: str, version: int) -> list[str]:
    conditions = ["-p tcp"]
    if rule.is_loopback:
        conditions.append(f"{interface} lo")
    if rule.is_routed:
        conditions.append("-m addrtype ! --dst-type LOCAL")
    if rule.uid is not None:
        conditions.append(f"-m owner --uid-owner {rule.uid}")
    if rule.gid is not None:
        conditions.append(f"-m owner --gid-owner {rule.gid}")
    target = "RETURN" if rule.to is None else f"REDIRECT --to-ports {rule.to}"
    rest = f'-m comment --comment "tulle: {rule.comment}" -j {target}'
    start = " ".join(conditions)
    ports = [
        f" -m multiport --dports {written(group, dash=':')}"
        for group in grouped(rule.ports)
    ]
    return [
        f"{start}{peer}{group} {rest}"
        for peer in _peers(rule, version)
        for group in ports or [""]
    ]


def _peers(rule: Rule, version: int) -> list[str]:
    """The conditions about addresses, a rule each; none where they are another family's."""
    named: tuple[Network, ...] = (*rule.sources, *rule.destinations)
    if not named:
        return [""]
    return [
        f" {flag} {network}"
        for flag, every in (("-s", rule.sources), ("-d", rule.destinations))
        for network in every
        if network.version == version
    ]
