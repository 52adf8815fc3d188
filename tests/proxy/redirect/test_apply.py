"""The rules are in one backend: the first that works, or the one that was asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.redirect.apply import has_ipv6, planned, put_in_place, take_away
from proxy.redirect.command import CannotRedirect
from proxy.redirect.rules import Options
from tests.proxy.redirect.machine import Machine, iptables

OPTIONS = Options(uid=2102)
SAVED = "\n:TULLE_INBOUND - [0:0]\n-A PREROUTING -j TULLE_INBOUND\n"


@pytest.fixture
def machine() -> Machine:
    """Has everything, the bare name being that of nf_tables."""
    names = [*iptables(), *iptables("-nft"), *iptables("-legacy")]
    made = Machine("nft", *names)
    made.answers["iptables --version"] = "iptables v1.8.9 (nf_tables)"
    return made


def used(machine: Machine) -> list[str]:
    return [step.argv[0] for step in machine.ran if step.text]


def test_nft_is_the_first_choice(machine: Machine) -> None:
    assert put_in_place(OPTIONS, "auto", machine) == "nft"
    assert used(machine) == ["nft"]


def test_what_fails_is_passed_over(machine: Machine) -> None:
    machine.answers["nft -f"] = CannotRedirect("nft: not supported")
    machine.answers["ip6tables-restore"] = CannotRedirect("ip6tables-restore: no")

    assert put_in_place(OPTIONS, "auto", machine) == "iptables-nft"


def test_what_is_not_installed_is_passed_over() -> None:
    machine = Machine(*iptables("-legacy"))

    assert put_in_place(OPTIONS, "auto", machine) == "iptables-legacy"


def test_when_all_fail_all_are_told(machine: Machine) -> None:
    for command in ("nft", "iptables", "ip6tables"):
        machine.answers[command] = CannotRedirect(f"{command}: no")
    with pytest.raises(CannotRedirect, match=r"nft: no; ip6tables: no; .*--no-ipv6"):
        put_in_place(OPTIONS, "auto", machine)


def test_the_one_that_is_asked_for_has_no_substitute(machine: Machine) -> None:
    machine.answers["iptables-nft"] = CannotRedirect("iptables-nft-save: no")
    with pytest.raises(CannotRedirect, match=r"^iptables-nft-save: no$"):
        put_in_place(Options(uid=1, ipv6=False), "iptables-nft", machine)

    assert used(machine) == []


@pytest.mark.parametrize(
    ("backend", "told"),
    [
        ("auto", "neither nft nor iptables is installed"),
        ("nft", "nft is not installed"),
    ],
)
def test_nothing_to_do_it_with_is_told_with_what_to_do(backend: str, told: str) -> None:
    with pytest.raises(CannotRedirect, match=f"{told}: install .*--dry-run"):
        put_in_place(OPTIONS, backend, Machine())


def test_another_backends_rules_go_when_one_has_them(machine: Machine) -> None:
    machine.answers["iptables-nft-save"] = SAVED
    put_in_place(OPTIONS, "nft", machine)

    assert used(machine) == ["nft", "iptables-nft-restore"]


def test_the_same_tables_by_another_name_are_left_alone(machine: Machine) -> None:
    machine.answers["iptables-nft-save"] = SAVED
    machine.answers["nft list tables"] = "table inet tulle\n"
    put_in_place(Options(uid=1, ipv6=False), "iptables", machine)

    assert used(machine) == ["iptables-restore", "nft"]


def test_what_cannot_be_looked_at_does_not_undo_the_rest(machine: Machine) -> None:
    machine.answers["iptables-nft-save"] = CannotRedirect("no such table")

    assert put_in_place(OPTIONS, "nft", machine) == "nft"


def test_removing_looks_everywhere(machine: Machine) -> None:
    assert not take_away(machine)

    machine.answers["nft list tables"] = "table inet tulle\n"
    machine.answers["iptables-nft-save"] = SAVED
    assert take_away(machine)
    assert used(machine) == ["nft", "iptables-nft-restore"]


def test_removing_tells_what_it_could_not_look_at_unless_it_found_some(
    machine: Machine,
) -> None:
    machine.answers["iptables-nft-save"] = CannotRedirect("iptables-nft-save: no")
    with pytest.raises(CannotRedirect, match="iptables-nft-save: no"):
        take_away(machine)

    machine.answers["nft list tables"] = "table inet tulle\n"
    assert take_away(machine)


def test_removing_needs_something_to_do_it_with() -> None:
    with pytest.raises(CannotRedirect, match="installed"):
        take_away(Machine())


def test_a_plan_needs_nothing_and_runs_nothing(machine: Machine) -> None:
    assert planned(OPTIONS, "auto", Machine())[0].argv[0] == "nft"
    assert len(planned(OPTIONS, "iptables", Machine())) == 2
    assert (
        planned(OPTIONS, "auto", Machine("iptables"))[1].argv[0] == "iptables-restore"
    )
    assert planned(OPTIONS, "auto", machine)[0].argv[0] == "nft"
    assert machine.ran == []


def test_ipv6_is_there_if_its_settings_are(tmp_path: Path) -> None:
    assert has_ipv6(tmp_path)
    assert not has_ipv6(tmp_path / "ipv6")
