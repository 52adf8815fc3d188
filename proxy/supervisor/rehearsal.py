"""``python -m proxy.supervisor.rehearsal FILE``: can the code on the disk run that?

It imports the whole program, not only what reads a configuration, and reads the one on
standard input; FILE is where that is from.
"""

from __future__ import annotations

import sys
from pathlib import Path

from meshfilters.errors import ConfigError
from proxy.config import parse
from proxy.supervisor import supervisor  # noqa: F401  # the program, to see it import
from proxy.supervisor.boot import WRONG_CONFIGURATION


def main() -> int:
    """The exit code; what is wrong goes to standard error."""
    try:
        parse(sys.stdin.read(), Path(sys.argv[1]))
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return WRONG_CONFIGURATION
    return 0


if __name__ == "__main__":
    sys.exit(main())
