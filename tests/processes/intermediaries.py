"""Envoy and HAProxy as hops before and behind: HTTP/2 in, and HTTP/2 or HTTP/1.1 out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.processes.programs import needed

HAPROXY = """\
global
  nbthread 1
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
frontend before
  bind 127.0.0.1:{before} proto h2
  default_backend tulle
backend tulle
  server a 127.0.0.1:{tulle} proto h2
frontend behind
  bind 127.0.0.1:{behind} proto h2
  default_backend origin
backend origin
  server a 127.0.0.1:{origin}
"""
ENVOY = """\
static_resources:
  listeners:
{listeners}
  clusters:
{clusters}
"""
LISTENER = """\
  - name: {name}
    address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": {types}filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: {name}
          codec_type: HTTP2
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": {types}filters.http.router.v3.Router
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes: [{{match: {{prefix: "/"}}, route: {{cluster: {name}}}}}]
"""
CLUSTER = """\
  - name: {name}
    connect_timeout: 5s
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": {types}upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{{protocol}}}
    load_assignment:
      cluster_name: {name}
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {to}}}}}}}
"""
TYPES = "type.googleapis.com/envoy.extensions."

Command = list[str | Path]


def haproxy(folder: Path, **ports: int) -> Command:
    """From ``before`` to ``tulle`` in HTTP/2, from ``behind`` to ``origin`` in HTTP/1.1."""
    program = needed("haproxy")
    configuration = folder / "haproxy.cfg"
    configuration.write_text(HAPROXY.format(**ports))
    return [program, "-db", "-f", configuration]


def envoy(folder: Path, **ports: int) -> Command:
    """As ``haproxy``."""
    program = needed("envoy")
    listeners = "".join(
        LISTENER.format(name=name, port=ports[name], types=TYPES)
        for name in ("before", "behind")
    )
    hops = (
        ("before", "tulle", "http2_protocol_options: {}"),
        ("behind", "origin", "http_protocol_options: {enable_trailers: true}"),
    )
    clusters = "".join(
        CLUSTER.format(name=name, to=ports[to], protocol=protocol, types=TYPES)
        for name, to, protocol in hops
    )
    configuration = folder / "envoy.yaml"
    configuration.write_text(ENVOY.format(listeners=listeners, clusters=clusters))
    # Several on a machine share no shared memory.
    alone = ("--use-dynamic-base-id", "--concurrency", "1", "-l", "error")
    return [program, "-c", configuration, *alone]


PROGRAMS: dict[str, Callable[..., Command]] = {"haproxy": haproxy, "envoy": envoy}
