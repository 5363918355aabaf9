"""Assignments: what their authors and their hidden tests need. The commands are ``python -m latentbook.classroom``."""

from latentbook.classroom.planted import Planted
from latentbook.classroom.written import written_here

__all__ = ["Planted", "written_here"]
