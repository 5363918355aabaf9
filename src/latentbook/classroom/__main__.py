"""Command line: ``python -m latentbook.classroom COMMAND ...``; ``--help`` lists the commands."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import tyro

NEEDED = ("IPython", "jinja2", "jupytext", "nbconvert", "nbformat", "nbgrader")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return the exit status."""
    try:
        from latentbook.classroom import commands
    except ModuleNotFoundError as error:
        if error.name not in NEEDED:
            raise
        print(
            f'{error.name} is not installed. The classroom needs: pip install "latentbook[classroom]"', file=sys.stderr
        )
        return 2
    try:
        return tyro.extras.subcommand_cli_from_dict(
            commands.COMMANDS, prog="python -m latentbook.classroom", description=commands.__doc__, args=arguments
        )
    except (ValueError, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
