"""``python -m tulle``."""

from tulle.cli import main

main(prog_name="tulle")
