"""Certificate files: read whole or not at all, judged, and watched for change.

What is loaded was in the files together: certificates and key are read, parsed and
matched before anything is made of them, so a half-written file or one half of a new
pair is never in use. Writers should still rename whole files into place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Generic, TypeVar

import attrs
import trio
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from meshfilters.env import Env
from meshfilters.errors import ConfigError

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

INTERVAL = 1.0
"""Seconds between two looks at the files."""

T = TypeVar("T")


@attrs.frozen
class Material:
    """What the files held at one moment, parsed and matched."""

    chain: tuple[x509.Certificate, ...] = ()
    """The own certificate, then its intermediates."""
    key: PrivateKey | None = None
    roots: tuple[x509.Certificate, ...] | None = None
    """None where no file was named."""


@attrs.frozen
class Files:
    """The files of one ``tls`` filter; None where it names none."""

    certificate: Path | None
    key: Path | None
    roots: Path | None

    def load(self) -> Material:
        """Read them. ConfigError names the first file that cannot work, and why."""
        roots = None if self.roots is None else _certificates(self.roots)
        if self.certificate is None or self.key is None:
            return Material(roots=roots)
        chain, key = _certificates(self.certificate), _key(self.key)
        if chain[0].public_key() != key.public_key():
            raise ConfigError(f"{self.key} is not the key of {self.certificate}")
        return Material(chain, key, roots)

    def problems(self, now: float) -> Iterator[str]:
        """Yield a sentence for each reason not to use them at ``now``."""
        try:
            material = self.load()
        except ConfigError as error:
            yield str(error)
        else:
            yield from self.expiries(material, now)

    def expiries(self, material: Material, now: float) -> Iterator[str]:
        """Yield a sentence for what has expired: the certificate, or every root."""
        moment = datetime.fromtimestamp(now, UTC)
        ends = [each.not_valid_after_utc for each in material.chain[:1]]
        if ends and ends[0] < moment:
            yield f"{self.certificate} expired on {ends[0]:%Y-%m-%d %H:%M:%S} UTC"
        ends = [each.not_valid_after_utc for each in material.roots or ()]
        if ends and max(ends) < moment:
            yield f"{self.roots} has no root that has not expired"

    def look(self) -> tuple[object, ...]:
        """What changes whenever a file is written or replaced."""
        return tuple(map(_look, (self.certificate, self.key, self.roots)))


class Watched(Generic[T]):
    """Something made of certificate files, made anew when they have changed."""

    def __init__(self, files: Files, make: Callable[[Material], T], env: Env) -> None:
        self._files = files
        self._make = make
        self._env = env
        self._reloads = env.counter(
            "reloads_total", "result", help="Changed certificate files, by outcome."
        )
        # Before reading: what changes while it is read is then seen at the next look.
        self._seen = files.look()
        self.value = make(files.load())

    async def run(self) -> None:
        """Look every second, for ever."""
        # In the worker's own thread: three stats take 5 µs, a change some 2 ms,
        # less than handing either to a thread.
        while True:
            await trio.sleep(INTERVAL)
            self.look()

    def look(self) -> None:
        """Take the files in if they have changed; keep the old value if they are bad."""
        seen = self._files.look()
        if seen == self._seen:
            return
        self._seen = seen
        log = self._env.log
        try:
            material = self._files.load()
            for problem in self._files.expiries(material, self._env.time()):
                raise ConfigError(problem)
            self.value = self._make(material)
        except ConfigError as error:
            self._reloads.add(("refused",))
            log.warning("kept the old certificates: %s", error)
        else:
            self._reloads.add(("loaded",))
            log.info("loaded changed certificates from %s", self._files)

    def __repr__(self) -> str:
        return f"<Watched {self._files}>"


def read(path: Path) -> bytes:
    """A file's bytes, or a ConfigError that names it."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error


def _certificates(path: Path) -> tuple[x509.Certificate, ...]:
    data = read(path)
    # The parser passes over a block that is cut off, if another one stands before it.
    ends = re.findall(rb"-----END [A-Z0-9 ]+-----", data)
    if data.count(b"-----BEGIN") != len(ends):
        raise ConfigError(f"{path} is not whole: a PEM block has no end")
    try:
        return tuple(x509.load_pem_x509_certificates(data))
    except ValueError as error:
        raise ConfigError(f"{path} holds no certificates in PEM form") from error


def _key(path: Path) -> PrivateKey:
    try:
        key = load_pem_private_key(read(path), password=None)
    except TypeError as error:
        raise ConfigError(f"{path} is encrypted; give the key without one") from error
    except ValueError as error:
        raise ConfigError(f"{path} holds no private key in PEM form") from error
    if not isinstance(key, PrivateKey):
        raise ConfigError(f"{path} holds neither an RSA, EC nor Ed25519 key")
    return key


def _look(path: Path | None) -> tuple[int, ...] | None:
    if path is None:
        return None
    try:
        status = path.stat()
    except OSError as error:
        return (error.errno or 0,)
    return status.st_mtime_ns, status.st_size, status.st_ino
