"""Planted errors: wrong solutions, typical of students, that show what an assignment's tests can tell apart."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Planted:
    """A wrong solution, and the points that it must cost: those of the test cells it names and no others.

    Args:
        name: the misconception in a few words, such as "variance for standard deviation".
        cell: the ``grade_id`` of the autograded answer whose source is replaced.
        code: the wrong source of that cell, rendered as the assignment is.
        loses: the ``grade_id`` of every test cell that fails.

    Raises:
        ValueError: if one of them is empty.
        TypeError: if ``loses`` is not a sequence of names.
    """

    name: str
    cell: str
    code: str
    loses: tuple[str, ...]

    def __post_init__(self) -> None:
        for field in ("name", "cell", "code"):
            value = getattr(self, field)
            if not isinstance(value, str) or not value.strip():
                raise ValueError(f"{field} is {value!r}; expected some text")
        if isinstance(self.loses, str) or not all(isinstance(name, str) for name in self.loses):
            raise TypeError(f"loses is {self.loses!r}; expected a tuple of grade_ids, such as ('gap-tests-2',)")
        if not self.loses:
            raise ValueError(f"loses is empty for {self.name!r}; expected at least one test cell")
