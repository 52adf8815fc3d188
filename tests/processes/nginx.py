"""Debian's nginx as an origin: files of a folder, fast."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.processes.programs import needed
from tests.wire.running import free_ports

CONFIGURATION = """\
daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr;
events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_requests 1000000;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{ root {folder}; }}
    location /small {{ return 200 "small\\n"; }}
    location /fails {{ return 503 "fails\\n"; }}
  }}
}}
"""


@contextmanager
def nginx(folder: Path) -> Iterator[int]:
    """Serve ``folder``; yields the port."""
    program = needed("nginx")
    (port,) = free_ports(1)
    configuration = folder / "nginx.conf"
    configuration.write_text(CONFIGURATION.format(folder=folder, port=port))
    with (folder / "nginx.log").open("wb") as log:
        process = subprocess.Popen(
            [program, "-p", folder, "-c", configuration, "-e", "stderr"], stderr=log
        )
    try:
        deadline = time.monotonic() + 10
        while True:
            try:
                httpx.get(f"http://127.0.0.1:{port}/small")
                break
            except httpx.ConnectError:
                assert time.monotonic() < deadline
                time.sleep(0.02)
        yield port
    finally:
        process.terminate()
        process.wait(10)
