from __future__ import annotations

import os
import subprocess
import time

from benchmarks.processes import _maps, cpu_seconds, family, memory

SMAPS = """\
5500-5600 r-xp 00000000 fe:01 42    /usr/bin/python3
Rss:                 100 kB
Pss:                  50 kB
Anonymous:            20 kB
7f00-7f01 rw-p 00000000 00:00 0
Rss:                  64 kB
Pss:                  32 kB
Anonymous:            64 kB
7f02-7f03 rw-p 00000000 00:00 0     [heap]
Rss:                   8 kB
Pss:                   8 kB
Anonymous:             8 kB
5600-5700 r--p 00000000 fe:01 42    /usr/bin/python3
Rss:                  10 kB
Pss:                   5 kB
Anonymous:             0 kB
VmFlags: rd mr mw me
"""


def test_memory_is_the_own_share_and_every_file_in_full() -> None:
    own, files = _maps(SMAPS)

    assert own == (20 + 32 + 8) * 1024
    assert files == {"/usr/bin/python3": (100 - 20 + 10) * 1024}


def test_what_processes_share_counts_once() -> None:
    once, twice = memory([os.getpid()]), memory([os.getpid(), os.getpid()])

    # Private pages count for each of the two, the files' do not.
    assert once < twice < 2 * once


def test_the_accounts_of_a_process_are_those_of_the_clock() -> None:
    before = time.process_time()
    seen = cpu_seconds([os.getpid()])
    after = time.process_time()

    assert before <= seen <= after


def test_a_process_belongs_to_its_family() -> None:
    assert family(os.getpid())[0] == os.getpid()


def test_a_process_that_is_gone_has_no_family() -> None:
    child = subprocess.Popen(["true"])
    child.wait()

    assert family(child.pid) == []


def test_no_maps_are_no_memory() -> None:
    assert _maps("") == (0, {})
