"""Counters of all workers, living and dead, so that no number ever goes backwards.

The agent keeps each living worker's last snapshot and one sum of the dead. It saves
both in memory files of the supervisor's before it shows a number to anybody: an agent
that takes over starts from there. Two files are written in turn, each with a sequence
number and a checksum, because a process may be killed in the middle of a write.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterable, Mapping

from proxy.ipc.families import Families, add_all, pack, unpack

_HEADER = struct.Struct("<QQI")


class Totals:
    """The sum of everything workers ever counted, kept in two memory files."""

    def __init__(self, files: tuple[int, int]) -> None:
        self._files = files
        self._dead: Families = {}
        self._workers: dict[int, Families] = {}
        self._sequence = 0
        self._load()

    @staticmethod
    def open_files() -> tuple[int, int]:
        """Two empty memory files for a supervisor to hold."""
        return os.memfd_create("tulle-totals-0"), os.memfd_create("tulle-totals-1")

    def update(self, worker: int, families: Families) -> None:
        """Have the worker's snapshot replace its last one."""
        self._workers[worker] = families

    def bury(self, living: Iterable[int]) -> None:
        """Add the workers that are not among the living to the dead."""
        for gone in self._workers.keys() - set(living):
            self._dead = add_all([self._dead, self._workers.pop(gone)])

    def sum(self) -> Families:
        """What the dead and the living counted."""
        return add_all([self._dead, *self._workers.values()])

    def save(self) -> None:
        """Write all of it down; to be called before it is shown."""
        workers = {str(each): pack(found) for each, found in self._workers.items()}
        values = {"dead": pack(self._dead), "workers": workers}
        data = json.dumps(values, separators=(",", ":")).encode()
        self._sequence += 1
        header = _HEADER.pack(self._sequence, len(data), zlib.crc32(data))
        os.pwrite(self._files[self._sequence % 2], header + data, 0)

    def _load(self) -> None:
        found = [each for each in map(_read, self._files) if each is not None]
        if found:
            self._sequence, values = max(found, key=lambda each: each[0])
            self._dead = unpack(values["dead"])
            workers = values["workers"].items()
            self._workers = {int(each): unpack(rows) for each, rows in workers}


def _read(file: int) -> tuple[int, Mapping[str, dict[str, list[object]]]] | None:
    header = os.pread(file, _HEADER.size, 0)
    if len(header) < _HEADER.size:
        return None
    sequence, length, checksum = _HEADER.unpack(header)
    data = os.pread(file, length, _HEADER.size)
    if len(data) < length or zlib.crc32(data) != checksum:
        return None
    return sequence, json.loads(data)
