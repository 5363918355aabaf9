"""Assignments: build them, check them, and grade what comes back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import tyro

from latentbook.classroom import assignment, checking, release

Names = Annotated[tuple[str, ...], tyro.conf.Positional]
Name = Annotated[str, tyro.conf.Positional]


def build(
    names: Names = (),
    /,
    variant: str = assignment.BASE,
    out: Path = Path("dist/assignments"),
    folder: Path | None = None,
) -> int:
    """Write the students' and the instructor's versions, and zips of both, to OUT/VARIANT.

    Args:
        names: assignments; all of them when none is named.
        variant: such as a year; the same variant gives the same files byte for byte.
        out: where to.
        folder: where the assignments are, when not in ``assignments``.
    """
    for name in names or assignment.names(folder or assignment.home()):
        print(release.build(assignment.load(name, variant, folder=folder), out / variant))
    return 0


def check(
    name: Name, /, variant: str = assignment.BASE, planted: int | None = None, jobs: int = 1, folder: Path | None = None
) -> int:
    """Grade an assignment's reference (full marks), release (none) and planted errors (what they say).

    Args:
        name: the assignment.
        variant: which one.
        planted: how many of the planted errors, from the first; all when not given.
        jobs: notebooks that run at the same time.
        folder: where the assignments are, when not in ``assignments``.
    """
    chosen = assignment.load(name, variant, folder=folder)
    problems = checking.structure(chosen)
    cases = checking.check(chosen, planted=chosen.planted[:planted], jobs=jobs)
    print(checking.table(cases))
    for problem in problems:
        print(f"WRONG  {problem}")
    return int(bool(problems or any(case.problems for case in cases)))


COMMANDS: dict[str, Callable[..., int]] = {"release": build, "check": check}
