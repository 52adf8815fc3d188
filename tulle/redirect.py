"""``tulle redirect``: bring this machine's TCP to the proxy, or let it go again."""

from __future__ import annotations

import grp
import ipaddress
import pwd
from collections.abc import Callable

import click

from proxy.redirect.apply import (
    BACKENDS,
    has_ipv6,
    planned,
    put_in_place,
    take_away,
)
from proxy.redirect.command import CannotRedirect, Programs, require_privilege
from proxy.redirect.ports import Ports, merged, parse_ports
from proxy.redirect.rules import Network, Options

EXAMPLES = """\b
Examples:
  tulle redirect --proxy-uid 2102 --dry-run
  tulle redirect --proxy-uid tulle --skip-inbound-ports 22 --skip-outbound-ports 25,5000-5010
  tulle redirect --remove
"""

PORT = click.IntRange(1, 65535)

Callback = Callable[[click.Context, click.Parameter, str | None], int | None]


def _ports(
    context: click.Context, parameter: click.Parameter, value: tuple[str, ...]
) -> Ports:
    try:
        return merged(each for text in value for each in parse_ports(text))
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _subnets(
    context: click.Context, parameter: click.Parameter, value: tuple[str, ...]
) -> tuple[Network, ...]:
    texts = [each.strip() for text in value for each in text.split(",")]
    try:
        networks = [ipaddress.ip_network(each) for each in texts if each]
    except ValueError as error:
        raise click.BadParameter(f"{error}; expected 10.0.0.0/8, fd00::/8") from error
    # One inside another is an error to nftables.
    return (
        *ipaddress.collapse_addresses(each for each in networks if each.version == 4),
        *ipaddress.collapse_addresses(each for each in networks if each.version == 6),
    )


def _account(look_up: Callable[[str], int]) -> Callback:
    def read(
        context: click.Context, parameter: click.Parameter, value: str | None
    ) -> int | None:
        if value is None or (value.isascii() and value.isdigit()):
            return None if value is None else int(value)
        try:
            return look_up(value)
        except KeyError:
            raise click.BadParameter(f"nobody here is named {value!r}") from None

    return read


@click.command(epilog=EXAMPLES)
@click.option(
    "--proxy-uid",
    metavar="UID",
    callback=_account(lambda name: pwd.getpwnam(name).pw_uid),
    help="The user, by number or name, that the proxy runs as: never redirected.",
)
@click.option(
    "--proxy-gid",
    metavar="GID",
    callback=_account(lambda name: grp.getgrnam(name).gr_gid),
    help="The proxy's group, likewise.",
)
@click.option(
    "--inbound-port",
    type=PORT,
    default=Options().inbound_port,
    show_default=True,
    help="Where the proxy takes what others send here.",
)
@click.option(
    "--outbound-port",
    type=PORT,
    default=Options().outbound_port,
    show_default=True,
    help="Where the proxy takes what is sent from here.",
)
@click.option(
    "--skip-inbound-ports",
    metavar="PORTS",
    multiple=True,
    callback=_ports,
    help="Ports of this machine that are left alone, like 22,8000-8010; 4191 always is.",
)
@click.option(
    "--skip-outbound-ports",
    metavar="PORTS",
    multiple=True,
    callback=_ports,
    help="Ports of others that are left alone.",
)
@click.option(
    "--skip-subnets",
    metavar="SUBNETS",
    multiple=True,
    callback=_subnets,
    help="Others that are left alone, both ways, like 10.0.0.0/8,fd00::/8.",
)
@click.option(
    "--only-inbound-ports",
    metavar="PORTS",
    multiple=True,
    callback=_ports,
    help="Ports of this machine to redirect, in place of all.",
)
@click.option(
    "--ipv6/--no-ipv6",
    default=None,
    help="Whether IPv6 is redirected as well: it is, if the kernel has it.",
)
@click.option(
    "--backend",
    type=click.Choice(["auto", *BACKENDS]),
    default="auto",
    show_default=True,
    help="What tells the kernel: auto is the first of them that is there and works.",
)
@click.option(
    "--dry-run", is_flag=True, help="Print what would be run; change nothing."
)
@click.option("--remove", is_flag=True, help="Take every rule of this command away.")
def redirect(
    proxy_uid: int | None,
    proxy_gid: int | None,
    inbound_port: int,
    outbound_port: int,
    skip_inbound_ports: Ports,
    skip_outbound_ports: Ports,
    skip_subnets: tuple[Network, ...],
    only_inbound_ports: Ports,
    ipv6: bool | None,
    backend: str,
    dry_run: bool,
    remove: bool,
) -> None:
    """Have the kernel bring this machine's TCP connections to the proxy.

    It then needs a listener for each direction with `to: {by: original}`. Rules are in
    chains named TULLE_*, of this network namespace alone. To run it again is to have
    the rules of the last run. Nothing on loopback is redirected.
    """
    programs = Programs()
    if remove:
        if dry_run:
            raise click.UsageError("--remove has nothing to print: leave --dry-run out")
        click.echo(_removed(programs))
        return
    if proxy_uid is None and proxy_gid is None:
        raise click.UsageError(
            "give --proxy-uid or --proxy-gid: without one, what the proxy sends comes "
            "back to it, for ever. Run the proxy as a user of its own, not as root"
        )
    if inbound_port == outbound_port:
        raise click.UsageError("--inbound-port and --outbound-port must differ")
    options = Options(
        inbound_port=inbound_port,
        outbound_port=outbound_port,
        uid=proxy_uid,
        gid=proxy_gid,
        skip_inbound=skip_inbound_ports,
        skip_outbound=skip_outbound_ports,
        skip_subnets=skip_subnets,
        only_inbound=only_inbound_ports,
        ipv6=has_ipv6() if ipv6 is None else ipv6,
    )
    if dry_run:
        for step in planned(options, backend, programs):
            click.echo(str(step))
    else:
        click.echo(_done(options, backend, programs))


def _done(options: Options, backend: str, programs: Programs) -> str:
    try:
        require_privilege()
        used = put_in_place(options, backend, programs)
    except CannotRedirect as error:
        raise _failed(error) from error
    families = "IPv4 and IPv6" if options.ipv6 else "IPv4"
    return (
        f"inbound TCP goes to port {options.inbound_port}, outbound TCP to port "
        f"{options.outbound_port}: {families}, by {used}"
    )


def _removed(programs: Programs) -> str:
    try:
        require_privilege()
        return "removed" if take_away(programs) else "there was nothing to remove"
    except CannotRedirect as error:
        raise _failed(error) from error


def _failed(error: CannotRedirect) -> SystemExit:
    click.echo(str(error), err=True)
    return SystemExit(3)
