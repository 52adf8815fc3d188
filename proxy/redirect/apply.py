"""Putting the rules in place with what the machine has, and taking them away again."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from proxy.redirect.command import CannotRedirect, Programs, Step
from proxy.redirect.iptables import Iptables
from proxy.redirect.nft import Nft
from proxy.redirect.rules import Chain, Options, chains

BACKENDS = ("nft", "iptables", "iptables-nft", "iptables-legacy")
"""In the order in which they are tried when nobody says which."""

IPV6 = Path("/proc/sys/net/ipv6")
"""There where the kernel speaks it."""


class Backend(Protocol):
    """One way to tell the kernel."""

    name: str
    """As the command line calls it."""

    @property
    def programs(self) -> tuple[str, ...]:
        """What must be installed."""
        ...

    @property
    def kind(self) -> str:
        """The same for two backends that speak to the same tables."""
        ...

    def steps(self, chains: tuple[Chain, ...], ipv6: bool) -> list[Step]: ...

    def apply(self, chains: tuple[Chain, ...], ipv6: bool) -> None: ...

    def remove(self) -> bool: ...


def has_ipv6(folder: Path = IPV6) -> bool:
    """Whether there is any IPv6 that could pass the proxy by."""
    return folder.is_dir()


def planned(options: Options, backend: str, programs: Programs) -> list[Step]:
    """Return what would be run where there are no rules of ours; runs nothing.

    Nothing needs to be installed for that.
    """
    names = _named(backend)
    there = [name for name in names if programs.has(name)]
    chosen = _backend((there or names)[0], programs)
    return chosen.steps(chains(options), options.ipv6)


def put_in_place(options: Options, backend: str, programs: Programs) -> str:
    """Have exactly these rules, in one backend; return its name. Raises CannotRedirect.

    What another backend has of an earlier run is taken away, so that nothing is
    redirected by rules that nobody sees.
    """
    failures = []
    for one in _installed(backend, programs):
        try:
            one.apply(chains(options), options.ipv6)
        except CannotRedirect as error:
            failures.append(str(error))
        else:
            # What fails has no rules of ours: its kernel half is not there.
            _remove(programs, {one.kind})
            return one.name
    raise CannotRedirect("; ".join(failures))


def take_away(programs: Programs) -> bool:
    """Remove the rules from every backend there is; False when there were none.

    Raises CannotRedirect when none was found, and not everywhere could be looked.
    """
    _installed("auto", programs)
    found, failures = _remove(programs, set())
    if failures and not found:
        raise CannotRedirect("; ".join(failures))
    return found


def _remove(programs: Programs, done: set[str]) -> tuple[bool, list[str]]:
    found = False
    failures = []
    # The bare name last: it is one of the others, if those are there.
    for name in sorted(BACKENDS, key=lambda name: name == "iptables"):
        backend = _backend(name, programs)
        if all(map(programs.has, backend.programs)) and backend.kind not in done:
            done.add(backend.kind)
            try:
                found = backend.remove() or found
            except CannotRedirect as error:
                failures.append(str(error))
    return found, failures


def _installed(wanted: str, programs: Programs) -> list[Backend]:
    backends = [_backend(name, programs) for name in _named(wanted)]
    there = [each for each in backends if all(map(programs.has, each.programs))]
    if not there:
        names = (
            "neither nft nor iptables is" if wanted == "auto" else f"{wanted} is not"
        )
        raise CannotRedirect(
            f"{names} installed: install the package nftables or iptables, or run "
            "what --dry-run prints where they are"
        )
    return there


def _named(backend: str) -> tuple[str, ...]:
    return BACKENDS if backend == "auto" else (backend,)


def _backend(name: str, programs: Programs) -> Backend:
    return Nft(programs) if name == "nft" else Iptables(programs, name)
