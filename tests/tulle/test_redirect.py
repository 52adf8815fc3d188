from __future__ import annotations

import grp
import os
import pwd

import pytest
from click.testing import CliRunner, Result

import tulle.redirect
from proxy.redirect.command import CannotRedirect, Programs
from proxy.redirect.rules import Options
from tulle.cli import main


class Kernel:
    """Stands for what changes rules: remembers, and fails when told to."""

    def __init__(self) -> None:
        self.options: list[tuple[Options, str]] = []
        self.failure: CannotRedirect | None = None
        self.is_redirected = False

    def put_in_place(self, options: Options, backend: str, programs: Programs) -> str:
        if self.failure is not None:
            raise self.failure
        self.options.append((options, backend))
        self.is_redirected = True
        return "nft"

    def take_away(self, programs: Programs) -> bool:
        if self.failure is not None:
            raise self.failure
        found, self.is_redirected = self.is_redirected, False
        return found


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    made = Kernel()
    for name in ("put_in_place", "take_away"):
        monkeypatch.setattr(tulle.redirect, name, getattr(made, name))
    monkeypatch.setattr(tulle.redirect, "require_privilege", lambda: None)
    monkeypatch.setattr(tulle.redirect, "has_ipv6", lambda: True)
    return made


def redirect(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["redirect", *arguments])


def test_the_options_are_the_rules(kernel: Kernel) -> None:
    result = redirect(
        *("--proxy-uid", "2102", "--proxy-gid", "7", "--inbound-port", "1"),
        *("--outbound-port", "2", "--skip-inbound-ports", "22,80-90"),
        *("--skip-outbound-ports", "25", "--skip-outbound-ports", "26,"),
        *("--skip-subnets", "fd00::/8, 10.1.0.0/16,10.0.0.0/8"),
        *("--only-inbound-ports", "8080", "--no-ipv6", "--backend", "iptables"),
    )
    [(options, backend)] = kernel.options

    assert result.output == (
        "inbound TCP goes to port 1, outbound TCP to port 2: IPv4, by nft\n"
    )
    assert backend == "iptables"
    assert (options.uid, options.gid, options.ipv6) == (2102, 7, False)
    assert (options.inbound_port, options.outbound_port) == (1, 2)
    assert options.skip_inbound == ((22, 22), (80, 90))
    assert options.skip_outbound == ((25, 26),)
    assert [str(each) for each in options.skip_subnets] == ["10.0.0.0/8", "fd00::/8"]
    assert options.only_inbound == ((8080, 8080),)


def test_ipv6_goes_with_ipv4_where_the_kernel_has_it(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = redirect("--proxy-gid", "0")
    monkeypatch.setattr(tulle.redirect, "has_ipv6", lambda: False)
    redirect("--proxy-gid", "0")
    redirect("--proxy-gid", "0", "--ipv6")

    assert [options.ipv6 for options, _ in kernel.options] == [True, False, True]
    assert "IPv4 and IPv6, by nft" in result.output


def test_users_and_groups_may_be_named(kernel: Kernel) -> None:
    user = pwd.getpwuid(os.getuid())
    group = grp.getgrgid(os.getgid())
    redirect("--proxy-uid", user.pw_name, "--proxy-gid", group.gr_name)
    [(options, _)] = kernel.options

    assert (options.uid, options.gid) == (user.pw_uid, group.gr_gid)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "without one, what the proxy sends comes back to it, for ever"),
        (["--proxy-uid", "no-such-user"], "nobody here is named 'no-such-user'"),
        (["--proxy-uid", "1", "--inbound-port", "4140"], "must differ"),
        (["--proxy-uid", "1", "--inbound-port", "0"], "1<=x<=65535"),
        (["--proxy-uid", "1", "--skip-inbound-ports", "9-5"], "ends before it begins"),
        (["--proxy-uid", "1", "--skip-subnets", "10.0.0.1/8"], "has host bits set"),
        (["--proxy-uid", "1", "--backend", "pf"], "'pf' is not one of"),
        (["--remove", "--dry-run"], "leave --dry-run out"),
    ],
)
def test_a_wrong_command_line_is_exit_code_2(
    kernel: Kernel, arguments: list[str], told: str
) -> None:
    result = redirect(*arguments)

    assert result.exit_code == 2
    assert told in " ".join(result.stderr.split())
    assert kernel.options == []


def test_what_cannot_be_done_is_exit_code_3_and_a_sentence(kernel: Kernel) -> None:
    kernel.failure = CannotRedirect("nft: Operation not permitted")
    for arguments in (["--proxy-uid", "1"], ["--remove"]):
        result = redirect(*arguments)

        assert result.exit_code == 3
        assert result.stderr == "nft: Operation not permitted\n"


def test_a_dry_run_prints_the_rules_and_needs_no_privilege(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise CannotRedirect("no privilege")

    monkeypatch.setattr(tulle.redirect, "require_privilege", refuse)
    result = redirect("--proxy-uid", "2102", "--dry-run", "--backend", "iptables")

    assert result.exit_code == 0
    assert result.output.startswith(
        "ip6tables-restore --noflush --wait 5 <<'END'\n*nat\n"
    )
    assert "--uid-owner 2102" in result.output
    assert kernel.options == []
    assert redirect("--proxy-uid", "2102").exit_code == 3


def test_removing_says_whether_there_was_anything(kernel: Kernel) -> None:
    redirect("--proxy-uid", "2102")

    assert redirect("--remove").output == "removed\n"
    assert redirect("--remove").output == "there was nothing to remove\n"
